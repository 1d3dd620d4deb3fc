//! Factoring.
//!
//! [`Factorizer::factor`] takes an integer apart as far as [`Limits`] say, one stage after the other,
//! each on what the stages before have left; [`Factorizer::factor_many`] takes many small ones. A hard composite can be shared among many machines:
//! curves by [`spread`], the quadratic sieve by [`quadratic_sieve`].
//!
//! The crate does arithmetic and nothing else: no input or output, no clock, no asynchrony, no
//! global state.
//!
//! # Stages
//!
//! | stage | of a composite without smaller factors | finds |
//! |---|---|---|
//! | trial division | any number | primes below 2^16 |
//! | perfect power | all | roots; later stages do not split powers of primes |
//! | Fermat | above 2^64 | factors that are close to each other |
//! | curves | up to 118 bits | everything |
//! | p ± 1, curves | from 119 bits up to the sieve's limit: a sixteenth of the sieve's time | see below |
//! | | beyond the sieve, up to [`MAX_CURVE_BITS`]: all levels up to [`Limits::curve_digits`] | factors of so many digits |
//! | rho | beyond curves, 4,096 iterations | half of the primes of 20 to 24 bits |
//! | quadratic sieve | up to [`Limits::sieve_bits`] | everything |
//!
//! p ± 1 and curves before the sieve, as many as fit into a sixteenth of its time, from the
//! smallest bound on:
//!
//! | bits | sieve, s | B1 = 200 | p ± 1 to 10^4, B1 = 2,000 | p ± 1 to 7.5·10^4, B1 = 15,000 | p ± 1 to 5·10^5, B1 = 10^5 |
//! |---|---|---|---|---|---|
//! | 128 | 0.013 | 10 | 2 | | |
//! | 160 | 0.072 | 10 | 30 | | |
//! | 192 | 0.54 | 10 | 30 | 31 | |
//! | 224 | 3.0 | 10 | 30 | 65 | 4 |
//! | 256 | 28 | 10 | 30 | 65 | 164 |
//!
//! The thresholds are measured, on one core of an Intel Xeon (Sapphire Rapids). A composite of two
//! factors of equal size loses a sixteenth of the sieve's time at most. A random number gains more
//! than that: its chance to have a prime factor between 2^a and 2^b is about 1 − a/b.
//!
//! # Many numbers
//!
//! [`Factorizer::factor_many`] factors numbers of up to [`MANY_BITS`] bits side by side, with another
//! number in each lane of the vectors: division by a few small primes, then tests of primality and
//! curves, in turns until nothing is left. Numbers of 64 bits are words from beginning to end.
//!
//! # Sources
//!
//! Pollard, *Theorems on factorization and primality testing*, 1974 (p − 1), and *A Monte Carlo
//! method for factorization*, 1975 (rho); Brent, *An improved Monte Carlo factorization algorithm*,
//! 1980. The sources of the sieve stand in [`quadratic_sieve`], those of p ± 1 and curves in the
//! crate `primepool-curves`.
//!
//! # What is proven
//!
//! The factors are multiplied and compared with the number before they are returned. A factor below
//! 2^64 is proven to be prime. A larger one is a probable prime by
//! [`is_probable_prime`](primepool_engine::primality::is_probable_prime): no composite is known
//! that passes. Divisors are never taken on trust: each has to divide, is tested, and is taken
//! apart in turn.
//!
//! # Cancellation
//!
//! Every stage polls the flag at least every 100 ms for numbers of up to [`MAX_SIEVE_BITS`] bits,
//! the sieve's linear algebra included.

mod chance;
mod factorization;
mod factorizer;
mod fermat;
mod levels;
mod limits;
mod many;
mod perfect_power;
mod progress;
mod proof;
pub mod quadratic_sieve;
mod rho;
pub mod spread;
mod trial_division;

pub use primepool_curves::WordPrimality;
pub use primepool_engine::{Cancel, Error, Integer, MAX_BITS};

pub use self::factorization::{Composite, Factor, Factorization, Reason};
pub use self::factorizer::Factorizer;
pub use self::levels::expected_seconds;
pub use self::limits::Limits;
pub use self::many::MANY_BITS;
pub use self::progress::{Progress, Stage};
pub use self::proof::PROOF_SIEVE_BITS;

/// The greatest number of bits of a composite that the sieve takes.
pub const MAX_SIEVE_BITS: u32 = quadratic_sieve::MAX_BITS;

/// The greatest number of bits of a composite that p ± 1 and curves are tried on.
pub const MAX_CURVE_BITS: u32 = primepool_curves::MAX_BITS;
