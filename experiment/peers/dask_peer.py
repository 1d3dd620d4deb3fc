"""Measures Dask.distributed on this machine."""

import dask
from distributed import Client, LocalCluster

import tasks
from harness import BATCH, Pool, drive_pool


class DaskPool(Pool):
    how = (
        "LocalCluster, one process with one thread a core; client.map(pure=False, batch_size=the slice), client.gather of each slice; "
        "no dashboard"
    )

    def __init__(self, settings, folder):
        dask.config.set({"temporary-directory": folder, "distributed.worker.profile.enabled": False})
        self.cluster = LocalCluster(
            n_workers=settings["cores"],
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            worker_dashboard_address=None,
            local_directory=folder,
        )
        self.client = Client(self.cluster)
        self.settings = settings

    def map(self, function, *arguments):
        return self.client.map(function, *arguments, pure=False, batch_size=self.empty_slice)

    def submit_primes(self, first, count):
        bits, seed = self.settings["bits"], self.settings["seed"]
        return self.map(tasks.prime, [bits] * count, [seed] * count, range(first, first + count))

    def submit_empty(self, first, count):
        return self.map(tasks.empty, range(first, first + count))

    def submit_batches(self, first, count):
        return self.map(tasks.batch, [BATCH] * count)

    def collect(self, submitted):
        return self.client.gather(submitted)

    def round_trip(self):
        self.client.submit(tasks.empty, 0, pure=False).result()

    def stop(self):
        self.client.close()
        self.cluster.close()


if __name__ == "__main__":
    # Dask's workers are spawned and import this file.
    drive_pool(DaskPool, f"{BATCH} calls in a task", "distributed")
