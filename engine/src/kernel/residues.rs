//! Residues of large numbers modulo many small primes.
//!
//! Computes several residues at a time, digit by digit from the least significant one, without any
//! division (Hensel's division, that is, Montgomery reduction by one digit after the other). The
//! residues are first computed modulo products of up to [`MAX_FACTORS`] primes, which share the
//! passes over the number, and then modulo each prime.

use super::arithmetic::{Arithmetic, DIGIT_BITS, Operation};
use crate::{Cancel, Error, small};

/// All primes are below this bound, so that a product of two residues is below 2^50.
pub(crate) const MAX_PRIME: u32 = 1 << 25;

/// Number of products reduced side by side, so that the processor overlaps their dependent chains.
pub(crate) const SIDE_BY_SIDE: usize = 32;

/// The greatest number of primes in a product.
const MAX_FACTORS: usize = 4;

/// Greatest product of primes; it leaves room for the signs of residues.
const MAX_PRODUCT: u64 = 1 << (DIGIT_BITS - 1);

/// Primes prepared between two polls of the cancellation flag: about a millisecond.
const PRIMES_PER_POLL: usize = 1 << 13;

/// Residues of numbers of a fixed number of digits.
pub(crate) trait Residues: Send {
    /// Sets the primes and the number of digits of the numbers. The primes are odd, below
    /// [`MAX_PRIME`] and in ascending order; their number is a multiple of [`SIDE_BY_SIDE`]. For
    /// the first `short` primes, also a multiple of [`SIDE_BY_SIDE`], [`Residues::locate`] always
    /// writes an index.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`].
    fn prepare(
        &mut self,
        primes: &[u32],
        short: usize,
        digits: usize,
        cancel: &Cancel,
    ) -> Result<(), Error>;

    /// For each prime p, finds the least i with `start` + 2i ≡ 0 (mod p). Writes i to `firsts` for
    /// each short prime, and to `hits` for the other primes if i is below `end`. Returns the number
    /// of hits. `hits` must have room for all primes and one more vector.
    fn locate(&self, start: &[u64], end: u32, firsts: &mut [u32], hits: &mut [u32]) -> usize;

    /// Whether one of the primes divides a number, which must be greater than all of them.
    fn has_factor(&self, number: &[u64]) -> bool;

    /// Sets bit i of `marks`, in 64-bit words, if byte i is not zero.
    fn mark_nonzero(&self, bytes: &[u8], marks: &mut [u64]);
}

/// Residues computed with the given arithmetic.
pub(super) fn boxed<A: Arithmetic>(arithmetic: A) -> Box<dyn Residues> {
    Box::new(Tables {
        arithmetic,
        primes: Vec::new(),
        inverses: Vec::new(),
        factors: Vec::new(),
        blocks: Vec::new(),
        products: Vec::new(),
        product_inverses: Vec::new(),
        short: 0,
    })
}

struct Tables<A> {
    arithmetic: A,
    primes: Vec<u32>,
    /// For each prime its inverse modulo 2^52, in the arithmetic's representation.
    inverses: Vec<u64>,
    /// For each prime 2^(52 (digits + 2)) / 2 modulo it. This factor turns the rest of a start into
    /// the index of a multiple.
    factors: Vec<u32>,
    /// For each block of products, the number k of primes in a product. The block covers 32 k
    /// consecutive primes; its product i has the primes i, 32 + i, ... of the block.
    blocks: Vec<usize>,
    /// The products and their inverses modulo 2^52, in the arithmetic's representation.
    products: Vec<u64>,
    product_inverses: Vec<u64>,
    short: usize,
}

