//! Linear algebra of the sieve: sets of sparse vectors over GF(2) whose sum is zero.
//!
//! The system is made smaller while it is sparse: a vector with an entry that no other vector has
//! is dropped, and if only a few vectors share an entry, the lightest of them is added to the
//! others and dropped with the entry. If the rest is small enough, it is made dense and brought to
//! echelon form by the method of the four Russians; otherwise it stays sparse, for the block
//! Lanczos algorithm. Both use several cores.
//!
//! # Sources
//!
//! Pomerance and Smith, *Reduction of huge, sparse matrices over finite fields via created
//! catastrophes*, 1992; Cavallar, *Strategies in filtering in the number field sieve*, 2000;
//! Albrecht, Bard and Hart, *Algorithm 898: Efficient multiplication of dense matrices over GF(2)*,
//! 2010, for the tables.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZero;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::bits::{bit, ones, xor};
use super::{block_lanczos, parallel};
use crate::{Cancel, Error};

/// Largest number of vectors without singletons that are made dense. Larger systems stay sparse,
/// for the block Lanczos algorithm.
const DENSE: usize = 10_000;

/// Attempts of the block Lanczos algorithm, each with different random numbers.
const ATTEMPTS: u64 = 5;

/// An entry is eliminated if at most this many vectors have it: with more of them, the others would
/// become heavy.
const MAX_MERGED: usize = 10;

/// An entry that more than this many vectors have is in their dense parts from the start.
const MAX_LIGHT: u32 = 40;

/// Rows in a table of the sums of all their subsets.
const TABLE_BITS: usize = 7;

/// Tables whose sums are added to the other rows in one pass: the rows are in memory, and each pass
/// over them takes time.
const TABLES: usize = 4;

/// Words to be added for each table that make another thread worthwhile: some tenths of a
/// millisecond.
const WORDS_A_THREAD: usize = 1 << 19;

/// Rows that a thread processes at a time.
const ROWS_AT_A_TIME: usize = 256;

/// Sets of vectors whose sum is zero. Each vector is given by the indices of its entries that are
/// 1, ascending and below `entries`. If there are at most `most` independent sets, these are
/// returned; otherwise `most` random sums of them, so that a property that all sets but a few have
/// in common does not hide those few. In a large system, the sets are up to 64 random ones.
///
/// # Errors
///
/// [`Error::Cancelled`].
pub(super) fn dependencies(
    vectors: &[Vec<u32>],
    entries: usize,
    most: usize,
    threads: NonZero<usize>,
    cancel: &Cancel,
) -> Result<Dependencies, Error> {
    let (alive, weights) = without_singletons(vectors, entries, cancel)?;
    if alive.len() > DENSE {
        let mut merge = Merge::new(vectors, alive.clone(), &weights);
        merge.run(true, cancel)?;
        if let Some(found) = merge.by_lanczos(threads, cancel)? {
            return Ok(found);
        }
    }
    let mut merge = Merge::new(vectors, alive, &weights);
    merge.run(false, cancel)?;
    merge.by_elimination(most, threads, cancel)
}

/// Sets of vectors, stored as sets of sums of vectors.
#[derive(Debug, Default)]
pub(super) struct Dependencies {
    sums: Vec<Sum>,
    sets: Vec<Vec<usize>>,
}

impl Dependencies {
    /// The vectors of each set, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = Vec<u32>> {
        self.sets.iter().map(|set| {
            let parts = || set.iter().flat_map(|&sum| &self.sums[sum].parts);
            let length = parts().max().map_or(0, |&last| last as usize + 1);
            let mut odd = vec![false; length];
            for &part in parts() {
                odd[part as usize] ^= true;
            }
            let all = (0..).zip(odd);
            all.filter_map(|(vector, odd)| odd.then_some(vector))
                .collect()
        })
    }
}

