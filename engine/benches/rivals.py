"""Primes per second of thread CPU time that other libraries find: one line "name rate version" for each that is there.

usage: rivals.py BITS SECONDS
"""

import ctypes
import ctypes.util
import random
import sys
import time


def rate(find, seconds):
    """Calls per second of thread CPU time, of at least three calls."""
    start = time.thread_time()
    count = 0
    while count < 3 or time.thread_time() - start < seconds:
        find()
        count += 1
    return count / (time.thread_time() - start)


def gmpy2_next_prime(bits):
    import gmpy2

    def find():
        gmpy2.next_prime(gmpy2.mpz(random.getrandbits(bits) | 1 << (bits - 1)))

    return find, gmpy2.mp_version().replace(" ", "-")


def openssl_generate_prime(bits):
    crypto = ctypes.CDLL(ctypes.util.find_library("crypto"))
    crypto.BN_new.restype = ctypes.c_void_p
    crypto.OpenSSL_version.restype = ctypes.c_char_p
    number = ctypes.c_void_p(crypto.BN_new())
    none = ctypes.c_void_p(None)

    def find():
        if crypto.BN_generate_prime_ex(number, bits, 0, none, none, none) != 1:
            raise RuntimeError("BN_generate_prime_ex failed")

    version = crypto.OpenSSL_version(0).decode().split()
    return find, "-".join(version[:2])


def main():
    bits, seconds = int(sys.argv[1]), float(sys.argv[2])
    for rival in (gmpy2_next_prime, openssl_generate_prime):
        try:
            find, version = rival(bits)
            print(rival.__name__, rate(find, seconds), version)
        except (ImportError, OSError, AttributeError, TypeError) as error:
            print(f"{rival.__name__}: {error}", file=sys.stderr)


main()