impl<A: Arithmetic> Tables<A> {
    /// Computes the products, each of as many primes as fit. No product has both short primes and
    /// others.
    fn multiply_primes(&mut self) {
        self.blocks.clear();
        self.products.clear();
        self.product_inverses.clear();
        let mut rest = self.primes.as_slice();
        while !rest.is_empty() {
            let done = self.primes.len() - rest.len();
            let end = if done < self.short {
                self.short
            } else {
                self.primes.len()
            };
            let fits = |&count: &usize| {
                let greatest = u64::from(rest[SIDE_BY_SIDE * count - 1]);
                let power = greatest.checked_pow(count as u32);
                power.is_some_and(|power| power <= MAX_PRODUCT)
            };
            let most = MAX_FACTORS.min((end - done) / SIDE_BY_SIDE);
            let count = (2..=most).rev().find(fits).unwrap_or(1);
            let (block, later) = rest.split_at(SIDE_BY_SIDE * count);
            for i in 0..SIDE_BY_SIDE {
                let factors = block[i..].iter().step_by(SIDE_BY_SIDE);
                let product = factors.map(|&p| u64::from(p)).product();
                self.products.push(A::factor_word(product));
                self.product_inverses
                    .push(A::residue_inverse(small::inverse(product)));
            }
            self.blocks.push(count);
            rest = later;
        }
    }

    /// Applies [`Arithmetic::reduce`] to all digits of a number, modulo the products of a block.
    #[inline(always)]
    fn reduce(&self, s: A, number: &[u64], block: usize, rests: &mut [A::Vector]) {
        // The number of vectors that fit 16 or 32 registers.
        let at_once = 4;
        let first = SIDE_BY_SIDE * block;
        for (index, rests) in rests.chunks_exact_mut(at_once).enumerate() {
            let from = first + at_once * A::COUNT * index;
            let mut m = [s.splat(0); 4];
            let mut inverse = m;
            let mut rest = m;
            for i in 0..at_once {
                m[i] = s.load(&self.products[from + A::COUNT * i..]);
                inverse[i] = s.load(&self.product_inverses[from + A::COUNT * i..]);
            }
            // −(the number formed by the digits so far) ≡ rest · 2^(52 · their count).
            for &digit in number {
                let digit = s.splat(digit);
                for i in 0..at_once {
                    rest[i] = s.reduce(rest[i], digit, m[i], inverse[i]);
                }
            }
            rests.copy_from_slice(&rest);
        }
    }
}

/// Number of vectors with [`SIDE_BY_SIDE`] lanes in all: four of eight lanes, or eight of four.
const fn vectors<A: Arithmetic>() -> usize {
    SIDE_BY_SIDE / A::COUNT
}

/// The greatest result of [`vectors`].
const MAX_VECTORS: usize = 8;

struct Locate<'a, A> {
    tables: &'a Tables<A>,
    start: &'a [u64],
    end: u32,
    firsts: &'a mut [u32],
    hits: &'a mut [u32],
}

impl<A: Arithmetic> Operation<A> for Locate<'_, A> {
    type Output = usize;

    #[inline(always)]
    fn run(self, s: A) -> usize {
        let Self {
            tables,
            start,
            end,
            firsts,
            hits,
        } = self;
        let mut rests = [s.splat(0); MAX_VECTORS];
        let rests = &mut rests[..vectors::<A>()];
        let (mut index, mut count) = (0, 0);
        for (block, &factors) in tables.blocks.iter().enumerate() {
            tables.reduce(s, start, block, rests);
            for _ in 0..factors {
                for &rest in rests.iter() {
                    let p = s.primes(&tables.primes[index..]);
                    let inverse = s.load(&tables.inverses[index..]);
                    let factor = s.primes(&tables.factors[index..]);
                    let rest = s.reduce_by(rest, p, inverse);
                    let first = s.multiple(rest, factor, p, inverse);
                    let words = s.multiple_words(first);
                    if index < tables.short {
                        s.store_words(words, &mut firsts[index..]);
                    } else {
                        count += s.append_below(words, end, &mut hits[count..]);
                    }
                    index += A::COUNT;
                }
            }
        }
        count
    }
}