/// The indices of the vectors without singletons, and the number of vectors that have each entry.
///
/// # Errors
///
/// [`Error::Cancelled`].
fn without_singletons(
    vectors: &[Vec<u32>],
    entries: usize,
    cancel: &Cancel,
) -> Result<(Vec<u32>, Vec<u32>), Error> {
    let mut weights = vec![0_u32; entries];
    for &entry in vectors.iter().flatten() {
        weights[entry as usize] += 1;
    }
    let alive = drop_singletons(vectors, &mut weights, cancel)?;
    Ok((alive, weights))
}

/// Drops vectors with an entry that no other vector has, repeatedly. Returns the indices of the
/// remaining vectors, ascending. `weights` is the number of vectors that have each entry, before
/// and after.
///
/// # Errors
///
/// [`Error::Cancelled`].
pub(super) fn drop_singletons<V: AsRef<[u32]>>(
    vectors: &[V],
    weights: &mut [u32],
    cancel: &Cancel,
) -> Result<Vec<u32>, Error> {
    let mut alive: Vec<u32> = (0..vectors.len() as u32).collect();
    loop {
        cancel.check()?;
        let before = alive.len();
        alive.retain(|&vector| {
            let vector = vectors[vector as usize].as_ref();
            let is_wanted = vector.iter().all(|&entry| weights[entry as usize] > 1);
            if !is_wanted {
                for &entry in vector {
                    weights[entry as usize] -= 1;
                }
            }
            is_wanted
        });
        if alive.len() == before {
            return Ok(alive);
        }
    }
}

/// A sum of vectors.
#[derive(Debug)]
struct Sum {
    /// Its light entries, ascending.
    light: Vec<u32>,
    /// Its other entries, as bits.
    heavy: Vec<u64>,
    /// The vectors that it is the sum of, ascending.
    parts: Vec<u32>,
}

impl Sum {
    /// Number of its entries.
    fn weight(&self) -> usize {
        let heavy = self.heavy.iter().map(|word| word.count_ones());
        self.light.len() + heavy.sum::<u32>() as usize
    }
}

/// Sums of vectors that are merged into fewer and fewer.
struct Merge {
    /// `None` for a sum that was dropped.
    sums: Vec<Option<Sum>>,
    /// For each light entry, the sums that have it.
    holders: Vec<Vec<u32>>,
    /// Number of holders of an entry, and the entry. Outdated elements stay in the queue.
    queue: BinaryHeap<Reverse<(usize, u32)>>,
    heavy: usize,
}

impl Merge {
    fn new(vectors: &[Vec<u32>], alive: Vec<u32>, weights: &[u32]) -> Self {
        let entries = weights.len();
        let mut bits = vec![None; entries];
        let mut heavy = 0_usize;
        for (bit, weight) in bits.iter_mut().zip(weights) {
            if *weight > MAX_LIGHT {
                *bit = Some(heavy);
                heavy += 1;
            }
        }
        let mut holders = vec![Vec::new(); entries];
        let mut sums = Vec::with_capacity(alive.len());
        for vector in alive {
            let mut sum = Sum {
                light: Vec::new(),
                heavy: vec![0; heavy.div_ceil(64)],
                parts: vec![vector],
            };
            for &entry in &vectors[vector as usize] {
                if let Some(bit) = bits[entry as usize] {
                    sum.heavy[bit / 64] |= 1 << (bit % 64);
                } else {
                    sum.light.push(entry);
                    holders[entry as usize].push(sums.len() as u32);
                }
            }
            sums.push(Some(sum));
        }
        let mut merge = Self {
            sums,
            holders,
            queue: BinaryHeap::new(),
            heavy,
        };
        for entry in 0..entries as u32 {
            merge.enqueue(entry);
        }
        merge
    }

    fn enqueue(&mut self, entry: u32) {
        let weight = self.holders[entry as usize].len();
        if (1..=MAX_MERGED).contains(&weight) {
            self.queue.push(Reverse((weight, entry)));
        }
    }

