//! The table of sieving primes, and the residues of a large number modulo all of them.

use rug::Integer;
use rug::integer::Order;

use crate::small::{Montgomery, high_product, multiply};
use crate::{Cancel, Error};

/// Number of odd numbers sieved between two polls of the cancellation flag while the table grows.
const SEGMENT: usize = 1 << 17;

/// Number of products reduced between two polls of the cancellation flag: less than a millisecond
/// at 65,536 bits.
const PRODUCTS_PER_POLL: usize = 512;

/// Number of products reduced side by side, so that the processor overlaps their chains of
/// multiplications.
const LANES: usize = 4;

/// All odd primes up to a bound, which grows on demand.
#[derive(Debug, Default)]
pub struct Table {
    primes: Vec<u32>,
    /// ⌊(2^64 − 1)/p⌋ for every prime p.
    reciprocals: Vec<u64>,
    products: Vec<Product>,
    /// All primes below this number are in the table.
    bound: u64,
    /// The words of the number that is being reduced.
    words: Vec<u64>,
}

/// Consecutive primes of the table with a product below 2^64. One pass over a large number serves
/// all of them.
#[derive(Debug)]
struct Product {
    modulus: u64,
    /// Inverse of the modulus modulo 2^64. Valid if `factor` is valid.
    inverse: u64,
    /// 2^(64 (words + 1)) mod the modulus.
    factor: u64,
    /// The number of words that `factor` is valid for; 0 if it is not valid.
    words: u32,
    /// Index after the product's last prime.
    end: u32,
}

impl Product {
    /// Makes `factor` valid for numbers of `words` words.
    fn prepare(&mut self, words: u32) {
        if self.words != words {
            let field = Montgomery::new(self.modulus);
            self.inverse = field.inverse();
            self.factor = field.radix_power(words + 1);
            self.words = words;
        }
    }
}

impl Table {
    /// The odd primes in ascending order.
    #[must_use]
    pub fn primes(&self) -> &[u32] {
        &self.primes
    }

    /// `n` modulo the prime at `index`.
    #[inline]
    pub(crate) fn reduce(&self, n: u64, index: usize) -> u32 {
        reduce(n, self.primes[index], self.reciprocals[index])
    }

    /// Extends the table to all odd primes below `bound`.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`]; the table stays valid, and keeps the primes that it has so far.
    pub fn grow(&mut self, bound: u32, cancel: &Cancel) -> Result<(), Error> {
        let bound = u64::from(bound);
        if bound <= self.bound {
            return Ok(());
        }
        let divisors = odd_primes_to(bound.isqrt());
        let mut composite = vec![false; SEGMENT];
        while self.bound < bound {
            cancel.check()?;
            // The segment holds the odd numbers first, first + 2, ... below `end`.
            let first = self.bound.max(3) | 1;
            let end = bound.min(first + 2 * SEGMENT as u64);
            let count = usize::try_from(end.saturating_sub(first).div_ceil(2)).unwrap_or(SEGMENT);
            let segment = &mut composite[..count.min(SEGMENT)];
            segment.fill(false);
            for &p in &divisors {
                // The first odd multiple of p that is at least p² and in the segment.
                let multiple = (p * p).max(first.next_multiple_of(p));
                let multiple = if multiple.is_multiple_of(2) {
                    multiple + p
                } else {
                    multiple
                };
                let mut index = (multiple - first) / 2;
                while let Some(slot) = usize::try_from(index)
                    .ok()
                    .and_then(|index| segment.get_mut(index))
                {
                    *slot = true;
                    index += p;
                }
            }
            for (index, &composite) in segment.iter().enumerate() {
                if !composite {
                    // Below `bound`, which is a u32.
                    self.push((first + 2 * index as u64) as u32);
                }
            }
            self.bound = end;
        }
        Ok(())
    }

    fn push(&mut self, prime: u32) {
        self.primes.push(prime);
        self.reciprocals.push(u64::MAX / u64::from(prime));
        // There are fewer than 2^32 primes below 2^32, so this fits.
        let end = self.primes.len() as u32;
        if let Some(last) = self.products.last_mut()
            && let Some(modulus) = last.modulus.checked_mul(u64::from(prime))
        {
            last.modulus = modulus;
            last.words = 0;
            last.end = end;
        } else {
            self.products.push(Product {
                modulus: u64::from(prime),
                inverse: 0,
                factor: 0,
                words: 0,
                end,
            });
        }
    }