struct HasFactor<'a, A> {
    tables: &'a Tables<A>,
    number: &'a [u64],
}

impl<A: Arithmetic> Operation<A> for HasFactor<'_, A> {
    type Output = bool;

    #[inline(always)]
    fn run(self, s: A) -> bool {
        let Self { tables, number } = self;
        let mut rests = [s.splat(0); MAX_VECTORS];
        let rests = &mut rests[..vectors::<A>()];
        let mut index = 0;
        for (block, &factors) in tables.blocks.iter().enumerate() {
            tables.reduce(s, number, block, rests);
            for _ in 0..factors {
                let mut is_divided = false;
                for &rest in rests.iter() {
                    let p = s.primes(&tables.primes[index..]);
                    let inverse = s.load(&tables.inverses[index..]);
                    is_divided |= s.has_zero(s.reduce_by(rest, p, inverse));
                    index += A::COUNT;
                }
                if is_divided {
                    return true;
                }
            }
        }
        false
    }
}

struct MarkNonzero<'a> {
    bytes: &'a [u8],
    marks: &'a mut [u64],
}

impl<A: Arithmetic> Operation<A> for MarkNonzero<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, s: A) {
        let (bytes, _) = self.bytes.as_chunks();
        for (mark, bytes) in self.marks.iter_mut().zip(bytes) {
            *mark |= s.nonzero_bytes(bytes);
        }
    }
}

impl<A: Arithmetic> Residues for Tables<A> {
    fn prepare(
        &mut self,
        primes: &[u32],
        short: usize,
        digits: usize,
        cancel: &Cancel,
    ) -> Result<(), Error> {
        debug_assert!(
            primes.len().is_multiple_of(SIDE_BY_SIDE) && short.is_multiple_of(SIDE_BY_SIDE)
        );
        self.primes.clear();
        self.inverses.clear();
        self.factors.clear();
        self.short = short;
        self.primes.extend_from_slice(primes);
        for batch in primes.chunks(PRIMES_PER_POLL) {
            cancel.check()?;
            for &p in batch {
                let p = u64::from(p);
                self.inverses.push(A::residue_inverse(small::inverse(p)));
                let exponent = u64::from(DIGIT_BITS) * (digits as u64 + 2) - 1;
                // The result is below p, so it fits a u32.
                self.factors.push(power_of_two(exponent, p) as u32);
            }
        }
        self.multiply_primes();
        Ok(())
    }

    fn locate(&self, start: &[u64], end: u32, firsts: &mut [u32], hits: &mut [u32]) -> usize {
        let mut digits = [0; MAX_DIGITS];
        let digits = as_factors::<A>(start, &mut digits);
        self.arithmetic.run(Locate {
            tables: self,
            start: digits,
            end,
            firsts,
            hits,
        })
    }

    fn has_factor(&self, number: &[u64]) -> bool {
        let mut digits = [0; MAX_DIGITS];
        self.arithmetic.run(HasFactor {
            tables: self,
            number: as_factors::<A>(number, &mut digits),
        })
    }

    fn mark_nonzero(&self, bytes: &[u8], marks: &mut [u64]) {
        self.arithmetic.run(MarkNonzero { bytes, marks });
    }
}

/// The greatest number of digits of a number.
const MAX_DIGITS: usize = 161;

/// Converts the digits to factors of the arithmetic.
fn as_factors<'a, A: Arithmetic>(number: &[u64], to: &'a mut [u64; MAX_DIGITS]) -> &'a [u64] {
    for (to, &digit) in to.iter_mut().zip(number) {
        *to = A::factor_word(digit);
    }
    &to[..number.len()]
}

/// 2^exponent modulo p, which is odd and below 2^32.
fn power_of_two(exponent: u64, p: u64) -> u64 {
    (0..u64::BITS - exponent.leading_zeros())
        .rev()
        .fold(1, |power, bit| {
            ((power * power) << (exponent >> bit & 1)) % p
        })
}
