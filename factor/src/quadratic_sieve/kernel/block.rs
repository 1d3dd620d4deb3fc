//! The block of one polynomial: for each value, the sum of the logarithms of the primes that divide
//! it.

use super::buckets::{Buckets, Section};
use super::roots::{Change, Roots, change_short};
use super::vectors::{Operation, SHORTS, Shorts, Vectors};
use crate::quadratic_sieve::parameters::BLOCK;

/// Sums of logarithms by place in the block, and room behind the block for updates that overshoot.
#[derive(Clone)]
#[repr(C, align(64))]
pub(crate) struct Block([u8; BLOCK + OVERHANG]);

/// Bytes behind the block. A place of 16 bits plus a multiple of a modulus up to the block's length
/// is an index of the whole array.
const OVERHANG: usize = 1 << 16;

/// Number of bytes that are scanned together.
const SCANNED: usize = 128;

impl Block {
    pub(crate) fn new() -> Box<Self> {
        Box::new(Self([0; BLOCK + OVERHANG]))
    }

    /// Adds a logarithm at each of the places.
    #[inline(always)]
    fn add(&mut self, places: impl Iterator<Item = u16>, log: u8) {
        for place in places {
            let sum = &mut self.0[usize::from(place)];
            *sum = sum.wrapping_add(log);
        }
    }

    /// The sum at a place.
    pub(crate) fn at(&self, place: u16) -> u8 {
        self.0[usize::from(place)]
    }
}

/// Consecutive moduli of the second class with the same quotient of block length and modulus: each
/// hits the block `times` times or once more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ModuliRun {
    /// Index after the last modulus.
    pub(crate) end: usize,
    pub(crate) times: usize,
}

/// Moduli of 16 bits in three classes of whole lines. The first class is not sieved with, only used
/// to score reports. The second is added to the block directly, the third by lists of places.
#[derive(Clone, Debug, Default)]
pub(crate) struct ShortModuli {
    /// 0 for moduli of the third class that are not sieved with.
    pub(crate) modulus: Vec<Shorts>,
    /// ⌊2^16 / modulus⌋.
    pub(crate) reciprocal: Vec<Shorts>,
    /// 0 for moduli that are not sieved with.
    pub(crate) log: Vec<Shorts>,
    /// Lines of the first class.
    pub(crate) scored: usize,
    /// Lines of the first and the second class.
    pub(crate) direct: usize,
    /// Runs of the second class.
    pub(crate) runs: Vec<ModuliRun>,
    /// Sections of the third class; lines are counted from its first one.
    pub(crate) listed: Vec<Section>,
    /// By line of the third class: least and greatest number of places of one of its roots in the
    /// block.
    pub(crate) times: Vec<(u8, u8)>,
}

impl ShortModuli {
    /// Upper bound of the places of the third class, plus one line that may be written behind them.
    pub(crate) fn list_length(&self) -> usize {
        let places = self
            .times
            .iter()
            .map(|&(_, most)| 2 * SHORTS * usize::from(most));
        places.sum::<usize>() + SHORTS
    }
}

/// Sieves a polynomial and reports the places whose sum has reached 2^7.
pub(crate) struct SieveBlock<'a> {
    pub(crate) moduli: &'a ShortModuli,
    pub(crate) roots: &'a mut Roots<Shorts>,
    /// The change from the previous polynomial; `None` for the first one of a family.
    pub(crate) change: Option<Change>,
    pub(crate) buckets: &'a Buckets,
    /// Sections of the buckets: lines with the same logarithm.
    pub(crate) sections: &'a [Section],
    /// Index of the polynomial in its batch.
    pub(crate) polynomial: usize,
    pub(crate) block: &'a mut Block,
    /// Initial value of all sums.
    pub(crate) initial: u8,
    /// Room for [`ShortModuli::list_length`] places.
    pub(crate) list: &'a mut [u16],
    pub(crate) reports: &'a mut Vec<u16>,
}

impl Operation for SieveBlock<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        if let Some(change) = self.change {
            change_short(v, &self.moduli.modulus, self.roots, change);
        }
        self.block.0[..BLOCK].fill(self.initial);
        add_directly(self.moduli, self.roots, self.block);
        add_listed(v, self.moduli, self.roots, self.list, self.block);
        let buckets = self.buckets.sections(self.polynomial);
        for (bucket, section) in buckets.zip(self.sections) {
            self.block
                .add(bucket.iter().map(|&word| word as u16), section.log);
        }
        report(v, self.block, self.reports);
    }
}

