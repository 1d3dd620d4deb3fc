"""Measures Ray on this machine."""

import os
import secrets

# Ray reads these when it is imported. This one switches its usage reports off.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
# Ray's processes ask each other for a token; without this, Ray keeps one in the home folder.
os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)

import ray  # noqa: E402
from ray._private import services  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402

import tasks  # noqa: E402
from harness import BATCH, Pool, drive_pool  # noqa: E402

MEGABYTE = 1 << 20
LOOPBACK = "127.0.0.1"


def stay_on_loopback():
    """Makes Ray's servers listen on the loopback interface instead of on all interfaces.

    They do so if the node has the loopback address, which Ray would replace by the machine's.
    A version in which that cannot be prevented is not run.
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
        self.start(settings, folder)
        self.prime = ray.remote(num_cpus=1)(tasks.prime)
        self.empty = ray.remote(num_cpus=1)(tasks.empty)
        self.batch = ray.remote(num_cpus=1)(tasks.batch)
        self.job = (settings["bits"], settings["seed"])

    def start(self, settings, folder):
        ray.init(
            address="local",
            num_cpus=settings["cores"],
            include_dashboard=False,
            log_to_driver=False,
            # Small results are not stored in it; the default is a third of the memory.
            object_store_memory=128 * MEGABYTE,
            _node_ip_address=LOOPBACK,
            _temp_dir=folder,
        )

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


class RayNodes(RayPool):
    how = (
        "nodes of Ray's cluster utility on one machine, each a raylet and its workers in a control group with a share of a core, num_cpus = 1; "
        "the head's other servers and the client have what is left; tasks as on one machine"
    )

    def start(self, settings, folder):
        # Ray writes the cluster's address to the folder that it would use by default.
        os.makedirs(os.path.join(folder, "ray"), exist_ok=True)
        self.cluster = Cluster()
        for share in settings["shares"]:
            node = self.cluster.add_node(
                num_cpus=1,
                include_dashboard=False,
                object_store_memory=128 * MEGABYTE,
                node_ip_address=LOOPBACK,
                temp_dir=folder,
            )
            confine(node.all_processes["raylet"][0].process.pid, share)
        ray.init(address=self.cluster.address, log_to_driver=False, _node_ip_address=LOOPBACK, _temp_dir=folder)

    def stop(self):
        super().stop()
        self.cluster.shutdown()


def confine(pid, share):
    """Puts a process and its descendants in a control group; later children inherit it."""
    with open(share, "w") as group:
        group.write(str(pid))
    with open(f"/proc/{pid}/task/{pid}/children") as children:
        for child in children.read().split():
            confine(child, share)


def make(settings, folder):
    return (RayNodes if settings["shares"] else RayPool)(settings, folder)


drive_pool(make, f"{BATCH} calls in a task", "ray")
