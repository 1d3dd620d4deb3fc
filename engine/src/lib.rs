//! The number theory of primepool: search for large primes and tests of primality.
//!
//! The crate does arithmetic and nothing else: no input or output, no clock, no asynchrony, no global state. Every
//! long computation takes a [`Cancel`] flag that it polls at least every 100 ms at any size up to [`MAX_BITS`].
//!
//! # Which prime a job gets
//!
//! A job owns a [`Stream`] of random bits. The prime of a stream is defined without reference to how it is found. Numbers
//! are drawn as ⌈bits/64⌉ words of 64 bits, the first word the least significant, of which the low `bits − 1` bits are
//! kept and bit `bits − 1` is set. With [`Method::Incremental`]:
//!
//! 1. Draw a *start*, uniform among the integers with exactly `bits` bits.
//! 2. The prime is the least prime `p ≥ start`; for [`Form::SafePrime`] the least `p ≥ start` such that `p` and
//!    `(p − 1)/2` are both prime.
//! 3. If there is none below 2^bits, the next start is drawn from the same stream.
//!
//! With [`Method::Uniform`]:
//!
//! 1. Draw a number, and set bit 0 unless `bits` is 2; for [`Form::SafePrime`] also bit 1 unless `bits` is 3.
//! 2. If it is prime, for [`Form::SafePrime`] along with its half rounded down, it is the prime. If not, draw the next one
//!    from the same stream.
//!
//! The primes of [`Engine::provable_primes`] are made of smaller ones:
//!
//! 1. Up to 64 bits, the prime is that of [`Method::Uniform`].
//! 2. Above, for primes of b bits: let q be the provable prime of ⌈b/3⌉ + 1 bits of the same stream. Draws of k go on from
//!    there: k = l + d, for the least l for which 2lq + 1 has b bits and a d below the number of such k, drawn in as many
//!    bits as that number minus one has, again until it is below. The prime is the first n = 2kq + 1 that is prime.
//! 3. A safe prime of b bits is 2h + 1, for the half h = 2kq + 1 of b − 1 bits: k begins as above, and goes up by one
//!    until h and 2h + 1 are prime, or h has too many bits; then the next k is drawn. Up to 65 bits it is that of
//!    [`Method::Uniform`].
//!
//! Sieve bounds, interval lengths and vector kernels therefore never change a result, only its cost, and a seeded
//! stream gives the same primes for ever.
//!
//! # How the primes are distributed
//!
//! With [`Method::Uniform`] every prime of the size and form is equally likely, as the draws are independent of each
//! other and what is set is set in all of those primes.
//!
//! With [`Method::Incremental`] a prime is found with a probability proportional to the length of the gap before it. No
//! prime is left out; one that follows a gap g comes up with g divided by the mean gap times its fair share. The second
//! of a pair of twins at 1024 bits has 2/710 of it, and if gaps are distributed exponentially, as those between large primes
//! are conjectured to be, one prime in e^c has more than c times of it. Under the same assumption that costs (1 − γ)/ln 2 =
//! 0.61 bits of entropy in all, at any size. Brandt & Damgård (*On generation of probable primes by incremental search*,
//! CRYPTO '92) analyse such searches, the entropy assuming the prime r-tuple conjecture; Fouque & Tibouchi (*Close to
//! uniform prime number generation with fewer random bits*, ICALP 2014) show how far from uniform they are.
//!
//! A provable prime n has a prime factor q of n − 1 of a third of its bits that is provable too. Where q has c bits,
//! about one prime in c is of that kind, which costs log₂ c bits of entropy at each level: 20.6 bits in all at 1024 bits. Among those
//! that one q leads to, all are equally likely. The idea is Shawe & Taylor's (FIPS 186-5, B.10), whose q is above the square
//! root of n; see [`certificate`] for the proof. Maurer (*Fast generation of prime numbers and secure public-key
//! cryptographic parameters*, Journal of Cryptology 8, 1995) loses less by drawing the size of q.
//!
//! The uniform method cannot sieve an interval, so it divides a few hundred numbers by small primes for each prime, and
//! tests more that are composite. With the vector kernel on an AMD EPYC (Zen 4) it finds two thirds as many primes per
//! second as the incremental one at 256 bits, more than four fifths from 512 bits on, and a fifth to a quarter as many safe
//! primes; with the portable kernel half as many or more.
//!
//! # Kernels
//!
//! The arithmetic is done by a [`Kernel`], chosen at run time. All find the same primes.
//!
//! # How sure a result is
//!
//! Below 2^64 every answer is exact. Above, a prime has passed a strong test to base 2, Miller–Rabin rounds to random
//! bases and, where that is not enough, the Lucas test that makes it the Baillie–PSW test; see [`primality`].
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

// Where no vector kernel is, what only they use is not used.
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
mod plan;
pub mod primality;
mod progression;
mod search;
mod sieve;
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
pub use rug::{Integer, integer::Order};
pub use stream::Stream;
