"""The ceiling of the other pools: gmpy2 in a bare loop, one process per core."""

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import tasks
from harness import drive, versions


def loop(settings, number):
    """Does every `cores`-th job from `number` on for `min_time_s`; returns count and seconds."""
    bits, seed, cores = settings["bits"], settings["seed"], settings["cores"]
    start, done = time.perf_counter(), 0
    while done == 0 or time.perf_counter() - start < settings["min_time_s"]:
        tasks.prime(bits, seed, number + done * cores)
        done += 1
    return done, time.perf_counter() - start


def act(settings, _folder):
    cores = settings["cores"]
    # Forked, so that all start at the same time.
    with ProcessPoolExecutor(cores, mp_context=multiprocessing.get_context("fork")) as pool:
        ends = list(pool.map(partial(loop, settings), range(cores)))
    primes = {
        "tasks": sum(done for done, _ in ends),
        "seconds": max(seconds for _, seconds in ends),
        "per_s": sum(done / seconds for done, seconds in ends),
    }
    return {"versions": versions(), "how": "gmpy2.next_prime in a loop, one process a core", "primes": primes}


drive(act)