    /// Drops one sum after the other, together with the entry that the fewest sums have. With
    /// `stays_sparse`, a sum is only dropped if the total weight grows by at most the average
    /// weight of a sum, so that the product of number and total weight falls.
    fn run(&mut self, stays_sparse: bool, cancel: &Cancel) -> Result<(), Error> {
        let mut left = self.sums.len();
        let mut total: usize = self.sums.iter().flatten().map(Sum::weight).sum();
        while let Some(Reverse((weight, entry))) = self.queue.pop() {
            cancel.check()?;
            let holders = &self.holders[entry as usize];
            if holders.len() != weight {
                continue;
            }
            let weight_of = |sum: &u32| {
                let sum = self.sums[*sum as usize].as_ref();
                sum.map_or(usize::MAX, |sum| sum.light.len())
            };
            let Some(pivot) = holders.iter().copied().min_by_key(weight_of) else {
                continue;
            };
            let others: Vec<u32> = holders
                .iter()
                .copied()
                .filter(|sum| *sum != pivot)
                .collect();
            let Some(added) = self.sums[pivot as usize].take_if(|sum| {
                !stays_sparse || others.len().saturating_sub(1) * sum.weight() <= total / left
            }) else {
                continue;
            };
            left -= 1;
            total -= added.weight();
            for other in others {
                total -= self.weight(other);
                self.add(&added, other);
                total += self.weight(other);
            }
            for &entry in &added.light {
                self.holders[entry as usize].retain(|sum| *sum != pivot);
            }
            for &entry in &added.light {
                self.enqueue(entry);
            }
        }
        Ok(())
    }

    fn weight(&self, sum: u32) -> usize {
        self.sums[sum as usize].as_ref().map_or(0, Sum::weight)
    }

    /// Adds a sum to another one.
    fn add(&mut self, added: &Sum, to: u32) {
        let Some(sum) = &mut self.sums[to as usize] else {
            return;
        };
        for &entry in &added.light {
            let holders = &mut self.holders[entry as usize];
            match holders.iter().position(|holder| *holder == to) {
                Some(at) => {
                    holders.swap_remove(at);
                }
                None => holders.push(to),
            }
        }
        sum.light = symmetric_difference(&sum.light, &added.light);
        sum.parts = symmetric_difference(&sum.parts, &added.parts);
        xor(&mut sum.heavy, &added.heavy);
    }

    /// Numbers the entries that are left, from 0 on and the heavy ones first. Also returns their
    /// count.
    fn numbers(&self) -> (Vec<usize>, usize) {
        let mut count = self.heavy;
        let mut numbers = vec![0; self.holders.len()];
        for (number, holders) in numbers.iter_mut().zip(&self.holders) {
            if !holders.is_empty() {
                *number = count;
                count += 1;
            }
        }
        (numbers, count)
    }

    /// Dependencies by elimination in a dense matrix.
    fn by_elimination(
        self,
        most: usize,
        threads: NonZero<usize>,
        cancel: &Cancel,
    ) -> Result<Dependencies, Error> {
        let (numbers, columns) = self.numbers();
        let sums: Vec<Sum> = self.sums.into_iter().flatten().collect();
        let mut dense = Dense::new(sums.len(), columns);
        for (row, sum) in dense.rows.iter_mut().zip(&sums) {
            row[..sum.heavy.len()].copy_from_slice(&sum.heavy);
            for &entry in &sum.light {
                let column = numbers[entry as usize];
                row[column / 64] |= 1 << (column % 64);
            }
        }
        let sets = dense.dependencies(most, threads, cancel)?;
        Ok(Dependencies { sums, sets })
    }

