"""Shared by the drivers of other pools: their settings, their measurements and their output.

A driver reads its settings as one JSON document from standard input:

    bits, seed      job i is the first prime above a random number drawn from (seed, i), see tasks.py
    cores           number of workers
    min_time_s      least seconds of a measurement of a rate
    round_trips     number of single tasks that are timed
    shares          cgroup.procs files, one per node, for a pool on several nodes; else empty
    started_ns      start time of the driver, nanoseconds since 1970
    amqp_url        address of the broker, for a pool that needs one
    folder          folder for all its files, which it deletes

It writes one JSON document to standard output: versions and options, and figures in seconds, tasks
per second and milliseconds. All else goes to standard error. SIGTERM ends it in good order.
"""

import json
import math
import os
import platform
import shutil
import signal
import statistics
import sys
import time
from abc import ABC, abstractmethod
from collections import deque

AHEAD = 4
"""Slices submitted before the oldest is collected: workers never wait, and memory is bounded."""

BATCH = 10_000
"""Empty tasks in a batch."""

TRIES = 3


class Pool(ABC):
    """A running pool. The methods `submit_…` return at once, with the argument of `collect`."""

    prime_slice = 64
    empty_slice = 1000
    batch_slice = 4

    @abstractmethod
    def submit_primes(self, first, count):
        """Submits one task for each of the jobs `first`, `first + 1`, …"""

    @abstractmethod
    def submit_empty(self, first, count):
        """Submits `count` tasks that do nothing."""

    @abstractmethod
    def submit_batches(self, first, count):
        """Submits `count` batches of BATCH empty calls, as the pool's documentation advises."""

    @abstractmethod
    def collect(self, submitted):
        """Waits for the tasks and returns their results."""

    @abstractmethod
    def round_trip(self):
        """Submits one task that does nothing and waits for its result."""

    @abstractmethod
    def stop(self):
        """Ends all processes of the pool and deletes its files."""


def flow(pool, submit, slice_size, count, check):
    """Seconds that `count` tasks take, from the first submission to the last result."""
    start = time.perf_counter()
    waiting, done = deque(), 0

    def collect():
        nonlocal done
        results = pool.collect(waiting.popleft())
        for result in results:
            check(result)
        done += len(results)

    for first in range(0, count, slice_size):
        waiting.append(submit(first, min(slice_size, count - first)))
        if len(waiting) > AHEAD:
            collect()
    while waiting:
        collect()
    if done != count:
        raise RuntimeError(f"{done} results of {count} tasks")
    return time.perf_counter() - start


def rate(run, least, min_time):
    """Warms up with more and more tasks, to learn how many take `min_time`; then measures."""
    count = least
    # Not counted: workers may still be starting, or load the function.
    run(count)
    while (seconds := run(count)) < min_time / 4:
        count = min(10 * count, math.ceil(count * min_time / 2 / seconds))
    for _ in range(TRIES):
        count = math.ceil(1.1 * count * min_time / seconds)
        seconds = run(count)
        if seconds >= min_time:
            break
    return {"tasks": count, "seconds": seconds, "per_s": count / seconds}


def round_trips(pool, count):
    """Nearest-rank percentiles of the round trip, in milliseconds."""
    times = []
    for _ in range(count // 10 + 1):
        pool.round_trip()
    for _ in range(count):
        start = time.perf_counter()
        pool.round_trip()
        times.append(1000 * (time.perf_counter() - start))
    times.sort()

    def rank(q):
        return times[max(0, math.ceil(q * count) - 1)]

    return {"count": count, "p50": rank(0.50), "p99": rank(0.99), "mean": statistics.fmean(times)}


def measure(pool, settings, batches):
    """Measures all figures of a pool that has just been started."""
    pool.round_trip()
    startup_s = (time.time_ns() - settings["started_ns"]) / 1e9
    bits, min_time = settings["bits"], settings["min_time_s"]

    def is_prime_of_bits(text):
        # The first prime above a random number has, very rarely, one bit more.
        if not bits <= int(text, 16).bit_length() <= bits + 1:
            raise RuntimeError(f"{text} is no number of {bits} bits")

    def is_nothing(result):
        if result is not None:
            raise RuntimeError(f"an empty task has a result: {result!r}")

    def is_complete(result):
        # Celery's chunks have a result for each call.
        if result != BATCH and result != [None] * BATCH:
            raise RuntimeError("a batch is not complete")

    primes = rate(
        lambda count: flow(pool, pool.submit_primes, pool.prime_slice, count, is_prime_of_bits),
        2 * settings["cores"],
        min_time,
    )
    if settings["shares"]:
        return {"startup_s": startup_s, "primes": primes}
    empty = rate(lambda count: flow(pool, pool.submit_empty, pool.empty_slice, count, is_nothing), 100, min_time)
    batched = rate(
        lambda count: flow(pool, pool.submit_batches, pool.batch_slice, count, is_complete), 2 * settings["cores"], min_time
    )
    for name in ("tasks", "per_s"):
        batched[name] *= BATCH
    return {
        "startup_s": startup_s,
        "primes": primes,
        "empty": empty,
        "empty_batched": {**batched, "how": batches},
        "round_trip_ms": round_trips(pool, settings["round_trips"]),
    }


def versions(*packages):
    """Versions of Python, GMP and these packages."""
    from importlib.metadata import version

    import gmpy2

    found = {package: version(package) for package in packages}
    return {**found, "gmpy2": version("gmpy2"), "GMP": gmpy2.mp_version().removeprefix("GMP "), "Python": platform.python_version()}


def drive(act):
    """Reads the settings, calls `act` with them and the folder, and prints its figures."""
    # Output of libraries must not get into the document.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    # By default, SIGTERM would end Python without its clean-up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settings = json.load(sys.stdin)
    folder = settings["folder"]
    try:
        figures = act(settings, folder)
    finally:
        # The program that started this one deletes it too, unless it was killed.
        shutil.rmtree(folder, ignore_errors=True)
    json.dump(figures, answer)
    answer.flush()


def drive_pool(make, batches, *packages):
    """As `drive`, for a pool that `make(settings, folder)` starts."""

    def act(settings, folder):
        pool = make(settings, folder)
        try:
            figures = measure(pool, settings, batches)
        finally:
            # A second SIGTERM must not cut this short.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            pool.stop()
        return {"versions": versions(*packages), "how": pool.how, **figures}

    drive(act)
