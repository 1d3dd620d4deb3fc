//! Factoring.
//!
//! [`Factorizer::factor`] takes an integer apart as far as [`Limits`] say, one stage after the other, each on what those before
//! it have left.
//!
//! # Stages
//!
//! | stage | of a composite without smaller factors | finds |
//! |---|---|---|
//! | trial division | any number | primes below 2^16 |
//! | perfect power | all | roots; what comes after does not split powers of primes |
//! | rho | below 2^64, until it is split | everything |
//! | | above, 1,024 iterations up to 96 bits, else 4,096 | half of the primes of 20 to 24 bits |
//! | p − 1, curves | 65 to 91 bits: 15 curves with B1 = 200, 40 with 1,000 | nearly everything |
//! | | from 92 bits on to what the sieve may do: a sixteenth of the time that the sieve would take | see below |
//! | | beyond the sieve, up to [`MAX_CURVE_BITS`]: all levels up to [`Limits::curve_digits`] | factors of so many digits |
//! | quadratic sieve | up to [`Limits::sieve_bits`] | everything |
//!
//! p − 1 and curves before the sieve, as many as fit into a sixteenth of its time, from the smallest bound on:
//!
//! | bits | sieve, s | B1 = 200 | p − 1 to 10^4, B1 = 2,000 | p − 1 to 5.5·10^4, B1 = 11,000 | p − 1 to 2.5·10^5, B1 = 50,000 |
//! |---|---|---|---|---|---|
//! | 128 | 0.024 | 10 | | | |
//! | 160 | 0.17 | 10 | 2 | | |
//! | 192 | 1.3 | 10 | 30 | 2 | |
//! | 224 | 20 | 10 | 30 | 105 | |
//! | 256 | 141 | 10 | 30 | 107 | 153 |
//!
//! The thresholds are measured, on one core of a server, those of curves on an AMD EPYC beside other work: the sieve takes 7 to 13 ms from 66 to 96 bits, a
//! curve with B1 = 1,000 0.1 to 0.4 ms, which finds a factor of 46 bits in some twenty. A sixteenth is what a composite of two factors of
//! equal size loses at most. A random number gains more than that: its chance to have a prime factor between 2^a and
//! 2^b is about 1 − a/b.
//!
//! For whoever has several workers for one composite: [`spread`].
//!
//! # Sources
//!
//! Pollard, *Theorems on factorization and primality testing*, 1974 (p − 1), and *A Monte Carlo method for factorization*, 1975
//! (rho); Brent, *An improved Monte Carlo factorization algorithm*, 1980; Lenstra, *Factoring integers with elliptic curves*, 1987;
//! Pomerance, *The quadratic sieve factoring algorithm*, 1985; Silverman, *The multiple polynomial quadratic sieve*, 1987; Contini,
//! *Factoring integers with the self-initializing quadratic sieve*, 1997. Trial division, powers and rho are here, p − 1 and curves in
//! the crate `ecm`, the sieve in the crate `rusqsieve`.
//!
//! # What is proven
//!
//! That the factors multiply to the number is checked before it is returned. A factor below 2^64 is proven to be prime. A
//! larger one is a probable prime by the same test as everywhere, [`is_probable_prime`](primepool_engine::primality::is_probable_prime): no composite
//! is known that passes. What the crates return is never taken on trust: a divisor has to divide, and each is tested and taken
//! apart on.
//!
//! # Cancellation
//!
//! Every stage looks at the flag. The sieve does it between polynomial families (some 60 ms at 256 bits, 0.2 s at 288, 2 s at
//! 320), but not during its linear algebra, a small part of its time at the end. A sieve that is cancelled leaves its composite
//! whole, also where it had split it into smaller composites.

mod curves;
mod factorization;
mod factorizer;
mod fermat;
mod limits;
mod perfect_power;
mod progress;
pub mod quadratic_sieve;
mod rho;
pub mod spread;
mod trial_division;

pub use primepool_engine::{Cancel, Error, Integer, MAX_BITS};

pub use self::factorization::{Composite, Factor, Factorization, Reason};
pub use self::factorizer::Factorizer;
pub use self::limits::Limits;
pub use self::progress::{Progress, Stage};

/// The greatest number of bits of a composite that the sieve takes.
pub const MAX_SIEVE_BITS: u32 = quadratic_sieve::MAX_BITS;

/// The greatest number of bits of a composite that p − 1 and curves are tried on: beyond, they would not notice a cancellation in
/// time, and have little hope.
pub const MAX_CURVE_BITS: u32 = 2048;