    /// Up to 64 random dependencies by the block Lanczos algorithm; `None` if it fails.
    fn by_lanczos(
        self,
        threads: NonZero<usize>,
        cancel: &Cancel,
    ) -> Result<Option<Dependencies>, Error> {
        let (numbers, rows) = self.numbers();
        let sums: Vec<Sum> = self.sums.into_iter().flatten().collect();
        let column = |sum: &Sum| {
            let heavy = ones(&sum.heavy).into_iter();
            let light = sum.light.iter().map(|&entry| numbers[entry as usize]);
            heavy
                .chain(light)
                .map(|row| row as u32)
                .collect::<Vec<u32>>()
        };
        let columns: Vec<Vec<u32>> = sums.iter().map(column).collect();
        let matrix = block_lanczos::Matrix::new(&columns, rows, threads);
        drop(columns);
        for seed in 0..ATTEMPTS {
            if let Some(sets) = block_lanczos::dependencies(&matrix, seed, cancel)?
                && !sets.is_empty()
            {
                return Ok(Some(Dependencies { sums, sets }));
            }
        }
        Ok(None)
    }
}

/// A dense matrix. Behind its columns, from a whole word on, each row has a bit for each original
/// row that it is the sum of.
struct Dense {
    rows: Vec<Vec<u64>>,
    columns: usize,
}

impl Dense {
    fn new(rows: usize, columns: usize) -> Self {
        let own = columns.div_ceil(64);
        let row = |number: usize| {
            let mut row = vec![0; own + rows.div_ceil(64)];
            row[own + number / 64] |= 1 << (number % 64);
            row
        };
        Self {
            rows: (0..rows).map(row).collect(),
            columns,
        }
    }

    /// Sets of rows whose sum is zero.
    fn dependencies(
        mut self,
        most: usize,
        threads: NonZero<usize>,
        cancel: &Cancel,
    ) -> Result<Vec<Vec<usize>>, Error> {
        let (mut done, mut column) = (0, 0);
        while done < self.rows.len() && column < self.columns {
            cancel.check()?;
            let first = column / 64;
            let pivots = self.pivots(done, &mut column);
            let (block, rest) = self.rows[done..].split_at_mut(pivots.len());
            done += pivots.len();
            if !pivots.is_empty() {
                clear(block, &pivots, rest, first, threads);
            }
        }
        let own = self.columns.div_ceil(64);
        let zero: Vec<&[u64]> = self.rows[done..].iter().map(|row| &row[own..]).collect();
        if zero.len() <= most {
            return Ok(zero.into_iter().map(ones).collect());
        }
        let mut random = ChaCha20Rng::seed_from_u64(0);
        let sum = |_| {
            let mut sum = vec![0; zero[0].len()];
            for rows in zero.chunks(64) {
                let chosen = random.next_u64();
                for (at, row) in rows.iter().enumerate() {
                    if chosen >> at & 1 == 1 {
                        xor(&mut sum, row);
                    }
                }
            }
            ones(&sum)
        };
        Ok((0..most).map(sum).collect())
    }

    /// Brings up to [`TABLES`] · [`TABLE_BITS`] rows to the index `from`, each with a column in
    /// which the others of them are 0, and returns these columns. Continues at `column`.
    fn pivots(&mut self, from: usize, column: &mut usize) -> Vec<usize> {
        let most = TABLES * TABLE_BITS;
        let mut pivots: Vec<usize> = Vec::with_capacity(most);
        while pivots.len() < most && *column < self.columns {
            let at = *column;
            *column += 1;
            let (block, rest) = self.rows[from..].split_at_mut(pivots.len());
            // Rows with 1 in this column after the earlier pivots have cleared their columns.
            let selects: Vec<bool> = block.iter().map(|row| bit(row, at)).collect();
            let found = rest.iter().position(|row| {
                let mut one = bit(row, at);
                for (&pivot, &select) in pivots.iter().zip(&selects) {
                    one ^= select & bit(row, pivot);
                }
                one
            });
            let Some(found) = found else { continue };
            rest.swap(0, found);
            let new = &mut rest[0];
            for (row, &pivot) in block.iter().zip(&pivots) {
                if bit(new, pivot) {
                    xor(new, row);
                }
            }
            for row in block {
                if bit(row, at) {
                    xor(row, new);
                }
            }
            pivots.push(at);
        }
        pivots
    }
}

