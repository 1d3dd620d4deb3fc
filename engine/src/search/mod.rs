//! The search for primes with a vector kernel: many numbers at a time.

mod batch;
pub(crate) mod digits;
mod interval_sieve;
mod prime_search;
mod vector_plan;
mod workload;

pub(crate) use prime_search::{PrimeSearch, ProvenPrime};
pub(crate) use workload::Workload;

/// The least number of bits that the vector kernels support: numbers above 2^64.
const MIN_BITS: u32 = 65;
