//! The number theory of primepool: search for large primes and primality tests.
//!
//! The crate does arithmetic and nothing else: no input or output, no clock, no asynchrony, no
//! global state. Every long computation takes a [`Cancel`] flag that it polls at least every 100 ms
//! at any size up to [`MAX_BITS`].
//!
//! # Which prime a job gets
//!
//! A job owns a [`Stream`] of random bits. The prime of a stream is defined independently of the
//! search algorithm. A number is drawn as ⌈bits/64⌉ words of 64 bits, the least significant word
//! first; the low `bits − 1` bits are kept, and bit `bits − 1` is set.
//!
//! With [`Method::Incremental`]:
//!
//! 1. Draw a *start*, uniform among the integers with exactly `bits` bits.
//! 2. The prime is the least prime `p ≥ start`; for [`Form::SafePrime`] the least `p ≥ start` such
//!    that `p` and `(p − 1)/2` are both prime.
//! 3. If there is none below 2^bits, draw the next start from the same stream.
//!
//! With [`Method::Uniform`]:
//!
//! 1. Draw a number, and set bit 0 unless `bits` is 2; for [`Form::SafePrime`] also set bit 1
//!    unless `bits` is 3.
//! 2. If the number is prime, it is the result; for [`Form::SafePrime`], its half, rounded down,
//!    must be prime too. Otherwise draw the next number from the same stream.
//!
//! [`Engine::provable_primes`] builds its primes from smaller ones:
//!
//! 1. Up to 64 bits, the prime is that of [`Method::Uniform`].
//! 2. Above 64 bits, a prime of b bits is built from q, the provable prime of ⌈b/3⌉ + 1 bits of the
//!    same stream. The stream then continues with draws of k. Let l be the least number for which
//!    2lq + 1 has b bits, and let m be the number of k for which 2kq + 1 has b bits. Then k = l +
//!    d, where d is drawn with as many bits as m − 1 has, again and again until d < m. The result
//!    is the first n = 2kq + 1 that is prime.
//! 3. A safe prime of b bits is 2h + 1 for a half h = 2kq + 1 of b − 1 bits. The first k is drawn
//!    as above, for b − 1 bits, and increases by one until h and 2h + 1 are both prime. If h gets
//!    too many bits, the next k is drawn. Up to 65 bits the safe prime is that of
//!    [`Method::Uniform`].
//!
//! Sieve bounds, interval lengths and vector kernels therefore never change a result, only its
//! cost, and a seeded stream gives the same primes in every version.
//!
//! # How the primes are distributed
//!
//! With [`Method::Uniform`] every prime of the size and form is equally likely: the draws are
//! independent of each other, and the bits that are set are set in all of those primes.
//!
//! With [`Method::Incremental`] the probability of a prime is proportional to the length of the gap
//! before it. No prime is left out; a prime that follows a gap g gets its fair share times g
//! divided by the mean gap. At 1024 bits the second of a pair of twin primes gets 2/710 of its fair
//! share. If gaps are distributed exponentially, as is conjectured for large primes, one prime in
//! e^c gets more than c times its fair share. Under the same assumption the loss is (1 − γ)/ln 2 =
//! 0.61 bits of entropy in all, at any size. Brandt & Damgård (*On generation of probable primes by
//! incremental search*, CRYPTO '92) analyse such searches, and their entropy under the prime
//! r-tuple conjecture; Fouque & Tibouchi (*Close to uniform prime number generation with fewer
//! random bits*, ICALP 2014) show how far from uniform they are.
//!
//! A provable prime n has a provable prime factor q of n − 1 with a third of the bits of n. If q
//! has c bits, about one prime in c is of that kind, which costs log₂ c bits of entropy at each
//! level: 20.6 bits in all at 1024 bits. Among the primes built from one q, all are equally likely.
//! The idea is Shawe & Taylor's (FIPS 186-5, B.10), whose q is above the square root of n; see
//! [`certificate`] for the proof. Maurer (*Fast generation of prime numbers and secure public-key
//! cryptographic parameters*, Journal of Cryptology 8, 1995) loses less entropy by drawing the size
//! of q.
//!
//! The uniform method cannot sieve an interval. So for each prime it divides a few hundred numbers
//! by small primes, and tests more composites. With a vector kernel on an AMD EPYC (Zen 4) it finds
//! two thirds as many primes per second as the incremental method at 256 bits, more than four
//! fifths from 512 bits on, and a fifth to a quarter as many safe primes. With the portable kernel
//! it finds half as many or more.
//!
//! # Kernels
//!
//! The arithmetic is done by a [`Kernel`], chosen at run time. All kernels find the same primes.
//!
//! # How sure a result is
//!
//! Below 2^64 every answer is exact. Above, a prime has passed a strong test to base 2,
//! Miller–Rabin rounds to random bases and, where these are not enough, the Lucas test that
//! completes the Baillie–PSW test; see [`primality`]. [`Confirmation`] may leave one of the rounds
//! to the caller.
//!
//! # Example
//!
//! ```
//! use primepool_engine::{Cancel, Engine, Error, Form, Stream};
//!
//! let mut streams = [Stream::seeded(7, 0), Stream::seeded(7, 1)];
//! let mut primes = Vec::new();
//! let mut engine = Engine::new();
//! engine.primes(Form::Prime, 256, &mut streams, &Cancel::new(), &mut |_, found| {
//!     primes.push(found.prime);
//! })?;
//! assert_eq!(engine.verify(&primes)?, [true, true]);
//! # Ok::<(), Error>(())
//! ```

// Without a vector kernel for the target, the code that only vector kernels use is dead.
#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]

mod cancel;
pub mod certificate;
mod engine;
mod error;
pub mod estimate;
mod fixed;
mod kernel;
#[doc(hidden)]
pub mod measure;
mod portable_plan;
pub mod primality;
mod progression;
mod progression_sieve;
mod search;
pub mod small;
mod stream;
pub mod table;
pub mod vectors;

pub use cancel::Cancel;
pub use certificate::Certificate;
pub use engine::{Claim, Engine, Form, Found, MAX_BITS, MIN_BITS, Method};
pub use error::Error;
pub use gmp_mpfr_sys::gmp::limb_t as Limb;
pub use kernel::Kernel;
pub use primality::Confirmation;
pub use rug::{Integer, integer::Order};
pub use stream::Stream;