/// Clears the columns of the pivots in all other rows. Words before `first` need no addition.
fn clear(
    block: &[Vec<u64>],
    pivots: &[usize],
    rows: &mut [Vec<u64>],
    first: usize,
    threads: NonZero<usize>,
) {
    let width = block[0].len() - first;
    let tables: Vec<Table> = block
        .chunks(TABLE_BITS)
        .zip(pivots.chunks(TABLE_BITS))
        .map(|(rows, pivots)| Table::new(rows, pivots, first, width))
        .collect();
    let threads = (rows.len() * width / WORDS_A_THREAD).clamp(1, threads.get());
    let threads = NonZero::new(threads).unwrap_or(NonZero::<usize>::MIN);
    parallel::in_chunks(rows, ROWS_AT_A_TIME, threads, |rows, _| {
        for row in rows {
            for table in &tables {
                table.clear(row, first);
            }
        }
    });
}

/// The sums of all subsets of some rows, from a certain word on.
struct Table<'a> {
    pivots: &'a [usize],
    width: usize,
    /// By subset; bit i of a subset stands for row i.
    sums: Vec<u64>,
}

impl<'a> Table<'a> {
    fn new(rows: &[Vec<u64>], pivots: &'a [usize], first: usize, width: usize) -> Self {
        let mut all = vec![0; width << pivots.len()];
        for subset in 1..1_usize << pivots.len() {
            let (sums, sum) = all.split_at_mut(subset * width);
            let sum = &mut sum[..width];
            sum.copy_from_slice(&rows[subset.trailing_zeros() as usize][first..]);
            let others = (subset & (subset - 1)) * width;
            xor(sum, &sums[others..others + width]);
        }
        Self {
            pivots,
            width,
            sums: all,
        }
    }

    /// Clears the columns of the pivots in a row.
    fn clear(&self, row: &mut [u64], first: usize) {
        let bits = self.pivots.iter().enumerate();
        let subset: usize = bits
            .map(|(at, &pivot)| usize::from(bit(row, pivot)) << at)
            .sum();
        if subset != 0 {
            xor(
                &mut row[first..],
                &self.sums[subset * self.width..][..self.width],
            );
        }
    }
}

