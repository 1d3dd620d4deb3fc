//! Buckets of the large primes: the places where they divide, for many polynomials at once.
//!
//! A prime above the block's length divides at most one value of a block for each of its roots, so
//! one list of places for each polynomial is enough. 16 primes stay in registers while their roots
//! go through all polynomials of a batch.

use super::roots::{Change, Moduli, Roots};
use super::vectors::{Operation, Vectors, WORDS, Words};
use crate::quadratic_sieve::parameters::BLOCK;

/// log2 of the largest number of polynomials in a batch.
pub(crate) const BATCH_LOG2: u32 = 5;

/// Largest number of polynomials in a batch.
const BATCH: usize = 1 << BATCH_LOG2;

/// Lines of primes between two checks of the room in the buckets.
const CHUNK: usize = 64;

/// Most words that the primes of a chunk add to a bucket, plus one line that may be written behind
/// them.
const CHUNK_WORDS: usize = 2 * CHUNK * WORDS + WORDS;

/// From this prime on, nearly always at most 8 of 16 primes have a place in the block.
const FEW_FROM: u32 = 4 * BLOCK as u32;

/// From this prime on, both roots are in the block so rarely that one of them may be left out. The
/// prime is then found as the large prime of the value.
const ONE_FROM: u32 = 14 * BLOCK as u32;

/// Largest number of lines in a section: the index of a prime in it has 16 bits.
pub(crate) const SECTION_LINES: usize = (1 << 16) / WORDS;

/// Lines of moduli with the same logarithm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Section {
    /// Index after the last line.
    pub(crate) end: usize,
    pub(crate) log: u8,
}

/// For each polynomial of a batch, where large primes divide its values: words of which the low
/// half is a place in the block, and the high one the index of the prime in its section.
#[derive(Clone, Debug)]
pub(crate) struct Buckets {
    words: Vec<u32>,
    /// Number of words reserved for each polynomial.
    capacity: usize,
    /// By section and polynomial: number of words up to the end of the section.
    ends: Vec<[u32; BATCH]>,
}

impl Buckets {
    /// Creates buckets for the expected number of words of each polynomial. Places beyond their
    /// capacity are dropped.
    pub(crate) fn new(expected: f64, sections: usize) -> Self {
        let spread = 1.1 * expected + 8.0 * expected.sqrt();
        let capacity = (spread as usize).next_multiple_of(WORDS) + CHUNK_WORDS;
        Self {
            words: vec![0; capacity * BATCH],
            capacity,
            ends: vec![[0; BATCH]; sections],
        }
    }

    /// The sections of a polynomial of the batch.
    pub(super) fn sections(&self, polynomial: usize) -> impl Iterator<Item = &[u32]> {
        let words = &self.words[polynomial * self.capacity..][..self.capacity];
        let mut start = 0;
        self.ends.iter().map(move |ends| {
            let end = ends[polynomial] as usize;
            let section = &words[start..end];
            start = end;
            section
        })
    }
}

/// Fills the buckets of a batch, and advances the roots to its last polynomial.
pub(crate) struct Fill<'a> {
    pub(crate) moduli: &'a Moduli,
    pub(crate) roots: &'a mut Roots<Words>,
    pub(crate) sections: &'a [Section],
    pub(crate) buckets: &'a mut Buckets,
    /// The first polynomial, a multiple of the batch's size.
    pub(crate) polynomial: u32,
    /// log2 of the number of polynomials in the batch, at most [`BATCH_LOG2`].
    pub(crate) batch_log2: u32,
}

/// Room for all steps of a line: a power of 2, so that the bounds check of an index is cheap.
const STEPS: usize = (2 * BATCH_LOG2 as usize + 1).next_power_of_two();

/// How the primes of a chunk are put into the buckets: both roots, of primes that are often in the
/// block.
const MANY: u8 = 0;

/// Both roots, of primes that are rarely in the block.
const FEW: u8 = 1;

/// One root, of primes that hardly ever have both roots in the block.
const ONE: u8 = 2;