/// Adds the second class: each modulus once more than it is certain to be in the block, so that no
/// branch depends on where it ends.
#[inline(always)]
fn add_directly(moduli: &ShortModuli, roots: &Roots<Shorts>, block: &mut Block) {
    let start = block.0.as_mut_ptr();
    let mut first = moduli.scored * SHORTS;
    for run in &moduli.runs {
        for i in first..run.end {
            let (line, lane) = (i / SHORTS, i % SHORTS);
            let modulus = usize::from(moduli.modulus[line].0[lane]);
            let log = moduli.log[line].0[lane] as u8;
            let mut places =
                [&roots.first, &roots.second].map(|roots| usize::from(roots[line].0[lane]));
            // SAFETY: for both calls: a place is a root of 16 bits plus at most `times` moduli,
            // which together are at most the block's length. It is less than the length of the
            // block and its overhang.
            debug_assert!(run.times * modulus <= BLOCK);
            let mut left = run.times + 1;
            while left >= 4 {
                for offset in [0, modulus, 2 * modulus, 3 * modulus] {
                    places
                        .into_iter()
                        .for_each(|place| unsafe { add_log(start, place + offset, log) });
                }
                places = places.map(|place| place + 4 * modulus);
                left -= 4;
            }
            for offset in [0, modulus, 2 * modulus].into_iter().take(left) {
                places
                    .into_iter()
                    .for_each(|place| unsafe { add_log(start, place + offset, log) });
            }
        }
        first = run.end;
    }
}

/// Adds a logarithm at a place after `start`.
///
/// # Safety
///
/// The byte at the place may be written.
#[inline(always)]
unsafe fn add_log(start: *mut u8, place: usize, log: u8) {
    // SAFETY: the caller guarantees it.
    unsafe {
        let sum = start.add(place);
        *sum = (*sum).wrapping_add(log);
    }
}

/// Adds the third class: first a list of all places, which takes no unpredictable branch, then the
/// logarithms.
#[inline(always)]
fn add_listed<V: Vectors>(
    v: V,
    moduli: &ShortModuli,
    roots: &Roots<Shorts>,
    list: &mut [u16],
    block: &mut Block,
) {
    assert!(list.len() >= moduli.list_length());
    let start = list.as_mut_ptr();
    let mut length = 0;
    let mut first = 0;
    for section in &moduli.listed {
        let from = length;
        for (i, &(least, most)) in moduli.times[first..section.end].iter().enumerate() {
            let line = moduli.direct + first + i;
            let modulus = v.load_shorts(&moduli.modulus[line]);
            let mut places = [
                v.load_shorts(&roots.first[line]),
                v.load_shorts(&roots.second[line]),
            ];
            // SAFETY: for each line, at most as many places are written as the list has room for,
            // and a line after them.
            unsafe {
                for _ in 0..least {
                    for place in &mut places {
                        v.append_all(*place, start.add(length));
                        length += SHORTS;
                        *place = v.add_shorts(*place, modulus);
                    }
                }
                for _ in least..most {
                    for place in &mut places {
                        length += v.append_in_block(*place, start.add(length));
                        *place = v.add_shorts(*place, modulus);
                    }
                }
            }
        }
        first = section.end;
        block.add(list[from..length].iter().copied(), section.log);
    }
}

/// Collects the places whose sum has its high bit set.
#[inline(always)]
fn report<V: Vectors>(v: V, block: &Block, reports: &mut Vec<u16>) {
    const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
    reports.clear();
    let (chunks, _) = block.0[..BLOCK].as_chunks::<SCANNED>();
    for (chunk, start) in chunks.iter().zip((0..).step_by(SCANNED)) {
        if !v.has_high_bit(chunk) {
            continue;
        }
        let (words, _) = chunk.as_chunks::<8>();
        for (word, start) in words.iter().zip((start..).step_by(8)) {
            let mut high = u64::from_le_bytes(*word) & HIGH_BITS;
            while high != 0 {
                reports.push(start + (high.trailing_zeros() / 8) as u16);
                high &= high - 1;
            }
        }
    }
}
