//! The number theory of primepool: search for large primes and tests of primality.
//!
//! The crate does arithmetic and nothing else: no input or output, no clock, no asynchrony, no global state. Every
//! long computation takes a [`Cancel`] flag that it polls at least every 100 ms at any size up to [`MAX_BITS`].
//!
//! # Which prime a job gets
//!
//! A job owns a [`Stream`] of random bits. The prime of a stream is defined without reference to how it is found:
//!
//! 1. Draw a *start*, uniform among the integers with exactly `bits` bits: ⌈bits/64⌉ words of 64 bits, the first word
//!    the least significant, of which the low `bits − 1` bits are kept and bit `bits − 1` is set.
//! 2. The prime is the least prime `p ≥ start`; for [`Form::SafePrime`] the least `p ≥ start` such that `p` and
//!    `(p − 1)/2` are both prime.
//! 3. If there is none below 2^bits, the next start is drawn from the same stream.
//!
//! Sieve bounds, interval lengths and vector kernels therefore never change a result, only its cost, and a seeded
//! stream gives the same prime for ever.
//!
//! The distribution is that of every incremental search: a prime is found with probability proportional to the length
//! of the gap before it, so primes after long gaps are preferred to uniform choice. With exponentially distributed gaps,
//! as large primes are conjectured to have, that costs 0.6 bits of entropy in all (Brandt & Damgård, *On generation of
//! probable primes by incremental search*, CRYPTO '92, who analyse this algorithm).
//!
//! Compared with the uniform distribution over the primes of the size: no prime is left out, one that follows a gap g
//! comes up with a probability of g divided by the mean gap times its fair share, so the second of a pair of twins at 1024
//! bits has 1/355 of it, and for large sizes one prime in e^c has more than c times of it. A search with a fresh start for
//! every candidate would be uniform, and would cost as many sievings as tests; there is none here yet.
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

mod cancel;
mod engine;
mod error;
pub mod estimate;
mod fixed;
mod kernel;
#[doc(hidden)]
pub mod measure;
mod plan;
pub mod primality;
mod sieve;
mod small;
mod stream;
mod table;

pub use cancel::Cancel;
pub use engine::{Engine, Form, Found, MAX_BITS, MIN_BITS};
pub use error::Error;
pub use kernel::{KERNEL_VARIABLE, Kernel};
pub use rug::{Integer, integer::Order};
pub use stream::Stream;