impl Operation for Fill<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        let moduli = &self.moduli.modulus[self.moduli.short_lines..];
        let batch = 1_usize << self.batch_log2;
        let capacity = self.buckets.capacity;
        assert!(batch <= BATCH && self.buckets.words.len() >= batch * capacity);
        let start = self.buckets.words.as_mut_ptr();
        // SAFETY: `words` has `capacity` words for each polynomial.
        let begins: [*mut u32; BATCH] =
            std::array::from_fn(|i| unsafe { start.add(i.min(batch - 1) * capacity) });
        let mut ends = begins;
        let lengths = |ends: &[*mut u32; BATCH]| {
            // Each end is in the same polynomial's words as its beginning.
            std::array::from_fn(|i| (ends[i].addr() - begins[i].addr()) as u32 / 4)
        };
        let changes = Changes {
            first: (self.polynomial > 0).then(|| Change::to(self.polynomial)),
            others: std::array::from_fn(|i| match i as u32 {
                0 => 0,
                i => {
                    let change = Change::to(self.polynomial + i);
                    1 + 2 * change.term as u8 + u8::from(change.to_positive)
                }
            }),
        };
        let mut first = 0;
        for (section, saved) in self.sections.iter().zip(&mut self.buckets.ends) {
            let section_start = first;
            while first < section.end {
                let end = section.end.min(first + CHUNK);
                let has_room = lengths(&ends)
                    .iter()
                    .all(|&length: &u32| length as usize + CHUNK_WORDS <= capacity);
                let chunk = Chunk {
                    moduli: &moduli[first..end],
                    first,
                    tag: (first - section_start) * WORDS,
                    bound: if has_room { BLOCK as u32 } else { 0 },
                    batch,
                };
                // SAFETY: either there is room for all words of the chunk; or the bound is 0, no
                // word passes, and only one line is written again and again. There is room for that
                // line, since there was room for the whole chunk before.
                unsafe {
                    match moduli[first].0[0] {
                        ONE_FROM.. => chunk.fill::<V, ONE>(v, self.roots, &changes, &mut ends),
                        FEW_FROM.. => chunk.fill::<V, FEW>(v, self.roots, &changes, &mut ends),
                        _ => chunk.fill::<V, MANY>(v, self.roots, &changes, &mut ends),
                    }
                }
                first = end;
            }
            *saved = lengths(&ends);
        }
    }
}

/// The changes to the polynomials of a batch.
struct Changes {
    /// The change to the first polynomial, which may be of any term.
    first: Option<Change>,
    /// Indices of the other changes in the steps of a line.
    others: [u8; BATCH],
}

struct Chunk<'a> {
    moduli: &'a [Words],
    /// Index of the first line among the roots.
    first: usize,
    /// Index of its first prime in the section.
    tag: usize,
    bound: u32,
    batch: usize,
}

impl Chunk<'_> {
    /// # Safety
    ///
    /// After each of the `ends` of the batch there is room for [`CHUNK_WORDS`], or for a line if
    /// the bound is 0.
    #[inline(always)]
    unsafe fn fill<V: Vectors, const DENSITY: u8>(
        &self,
        v: V,
        roots: &mut Roots<Words>,
        changes: &Changes,
        ends: &mut [*mut u32; BATCH],
    ) {
        let bound = v.splat(self.bound);
        let lanes = Words(std::array::from_fn(|lane| (lane as u32) << 16));
        let mut tag = v.add(v.load(&lanes), v.splat((self.tag as u32) << 16));
        for (line, modulus) in (self.first..).zip(self.moduli) {
            let modulus = v.load(modulus);
            let mut first = v.load(&roots.first[line]);
            let mut second = v.load(&roots.second[line]);
            // The first step has index 0; those of each term and their opposites follow.
            let mut steps = [v.splat(0); STEPS];
            for (pair, step) in steps[1..=2 * BATCH_LOG2 as usize]
                .chunks_mut(2)
                .zip(&roots.steps)
            {
                let step = v.load(&step[line]);
                pair[0] = step;
                pair[1] = v.sub(modulus, step);
            }
            if let Some(change) = changes.first {
                let step = v.load(&roots.steps[change.term][line]);
                steps[0] = if change.to_positive {
                    v.sub(modulus, step)
                } else {
                    step
                };
            }
            for (end, &which) in ends[..self.batch].iter_mut().zip(&changes.others) {
                let step = steps[usize::from(which) % STEPS];
                first = v.add(first, step);
                second = v.add(second, step);
                first = v.min(first, v.sub(first, modulus));
                second = v.min(second, v.sub(second, modulus));
                // SAFETY: the caller guarantees the room.
                unsafe {
                    if DENSITY == ONE {
                        let least = v.min(first, second);
                        *end = end.add(v.append_few_below(least, bound, v.or(least, tag), *end));
                    } else {
                        for root in [first, second] {
                            let tagged = v.or(root, tag);
                            *end = end.add(if DENSITY == FEW {
                                v.append_few_below(root, bound, tagged, *end)
                            } else {
                                v.append_below(root, bound, tagged, *end)
                            });
                        }
                    }
                }
            }
            v.store(first, &mut roots.first[line]);
            v.store(second, &mut roots.second[line]);
            tag = v.add(tag, v.splat((WORDS as u32) << 16));
        }
    }
}
