//! Factoring of integers.
//!
//! [`Factorizer::factor`] factors one integer within the given [`Limits`]. Each stage works on the
//! cofactors that the stages before it have left. [`Factorizer::factor_many`] factors many small
//! integers side by side. A hard composite can be shared among many machines: its curves through
//! [`spread`], its quadratic sieve through [`quadratic_sieve`].
//!
//! The crate does arithmetic and nothing else: no input or output, no clock, no asynchrony, no
//! global state.
//!
//! # Stages
//!
//! | stage | composites without smaller factors | finds |
//! |---|---|---|
//! | trial division | any number | primes below 2^16 |
//! | perfect power | all | roots; later stages do not split powers of primes |
//! | Fermat | above 2^64 | factors that are close to each other |
//! | curves | up to 118 bits | all factors |
//! | p ± 1, curves | from 119 bits up to the sieve's limit | depends on the time, see below |
//! | | beyond the sieve, up to [`MAX_CURVE_BITS`] | factors of [`Limits::curve_digits`] digits |
//! | rho | beyond curves, 4,096 iterations | half of the primes of 20 to 24 bits |
//! | quadratic sieve | up to [`Limits::sieve_bits`] | all factors |
//!
//! Before the sieve, p ± 1 and curves run in levels with ascending bounds, as many as fit into a
//! sixteenth of the sieve's time. Below the bounds of a level (of p ± 1, if any, and B1 of the
//! curves), the table has its number of curves:
//!
//! | bits | sieve, s | B1 = 200 | 10^4, 2,000 | 7.5·10^4, 15,000 | 5·10^5, 10^5 |
//! |---|---|---|---|---|---|
//! | 128 | 0.006 | 16 | | | |
//! | 160 | 0.036 | 16 | 8 | | |
//! | 192 | 0.31 | 16 | 32 | 8 | |
//! | 224 | 2.4 | 16 | 32 | 72 | |
//! | 256 | 16 | 16 | 32 | 72 | 104 |
//!
//! The times of the sieve were measured on one core of an AMD EPYC (Zen 4). A composite of two
//! factors of equal size loses at most a sixteenth of the sieve's time. A random number gains more
//! than that: it has a prime factor between 2^a and 2^b with a probability of about 1 − a/b.
//!
//! # Many numbers
//!
//! [`Factorizer::factor_many`] factors numbers of up to [`MANY_BITS`] bits side by side, with a
//! different number in each lane of the vectors: trial division by a few small primes, then tests
//! of primality and curves in turn until no composite is left. Numbers of 64 bits stay machine
//! words throughout.
//!
//! # Sources
//!
//! Pollard, *Theorems on factorization and primality testing*, 1974 (p − 1), and *A Monte Carlo
//! method for factorization*, 1975 (rho); Brent, *An improved Monte Carlo factorization algorithm*,
//! 1980. [`quadratic_sieve`] lists the sources of the sieve, the crate `primepool-curves` those of
//! p ± 1 and curves.
//!
//! # What is proven
//!
//! The product of the factors is compared with the number before they are returned. A factor below
//! 2^64 is proven to be prime. A larger one is a probable prime by
//! [`is_probable_prime`](primepool_engine::primality::is_probable_prime): no composite is known
//! that passes. Divisors are never trusted: each must divide the number, is tested, and is factored
//! in turn.
//!
//! # Cancellation
//!
//! Every stage, including the sieve's linear algebra, polls the [`Cancel`] flag at least every 100
//! ms for numbers of up to [`MAX_SIEVE_BITS`] bits.

mod chance;
mod factor_many;
mod factorization;
mod factorizer;
mod fermat;
mod levels;
mod limits;
mod perfect_power;
mod progress;
mod proof;
pub mod quadratic_sieve;
mod rho;
pub mod spread;
mod trial_division;

pub use primepool_curves::WordPrimality;
pub use primepool_engine::{Cancel, Error, Integer, MAX_BITS};

pub use self::factor_many::MANY_BITS;
pub use self::factorization::{Composite, Factor, Factorization, Reason};
pub use self::factorizer::Factorizer;
pub use self::levels::expected_seconds;
pub use self::limits::Limits;
pub use self::progress::{Progress, Stage};
pub use self::proof::PROOF_SIEVE_BITS;

/// Largest size in bits of a composite that the sieve accepts.
pub const MAX_SIEVE_BITS: u32 = quadratic_sieve::MAX_BITS;

/// Largest size in bits of a composite that p ± 1 and curves are tried on.
pub const MAX_CURVE_BITS: u32 = primepool_curves::MAX_BITS;