    /// Fills `residues` with −n mod p for at least all primes p below `bound` (and below the
    /// table's bound), in the table's order. `n` is positive.
    ///
    /// The word-by-word reduction is Hensel's exact remainder, from the least significant word up,
    /// as in GMP's `mpn_modexact_1_odd`: two multiplications and no division per word.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`].
    pub fn negative_residues(
        &mut self,
        n: &Integer,
        bound: u32,
        residues: &mut Vec<u32>,
        cancel: &Cancel,
    ) -> Result<(), Error> {
        residues.clear();
        self.words.resize(n.significant_digits::<u64>(), 0);
        n.write_digits(&mut self.words, Order::Lsf);
        // A number that fits memory has fewer than 2^32 words.
        let count = self.words.len() as u32;

        let primes = self.primes.partition_point(|&p| p < bound);
        // All products with a prime below the bound; the last one may have greater primes too.
        let needed = self
            .products
            .partition_point(|product| (product.end as usize) < primes)
            + 1;
        let needed = needed.min(self.products.len());

        for batch in self.products[..needed].chunks_mut(PRODUCTS_PER_POLL) {
            cancel.check()?;
            for lanes in batch.chunks_mut(LANES) {
                lanes.iter_mut().for_each(|product| product.prepare(count));
                // Unused lanes reduce modulo 1, which is harmless.
                let mut moduli = [1; LANES];
                let mut inverses = [1; LANES];
                for (lane, product) in lanes.iter().enumerate() {
                    moduli[lane] = product.modulus;
                    inverses[lane] = product.inverse;
                }
                let carries = exact_remainders(&self.words, &moduli, &inverses);
                for (product, carry) in lanes.iter().zip(carries) {
                    let residue = multiply(carry, product.factor, product.modulus, product.inverse);
                    let range = residues.len()..product.end as usize;
                    let primes = self.primes[range.clone()].iter();
                    residues.extend(
                        primes
                            .zip(&self.reciprocals[range])
                            .map(|(&p, &reciprocal)| reduce(residue, p, reciprocal)),
                    );
                }
            }
        }
        Ok(())
    }
}

/// For each odd modulus m a number c ≤ m with −n ≡ c · 2^(64 · words) (mod m).
#[inline]
fn exact_remainders(words: &[u64], moduli: &[u64; LANES], inverses: &[u64; LANES]) -> [u64; LANES] {
    let mut carries = [0; LANES];
    for &word in words {
        for ((carry, &modulus), &inverse) in carries.iter_mut().zip(moduli).zip(inverses) {
            let (low, borrow) = word.overflowing_sub(*carry);
            *carry = high_product(low.wrapping_mul(inverse), modulus) + u64::from(borrow);
        }
    }
    carries
}

/// `n` mod `p`, with the reciprocal ⌊(2^64 − 1)/p⌋. The quotient computed with it is at most one
/// too small.
#[inline]
fn reduce(n: u64, p: u32, reciprocal: u64) -> u32 {
    let p = u64::from(p);
    let remainder = n - high_product(n, reciprocal) * p;
    // It is below 2p before the correction and below p after it, so it fits.
    (if remainder >= p {
        remainder - p
    } else {
        remainder
    }) as u32
}

/// The odd primes up to and including `limit`, which must be small.
fn odd_primes_to(limit: u64) -> Vec<u64> {
    (3..=limit)
        .step_by(2)
        .filter(|&n| crate::small::is_prime(n))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn holds_all_odd_primes_below_the_bound() {
        let cancel = Cancel::new();
        for bounds in [
            &[3, 4, 5, 6, 9, 10, 25, 26, 121, 1000][..],
            &[1 << 18, (1 << 19) + 12_345],
        ] {
            let mut table = Table::default();
            for &bound in bounds {
                table.grow(bound, &cancel).unwrap();
                let expected: Vec<u32> = (3..bound)
                    .filter(|&n| crate::small::is_prime(u64::from(n)))
                    .collect();
                assert_eq!(table.primes(), expected, "{bound}");
                table.grow(bound / 2, &cancel).unwrap();
                assert_eq!(table.primes().len(), expected.len());
            }
        }
    }

    #[test]
    fn cancelled_growth_resumes() {
        let mut table = Table::default();
        let cancelled = Cancel::new();
        cancelled.cancel();
        assert_eq!(table.grow(1000, &cancelled), Err(Error::Cancelled));
        table.grow(1000, &Cancel::new()).unwrap();
        assert_eq!(table.primes().len(), 167);
        let mut residues = Vec::new();
        let result = table.negative_residues(&Integer::from(5), 1000, &mut residues, &cancelled);
        assert_eq!(result, Err(Error::Cancelled));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn residues_are_right(seed: u64, bits in 1_u32..3000, other in 1_u32..3000, bound in 3_u32..40_000) {
            let cancel = Cancel::new();
            let mut table = Table::default();
            let mut stream = crate::Stream::seeded(seed, 0);
            let mut residues = Vec::new();
            let mut n = Integer::new();
            // Two sizes, and a table that grows in between: the prepared factors must be updated.
            for (bits, grown) in [(bits, bound), (other, bound + 500), (bits, bound + 500)] {
                stream.draw_start(&mut n, bits).unwrap();
                table.grow(grown, &cancel).unwrap();
                table.negative_residues(&n, bound, &mut residues, &cancel).unwrap();
                let needed = table.primes().iter().filter(|&&p| p < bound).count();
                prop_assert!(residues.len() >= needed);
                for (&residue, &p) in residues.iter().zip(table.primes()) {
                    prop_assert_eq!((Integer::from(&n) + residue).mod_u(p), 0);
                    prop_assert!(residue < p);
                }
            }
        }

        #[test]
        fn reciprocals_reduce(n: u64, p in 3_u32..) {
            let remainder = reduce(n, p, u64::MAX / u64::from(p));
            prop_assert_eq!(u64::from(remainder), n % u64::from(p));
        }
    }
}
