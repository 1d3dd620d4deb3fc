"""Primes per second of thread CPU time that other libraries find: a line with name, rate and version, separated by tabs, for
each that is there.

usage: rivals.py BITS SECONDS COUNT: at least so many seconds and primes.
"""

import ctypes
import ctypes.util
import random
import sys
import time


def rate(find, seconds, least):
    """Calls per second of thread CPU time."""
    start = time.thread_time()
    count = 0
    while count < max(1, least) or time.thread_time() - start < seconds:
        find()
        count += 1
    return count / (time.thread_time() - start)


def gmpy2_next_prime(bits):
    import gmpy2

    def find():
        gmpy2.next_prime(gmpy2.mpz(random.getrandbits(bits) | 1 << (bits - 1)))

    return find, f"gmpy2 {gmpy2.version()}, {gmpy2.mp_version()}"


def openssl_generate_prime(bits):
    crypto = ctypes.CDLL(ctypes.util.find_library("crypto"))
    crypto.BN_new.restype = ctypes.c_void_p
    crypto.OpenSSL_version.restype = ctypes.c_char_p
    number = ctypes.c_void_p(crypto.BN_new())
    none = ctypes.c_void_p(None)

    def find():
        if crypto.BN_generate_prime_ex(number, bits, 0, none, none, none) != 1:
            raise RuntimeError("BN_generate_prime_ex failed")

    return find, " ".join(crypto.OpenSSL_version(0).decode().split()[:2])


def main():
    bits, seconds, least = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    for name, rival in (
        ("gmpy2.next_prime", gmpy2_next_prime),
        ("BN_generate_prime_ex", openssl_generate_prime),
    ):
        try:
            find, version = rival(bits)
            print(name, rate(find, seconds, least), version, sep="\t")
        except (ImportError, OSError, AttributeError, TypeError) as error:
            print(f"{name}: {error}", file=sys.stderr)


main()
