"""Ray on this machine, measured."""

import os
import secrets

# Read when ray is imported. Nothing is reported to anybody.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
# Its processes ask each other for a token. Without one here, Ray leaves it in the home folder.
os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)

import ray  # noqa: E402
from ray._private import services  # noqa: E402

import tasks  # noqa: E402
from harness import BATCH, Pool, drive_pool  # noqa: E402

MEGABYTE = 1 << 20
LOOPBACK = "127.0.0.1"


def stay_on_loopback():
    """Ray's servers listen on the loopback interface only if that is the node's address, and on all interfaces otherwise.

    Ray takes an address of the machine in place of the loopback's that it is given. A version in which that cannot be helped is
    not run.
    """
    if not hasattr(services, "resolve_ip_for_localhost"):
        raise RuntimeError(f"Ray {ray.__version__} may listen on all interfaces: use the version of requirements.txt")
    services.resolve_ip_for_localhost = lambda address: address


class RayPool(Pool):
    how = (
        "remote functions (tasks, not actors: they are stateless), submitted in slices, each collected by one ray.get of all its references; "
        "num_cpus = cores, no dashboard"
    )

    def __init__(self, settings, folder):
        stay_on_loopback()
        ray.init(
            address="local",
            num_cpus=settings["cores"],
            include_dashboard=False,
            log_to_driver=False,
            # Results are small and stay out of it; by default it would take a third of the memory.
            object_store_memory=128 * MEGABYTE,
            _node_ip_address=LOOPBACK,
            _temp_dir=folder,
        )
        self.prime = ray.remote(num_cpus=1)(tasks.prime)
        self.empty = ray.remote(num_cpus=1)(tasks.empty)
        self.batch = ray.remote(num_cpus=1)(tasks.batch)
        self.job = (settings["bits"], settings["seed"])

    def submit_primes(self, first, count):
        return [self.prime.remote(*self.job, job) for job in range(first, first + count)]

    def submit_empty(self, first, count):
        return [self.empty.remote(job) for job in range(first, first + count)]

    def submit_batches(self, first, count):
        return [self.batch.remote(BATCH) for _ in range(count)]

    def collect(self, submitted):
        return ray.get(submitted)

    def round_trip(self):
        ray.get(self.empty.remote(0))

    def stop(self):
        ray.shutdown()


drive_pool(RayPool, f"{BATCH} calls in a task", "ray")
