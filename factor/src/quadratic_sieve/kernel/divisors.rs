//! Finds the moduli that divide the value at a place: those with a root there.

use super::block::ShortModuli;
use super::buckets::{Buckets, Section};
use super::roots::Roots;
use super::vectors::{Operation, SHORTS, Shorts, Vectors, WORDS};

/// The sum of the logarithms of the moduli of the first class that divide a value.
pub(crate) struct Score<'a> {
    pub(crate) moduli: &'a ShortModuli,
    pub(crate) roots: &'a Roots<Shorts>,
    pub(crate) place: u16,
}

impl Operation for Score<'_> {
    type Output = u32;

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) -> u32 {
        let mut sums = v.splat_short(0);
        for line in 0..self.moduli.scored {
            let divides = at_root(v, self.moduli, self.roots, self.place, line);
            sums = v.add_masked(sums, divides, v.load_shorts(&self.moduli.log[line]));
        }
        v.sum_shorts(sums)
    }
}

/// Indices of the moduli on some lines of 16 bits that divide a value.
pub(crate) struct Divisors<'a> {
    pub(crate) moduli: &'a ShortModuli,
    pub(crate) roots: &'a Roots<Shorts>,
    pub(crate) place: u16,
    /// The lines to be searched.
    pub(crate) lines: std::ops::Range<usize>,
    pub(crate) found: &'a mut Vec<u32>,
}

impl Operation for Divisors<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        for line in self.lines {
            let mut divides = v.bits(at_root(v, self.moduli, self.roots, self.place, line));
            while divides != 0 {
                self.found
                    .push((line * SHORTS) as u32 + divides.trailing_zeros());
                divides &= divides - 1;
            }
        }
    }
}

/// The moduli of a line that have a root at a place. The quotient by the reciprocal is at most one
/// too small.
#[inline(always)]
fn at_root<V: Vectors>(
    v: V,
    moduli: &ShortModuli,
    roots: &Roots<Shorts>,
    place: u16,
    line: usize,
) -> V::M {
    let modulus = v.load_shorts(&moduli.modulus[line]);
    let place = v.splat_short(place);
    let quotient = v.mul_high_shorts(place, v.load_shorts(&moduli.reciprocal[line]));
    let remainder = v.sub_shorts(place, v.mul_shorts(quotient, modulus));
    let remainder = v.min_shorts(remainder, v.sub_shorts(remainder, modulus));
    let (first, second) = (
        v.load_shorts(&roots.first[line]),
        v.load_shorts(&roots.second[line]),
    );
    v.equal_either(remainder, first, second)
}

/// Indices of the moduli in a polynomial's buckets that divide a value; the first modulus has the
/// index `first`.
pub(crate) struct LargeDivisors<'a> {
    pub(crate) buckets: &'a Buckets,
    pub(crate) sections: &'a [Section],
    /// Index of the polynomial in its batch.
    pub(crate) polynomial: usize,
    pub(crate) place: u16,
    pub(crate) first: u32,
    pub(crate) found: &'a mut Vec<u32>,
}

impl Operation for LargeDivisors<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        let mut first = self.first;
        let (low, place) = (v.splat(0xffff), v.splat(self.place.into()));
        for (bucket, section) in self.buckets.sections(self.polynomial).zip(self.sections) {
            let (lines, rest) = bucket.as_chunks::<WORDS>();
            let mut lines = lines.iter();
            // Hardly any line has the place. A loop without calls keeps the vectors in registers.
            let mut next = || {
                lines.find_map(|line| {
                    let equal = v.equal(v.and(v.load_unaligned(line), low), place);
                    (equal != 0).then_some((line, equal))
                })
            };
            while let Some((line, mut equal)) = next() {
                while equal != 0 {
                    self.found
                        .push(first + (line[equal.trailing_zeros() as usize] >> 16));
                    equal &= equal - 1;
                }
            }
            let equal = rest.iter().filter(|&&word| word as u16 == self.place);
            self.found.extend(equal.map(|word| first + (word >> 16)));
            first = self.first + (section.end * WORDS) as u32;
        }
    }
}