/// The elements that are in exactly one of two ascending sequences.
fn symmetric_difference(a: &[u32], b: &[u32]) -> Vec<u32> {
    let mut all = Vec::with_capacity(a.len() + b.len());
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    loop {
        let next = match (a.peek(), b.peek()) {
            (Some(x), Some(y)) if x == y => {
                a.next();
                b.next();
                continue;
            }
            (Some(x), Some(y)) if x < y => a.next(),
            (Some(_), None) => a.next(),
            _ => b.next(),
        };
        match next {
            Some(next) => all.push(*next),
            None => return all,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const TWO: NonZero<usize> = NonZero::new(2).unwrap();

    /// The number of independent vectors, by textbook elimination.
    fn rank(vectors: &[Vec<u32>], entries: usize) -> usize {
        let mut basis: Vec<Option<Vec<bool>>> = vec![None; entries];
        let mut rank = 0;
        for vector in vectors {
            let mut row = vec![false; entries];
            for &entry in vector {
                row[entry as usize] ^= true;
            }
            while let Some(lead) = row.iter().position(|bit| *bit) {
                if let Some(other) = &basis[lead] {
                    row.iter_mut().zip(other).for_each(|(a, b)| *a ^= b);
                } else {
                    basis[lead] = Some(row);
                    rank += 1;
                    break;
                }
            }
        }
        rank
    }

    fn sum(vectors: &[Vec<u32>], set: &[u32]) -> Vec<u32> {
        let vectors = set.iter().map(|vector| &vectors[*vector as usize]);
        vectors.fold(Vec::new(), |sum, vector| symmetric_difference(&sum, vector))
    }

    fn check(vectors: &[Vec<u32>], entries: usize) {
        let all = vectors.len() - rank(vectors, entries);
        let never = Cancel::new();
        let sets = dependencies(vectors, entries, usize::MAX, TWO, &never).unwrap();
        let sets: Vec<Vec<u32>> = sets.iter().collect();
        assert_eq!(sets.len(), all);
        for set in &sets {
            assert!(!set.is_empty() && sum(vectors, set).is_empty(), "{set:?}");
        }
        assert_eq!(rank(&sets, vectors.len()), all);
        for set in dependencies(vectors, entries, 2, TWO, &never)
            .unwrap()
            .iter()
        {
            assert_eq!(sum(vectors, &set), [0_u32; 0]);
        }
    }

    /// Random vectors as in a sieve: entry 0 is in half of them, later entries are in fewer.
    fn sieved(count: usize, entries: usize, mut random: impl FnMut() -> u32) -> Vec<Vec<u32>> {
        let vector = |_| {
            let entries = 0..entries as u32;
            entries
                .filter(|entry| random().is_multiple_of(entry + 2))
                .collect()
        };
        (0..count).map(vector).collect()
    }

    #[test]
    fn matrices_of_a_sieve() {
        let mut state = 1_u64;
        let mut random = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as u32
        };
        for (count, entries) in [(340, 300), (700, 690), (50, 300), (1, 1), (3, 1)] {
            check(&sieved(count, entries, &mut random), entries);
        }
        check(&[], 0);
        check(&vec![vec![]; 3], 0);
        check(&vec![vec![2]; 100], 5);
    }

    #[test]
    fn a_cancel_ends_it() {
        let cancel = Cancel::new();
        cancel.cancel();
        let vectors = vec![vec![0, 1], vec![1, 2], vec![0, 2]];
        let ended = dependencies(&vectors, 3, 1, TWO, &cancel);
        assert!(matches!(ended, Err(Error::Cancelled)));
    }

    #[test]
    fn large_ones_are_done_on_several_cores() {
        let rows = 6_000;
        let mut dense = Dense::new(rows, rows - 1);
        let mut state = 1_u64;
        for row in &mut dense.rows {
            for word in &mut row[..(rows - 1) / 64] {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                *word = state;
            }
        }
        let vectors: Vec<Vec<u64>> = dense.rows.clone();
        assert!(rows * vectors[0].len() > 2 * WORDS_A_THREAD);
        let set = dense
            .dependencies(1, TWO, &Cancel::new())
            .unwrap()
            .remove(0);
        let mut sum = vec![0; (rows - 1) / 64];
        for row in set {
            xor(&mut sum, &vectors[row]);
        }
        assert!(sum.iter().all(|word| *word == 0));
    }

    #[test]
    fn large_ones_stay_sparse() {
        let entries = 16_000;
        let mut random = ChaCha20Rng::seed_from_u64(1);
        let count = entries as usize + 100;
        let vectors = block_lanczos::tests::sieved(count, entries, &mut random);
        let (alive, _) = without_singletons(&vectors, entries as usize, &Cancel::new()).unwrap();
        assert!(alive.len() > DENSE);
        let sets = dependencies(&vectors, entries as usize, 10, TWO, &Cancel::new()).unwrap();
        assert!(sets.iter().count() > 30);
        for set in sets.iter().take(10) {
            let mut odd = vec![false; entries as usize];
            for &entry in set.iter().flat_map(|&vector| &vectors[vector as usize]) {
                odd[entry as usize] ^= true;
            }
            assert!(!set.is_empty() && !odd.contains(&true));
        }
    }

    proptest! {
        #[test]
        fn any_vectors(
            vectors in proptest::collection::vec(proptest::collection::btree_set(0_u32..30, 0..9), 0..60)
        ) {
            let vectors: Vec<Vec<u32>> = vectors.into_iter().map(|v| v.into_iter().collect()).collect();
            check(&vectors, 30);
        }
    }
}
