"""The tasks, the same for all pools."""

import random

import gmpy2


def prime(bits, seed, job):
    """The first prime above a random number of `bits` bits, in hexadecimal, by plain use of gmpy2.

    The number is drawn from (seed, job), so that all pools search for the same primes.
    """
    start = random.Random(seed << 64 | job).getrandbits(bits) | 1 << (bits - 1)
    return gmpy2.next_prime(start).digits(16)


def empty(_job):
    """Does nothing."""


def batch(count):
    """Makes `count` empty calls; returns their number, as a list of results would cost more."""
    return sum(empty(job) is None for job in range(count))
