"""Measures Celery on RabbitMQ with a worker on this machine."""

import os
import subprocess
import sys
from itertools import islice

from harness import BATCH, Pool, drive_pool

GRACE_S = 10


class CeleryPool(Pool):
    how = (
        "prefork pool with as many processes as cores, -O fair, prefetch multiplier 64, acknowledged early (the default), results through "
        "rpc://, gossip, mingle, heartbeat, events and remote control off; durable classic queue, persistent messages"
    )

    def __init__(self, settings, folder):
        url = settings["amqp_url"]
        if url.startswith("amqps:"):
            sys.exit("Celery is measured without TLS: name a broker with an amqp:// address in PRIMEPOOL_AMQP_URL")
        os.environ["PRIMEPOOL_PEERS_BROKER"] = url
        os.environ["PRIMEPOOL_PEERS_QUEUE"] = f"primepool-peers-{os.getpid()}"
        options = f"--pool prefork --concurrency {settings['cores']} -O fair --loglevel WARNING"
        quiet = "--without-gossip --without-mingle --without-heartbeat"
        self.worker = subprocess.Popen(
            [sys.executable, "-m", "celery", "--app", "celery_app", "--quiet", "worker", *options.split(), *quiet.split()],
            cwd=os.path.dirname(os.path.abspath(__file__)),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        # Imported here, as it reads the environment; the worker starts meanwhile.
        import celery_app
        from celery.result import ResultSet

        self.celery, self.ResultSet = celery_app, ResultSet
        self.job = (settings["bits"], settings["seed"])

    def publish(self, task, arguments):
        with self.celery.app.producer_pool.acquire(block=True) as producer:
            return self.ResultSet([task.apply_async(one, producer=producer) for one in arguments])

    def submit_primes(self, first, count):
        return self.publish(self.celery.prime, ((*self.job, job) for job in range(first, first + count)))

    def submit_empty(self, first, count):
        return self.publish(self.celery.empty, ((job,) for job in range(first, first + count)))

    def submit_batches(self, first, count):
        jobs = ((job,) for job in range(count * BATCH))
        parts = (list(islice(jobs, BATCH)) for _ in range(count))
        # The same tasks as those of `empty.chunks(jobs, BATCH)`, one per chunk.
        starmap = self.celery.app.tasks["celery.starmap"]
        return self.publish(starmap, ((self.celery.empty.s(), part) for part in parts))

    def collect(self, submitted):
        if self.worker.poll() is not None:
            raise RuntimeError(f"the worker ended with {self.worker.returncode}")
        return submitted.get()

    def round_trip(self):
        self.celery.empty.delay(0).get()

    def stop(self):
        self.worker.terminate()
        try:
            self.worker.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self.worker.kill()
            self.worker.wait()
        with self.celery.app.connection_for_write() as connection:
            channel = connection.default_channel
            channel.queue_delete(self.celery.QUEUE)
            channel.exchange_delete(self.celery.QUEUE)


drive_pool(CeleryPool, f"chunks of {BATCH}", "celery", "kombu", "billiard")
