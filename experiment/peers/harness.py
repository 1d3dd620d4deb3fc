"""What the drivers of other pools share: how they are told what to do, how they measure, and what they answer.

A driver gets its settings as one JSON document on standard input:

    bits, seed      the jobs: job i is the first prime from a random number on that (seed, i) gives, see tasks.py
    cores           how many workers
    min_time_s      least seconds of a measurement of a rate
    round_trips     how many single tasks are timed
    shares          files that take the processes of a node each, for a pool on several nodes; else empty
    started_ns      when the driver was started, nanoseconds since 1970
    amqp_url        the broker, for whoever needs one

and answers with one on standard output: what it ran with, and figures in seconds, tasks per second and milliseconds. All else goes to
standard error. SIGTERM makes it end in good order.
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
"""Slices that are submitted before the first of them is collected: workers must not wait for the next, and memory is bounded."""

BATCH = 10_000
"""Empty tasks in a batch."""

TRIES = 3


class Pool(ABC):
    """A pool that runs. The three `submit_…` return at once, with what `collect` takes."""

    prime_slice = 64
    empty_slice = 1000
    batch_slice = 4

    @abstractmethod
    def submit_primes(self, first, count):
        """One task for each of the jobs `first`, `first + 1`, …"""

    @abstractmethod
    def submit_empty(self, first, count):
        """So many tasks that do nothing."""

    @abstractmethod
    def submit_batches(self, first, count):
        """So many batches of BATCH calls that do nothing, as the documentation advises for tiny tasks."""

    @abstractmethod
    def collect(self, submitted):
        """Waits; the results of the tasks."""

    @abstractmethod
    def round_trip(self):
        """One task that does nothing, there and back."""

    @abstractmethod
    def stop(self):
        """Leaves no process and no file."""


def flow(pool, submit, slice_size, count, check):
    """Seconds in which so many tasks are done, from the first submission to the last result."""
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
    """Warms up with more and more tasks, until it is known how many take `min_time`; then measures."""
    count = least
    # Not counted: workers may still be starting, or see the function for the first time.
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
    """Percentiles by nearest rank, milliseconds."""
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
    """All figures of a pool that has just been started."""
    pool.round_trip()
    startup_s = (time.time_ns() - settings["started_ns"]) / 1e9
    bits, min_time = settings["bits"], settings["min_time_s"]

    def is_prime_of_bits(text):
        # The first prime above a random number may have a bit more, once in a very long while.
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
    """Reads the settings, calls `act` with them and a folder for its files, and prints the figures that it returns."""
    # What a library prints must not get into the answer.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    # Python's own answer to SIGTERM would leave processes and files.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settings = json.load(sys.stdin)
    folder = settings["folder"]
    try:
        figures = act(settings, folder)
    finally:
        # Whoever started us removes it too, unless it was killed.
        shutil.rmtree(folder, ignore_errors=True)
    json.dump(figures, answer)
    answer.flush()


def drive_pool(make, batches, *packages):
    """The same for a pool: `make(settings, folder)` starts it."""

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
