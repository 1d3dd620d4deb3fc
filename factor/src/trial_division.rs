//! Trial division.

use primepool_engine::table::Table;
use rug::Integer;

use crate::{Cancel, Error};

/// All primes below this number are divided out.
pub(super) const BOUND: u32 = 1 << 16;

/// The primes below [`BOUND`], and memory for the residues of a number modulo each.
#[derive(Default)]
pub(super) struct Primes {
    table: Table,
    residues: Vec<u32>,
}

/// Removes the prime factors below `bound` (and [`BOUND`]) from a positive number and passes them
/// to `found` with their exponents. Returns the number of primes tried.
pub(super) fn divide_out(
    n: &mut Integer,
    bound: u32,
    primes: &mut Primes,
    cancel: &Cancel,
    found: &mut dyn FnMut(u32, u32),
) -> Result<u64, Error> {
    let twos = n.find_one(0).unwrap_or(0);
    if twos > 0 {
        *n >>= twos;
        found(2, twos);
    }
    let Primes { table, residues } = primes;
    table.grow(BOUND, cancel)?;
    table.negative_residues(n, bound, residues, cancel)?;
    for (&prime, &residue) in table.primes().iter().zip(residues.iter()) {
        if residue == 0 {
            found(prime, n.remove_factor_mut(&prime.into()));
        }
    }
    Ok(1 + residues.len() as u64)
}
