"""The Celery application, which the driver and the worker import."""

import os

from celery import Celery

import tasks

# Only for this measurement. The broker's address has a password: it comes by the environment.
QUEUE = os.environ["PRIMEPOOL_PEERS_QUEUE"]

app = Celery("primepool-peers", broker=os.environ["PRIMEPOOL_PEERS_BROKER"], backend="rpc://")
app.conf.update(
    task_default_queue=QUEUE,
    task_default_delivery_mode="persistent",
    # Results are transient messages to the client's reply queue; no backend keeps them.
    result_persistent=False,
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    # A task is acknowledged before it runs: Celery's default, and its fastest choice.
    task_acks_late=False,
    # Advised for many short tasks. There is one worker, so its prefetch starves no other.
    worker_prefetch_multiplier=64,
    worker_disable_rate_limits=True,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    task_send_sent_event=False,
    broker_connection_retry_on_startup=True,
    broker_heartbeat=0,
)

prime = app.task(tasks.prime, name="prime")
empty = app.task(tasks.empty, name="empty")
