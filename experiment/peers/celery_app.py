"""The Celery application, as driver and worker see it."""

import os

from celery import Celery

import tasks

# Of this measurement alone; the address holds a password and stands in the environment for that reason.
QUEUE = os.environ["PRIMEPOOL_PEERS_QUEUE"]

app = Celery("primepool-peers", broker=os.environ["PRIMEPOOL_PEERS_BROKER"], backend="rpc://")
app.conf.update(
    task_default_queue=QUEUE,
    task_default_delivery_mode="persistent",
    # Results are kept by nobody: the reply queue of the client, transient messages.
    result_persistent=False,
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    # Acknowledged as soon as a worker has it: Celery's default, and its fastest choice.
    task_acks_late=False,
    # Advised for many short tasks; one worker process takes all, so none waits while another hoards.
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
