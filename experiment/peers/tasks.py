"""The tasks, the same for all pools."""

import random

import gmpy2


def prime(bits, seed, job):
    """The first prime above a random number of so many bits, in hexadecimal: gmpy2 as anybody would use it.

    The number is drawn from (seed, job), so that all pools search for the same primes.
    """
    start = random.Random(seed << 64 | job).getrandbits(bits) | 1 << (bits - 1)
    return gmpy2.next_prime(start).digits(16)


def empty(_job):
    """Nothing."""


def batch(count):
    """So many calls that do nothing; how many there were, as a list of that many results would cost more than the calls."""
    return sum(empty(job) is None for job in range(count))
