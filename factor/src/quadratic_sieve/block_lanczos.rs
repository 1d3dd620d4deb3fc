//! The block Lanczos algorithm: dependencies of many sparse vectors over GF(2), 64 at a time.
//!
//! # Source
//!
//! Montgomery, *A block Lanczos algorithm for finding dependencies over GF(2)*, 1995. The code uses
//! the names of this paper.

use std::cmp::Reverse;
use std::num::NonZero;
use std::ops::Range;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::bits::{bit, ones, xor};
use super::parallel;
use crate::{Cancel, Error};

/// Number of vectors in a block: the bits of a word.
const N: usize = 64;

/// Rows that a thread processes at a time.
const ROWS_AT_A_TIME: usize = 2048;

/// Bits of a word that index a table.
const BYTE: usize = 8;

/// 64 × 64 bits, a word for each row.
type Square = [u64; N];

/// n × 64 bits, a word for each row.
type Block = Vec<u64>;

/// A sparse matrix, with a column for each vector.
pub(super) struct Matrix {
    rows: Sparse,
    columns: Sparse,
    /// By column: one bit for each of the 64 heaviest rows.
    dense: Vec<u64>,
    threads: NonZero<usize>,
}

/// Lists of indices, one after the other.
struct Sparse {
    ends: Vec<u32>,
    indices: Vec<u32>,
}

impl Sparse {
    fn len(&self) -> usize {
        self.ends.len()
    }

    fn list(&self, i: usize) -> &[u32] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.indices[start as usize..self.ends[i] as usize]
    }

    /// For each list, the sum of the words at its indices.
    fn multiply(&self, words: &[u64], threads: NonZero<usize>) -> Block {
        let mut sums = vec![0; self.len()];
        parallel::in_chunks(&mut sums, ROWS_AT_A_TIME, threads, |sums, first| {
            for (i, sum) in sums.iter_mut().enumerate() {
                let list = self.list(first + i).iter();
                *sum = list.fold(0, |sum, &index| sum ^ words[index as usize]);
            }
        });
        sums
    }
}

impl Matrix {
    /// Each column is given by the indices of its entries that are 1, below `rows`.
    pub(super) fn new(columns: &[Vec<u32>], rows: usize, threads: NonZero<usize>) -> Self {
        let mut weights = vec![0_u32; rows];
        for &row in columns.iter().flatten() {
            weights[row as usize] += 1;
        }
        let mut by_weight: Vec<u32> = (0..rows as u32).collect();
        by_weight.sort_by_key(|&row| Reverse(weights[row as usize]));
        // The place of each row: its bit if it is dense, and else its number among the others.
        let mut places = vec![0; rows];
        for (place, &row) in by_weight.iter().enumerate() {
            places[row as usize] = place;
        }
        let sparse_rows = by_weight[N.min(rows)..].iter();
        let mut ends: Vec<u32> = Vec::with_capacity(rows);
        let mut total = 0;
        for &row in sparse_rows {
            total += weights[row as usize];
            ends.push(total);
        }
        let mut next: Vec<u32> = ends
            .iter()
            .zip(&by_weight[N.min(rows)..])
            .map(|(end, &row)| end - weights[row as usize])
            .collect();
        let mut row_indices = vec![0; total as usize];
        let mut dense = vec![0; columns.len()];
        let mut column_indices = Vec::with_capacity(total as usize);
        let mut column_ends = Vec::with_capacity(columns.len());
        for (number, (column, dense)) in columns.iter().zip(&mut dense).enumerate() {
            for &row in column {
                match places[row as usize].checked_sub(N) {
                    None => *dense ^= 1 << places[row as usize],
                    Some(place) => {
                        row_indices[next[place] as usize] = number as u32;
                        next[place] += 1;
                        column_indices.push(place as u32);
                    }
                }
            }
            column_ends.push(column_indices.len() as u32);
        }
        Self {
            rows: Sparse {
                ends,
                indices: row_indices,
            },
            columns: Sparse {
                ends: column_ends,
                indices: column_indices,
            },
            dense,
            threads,
        }
    }

    fn len(&self) -> usize {
        self.dense.len()
    }

    /// B · x: the sums of the sparse rows, and those of the dense rows.
    fn times(&self, x: &[u64]) -> (Block, Square) {
        (self.rows.multiply(x, self.threads), inner(&self.dense, x))
    }

    /// Bᵀ · B · x.
    fn square_times(&self, x: &[u64]) -> Block {
        let (sparse, dense) = self.times(x);
        let mut product = self.columns.multiply(&sparse, self.threads);
        add_product(&mut product, &self.dense, &dense, self.threads);
        product
    }
}

/// aᵀ · b.
fn inner(a: &[u64], b: &[u64]) -> Square {
    let mut sums = vec![[0_u64; 1 << BYTE]; N / BYTE];
    for (a, b) in a.iter().zip(b) {
        for (sums, byte) in sums.iter_mut().zip(a.to_le_bytes()) {
            sums[usize::from(byte)] ^= b;
        }
    }
    std::array::from_fn(|row| {
        let sums = sums[row / BYTE].iter().enumerate();
        let with_bit = sums.filter(|(byte, _)| byte >> (row % BYTE) & 1 == 1);
        with_bit.fold(0, |sum, (_, word)| sum ^ word)
    })
}

/// Adds `a · square` to a block.
fn add_product(to: &mut [u64], a: &[u64], square: &Square, threads: NonZero<usize>) {
    let mut sums = vec![[0_u64; 1 << BYTE]; N / BYTE];
    for (sums, rows) in sums.iter_mut().zip(square.chunks(BYTE)) {
        for byte in 1..1_usize << BYTE {
            sums[byte] = sums[byte & (byte - 1)] ^ rows[byte.trailing_zeros() as usize];
        }
    }
    parallel::in_chunks(to, ROWS_AT_A_TIME, threads, |to, first| {
        for (to, a) in to.iter_mut().zip(&a[first..]) {
            let bytes = sums.iter().zip(a.to_le_bytes());
            *to ^= bytes.fold(0, |sum, (sums, byte)| sum ^ sums[usize::from(byte)]);
        }
    });
}

fn multiply(a: &Square, b: &Square) -> Square {
    a.map(|row| {
        (0..N)
            .filter(|i| row >> i & 1 == 1)
            .fold(0, |sum, i| sum ^ b[i])
    })
}

fn add(a: &Square, b: &Square) -> Square {
    std::array::from_fn(|i| a[i] ^ b[i])
}

const IDENTITY: Square = {
    let mut identity = [0; N];
    let mut i = 0;
    while i < N {
        identity[i] = 1 << i;
        i += 1;
    }
    identity
};

const ZERO: Square = [0; N];

/// Montgomery's Winv: the inverse of a part of `t` that has one, and the columns of that part as
/// bits. Columns outside `last`, the part chosen before, are preferred. `None` if some column is in
/// neither part.
fn invert_part(t: &Square, last: u64) -> Option<(Square, u64)> {
    let (mut left, mut right) = (*t, IDENTITY);
    let order: Vec<usize> = (0..N)
        .filter(|i| last >> i & 1 == 0)
        .chain((0..N).filter(|i| last >> i & 1 == 1))
        .collect();
    let mut chosen = 0;
    for (at, &column) in order.iter().enumerate() {
        let has = |rows: &Square| {
            order[at..]
                .iter()
                .copied()
                .find(|&row| rows[row] >> column & 1 == 1)
        };
        let (row, is_chosen) = match has(&left) {
            Some(row) => (row, true),
            None => (has(&right)?, false),
        };
        left.swap(row, column);
        right.swap(row, column);
        for other in (0..N).filter(|&other| other != column) {
            let cleared = if is_chosen { &left } else { &right };
            if cleared[other] >> column & 1 == 1 {
                left[other] ^= left[column];
                right[other] ^= right[column];
            }
        }
        if is_chosen {
            chosen |= 1 << column;
        } else {
            left[column] = 0;
            right[column] = 0;
        }
    }
    (chosen | last == u64::MAX).then_some((right, chosen))
}

/// The values of one iteration that later iterations need.
struct Step {
    v: Block,
    /// Vᵀ A V and Vᵀ A² V.
    vav: Square,
    vaav: Square,
    inverse: Square,
    chosen: u64,
}

impl Step {
    /// Vᵀ A² V S Sᵀ + Vᵀ A V.
    fn sum(&self) -> Square {
        std::array::from_fn(|i| self.vaav[i] & self.chosen ^ self.vav[i])
    }
}

/// Up to 64 random independent sets of columns whose sum is zero. `None` if the algorithm breaks
/// down; it may succeed with another seed.
pub(super) fn dependencies(
    matrix: &Matrix,
    seed: u64,
    cancel: &Cancel,
) -> Result<Option<Vec<Vec<usize>>>, Error> {
    let n = matrix.len();
    let mut random = ChaCha20Rng::seed_from_u64(seed);
    let y: Block = (0..n).map(|_| random.next_u64()).collect();
    let first = matrix.square_times(&y);
    let mut x: Block = y;
    let nothing = || Step {
        v: vec![0; n],
        vav: ZERO,
        vaav: ZERO,
        inverse: ZERO,
        chosen: u64::MAX,
    };
    let (mut before, mut last) = (nothing(), nothing());
    let mut v = first.clone();
    // An iteration covers about 63 dimensions; many more iterations are a breakdown.
    for _ in 0..n / 50 + 20 {
        cancel.check()?;
        let av = matrix.square_times(&v);
        let (vav, vaav) = (inner(&v, &av), inner(&av, &av));
        if vav == ZERO {
            return Ok(Some(combine(matrix, &x, &v)));
        }
        let Some((inverse, chosen)) = invert_part(&vav, last.chosen) else {
            return Ok(None);
        };
        let step = Step {
            v,
            vav,
            vaav,
            inverse,
            chosen,
        };
        // `x` began as Y, so that it is X − Y in the end.
        let onto = multiply(&step.inverse, &inner(&step.v, &first));
        add_product(&mut x, &step.v, &onto, matrix.threads);

        let d = add(&IDENTITY, &multiply(&step.inverse, &step.sum()));
        let e = multiply(&last.inverse, &step.vav.map(|row| row & step.chosen));
        let f = add(&IDENTITY, &multiply(&last.vav, &last.inverse));
        let f = multiply(&before.inverse, &f);
        let f = multiply(&f, &last.sum()).map(|row| row & step.chosen);
        let mut next: Block = av.iter().map(|row| row & step.chosen).collect();
        add_product(&mut next, &step.v, &d, matrix.threads);
        add_product(&mut next, &last.v, &e, matrix.threads);
        add_product(&mut next, &before.v, &f, matrix.threads);
        v = next;
        before = last;
        last = step;
    }
    Ok(None)
}

/// Sums z of the columns of X − Y and of the last V with B · z = 0.
fn combine(matrix: &Matrix, x: &[u64], v: &[u64]) -> Vec<Vec<usize>> {
    let halves = [x, v].map(|block| {
        let (mut rows, dense) = matrix.times(block);
        rows.extend(dense);
        rows
    });
    // Rows [B·z | z], for z each column of X − Y and of the last V.
    let mut rows: Vec<Vec<u64>> = (0..2 * N)
        .map(|i| {
            let product = column(&halves[i / N], i % N);
            product.chain(column([x, v][i / N], i % N)).collect()
        })
        .collect();
    let product = 0..halves[0].len().div_ceil(N);
    let vector = product.end..rows[0].len();
    let nonzero = eliminate(&mut rows, product);
    // The other rows are in the nullspace; independent ones are kept.
    let rows = &mut rows[nonzero..];
    let independent = eliminate(rows, vector.clone());
    let vectors = rows[..independent].iter();
    vectors.map(|row| ones(&row[vector.clone()])).collect()
}

/// One bit of each word of a block, in words.
fn column(block: &[u64], bit: usize) -> impl Iterator<Item = u64> {
    block.chunks(N).map(move |words| {
        let bits = words.iter().enumerate();
        bits.fold(0, |all, (i, word)| all | (word >> bit & 1) << i)
    })
}

/// Brings rows to echelon form in some of their words. Returns the number of rows that are not zero
/// there; these come first.
fn eliminate(rows: &mut [Vec<u64>], words: Range<usize>) -> usize {
    let first_one = |row: &Vec<u64>| {
        let word = words.clone().find(|&word| row[word] != 0)?;
        Some(word * N + row[word].trailing_zeros() as usize)
    };
    let mut done = 0;
    while let Some((at, one)) = (done..rows.len()).find_map(|at| Some((at, first_one(&rows[at])?)))
    {
        rows.swap(done, at);
        let (pivots, rest) = rows.split_at_mut(done + 1);
        for row in rest.iter_mut().filter(|row| bit(row, one)) {
            xor(row, &pivots[done]);
        }
        done += 1;
    }
    done
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TWO: NonZero<usize> = NonZero::new(2).unwrap();

    /// Random columns as in a sieve: row 0 is in half of the columns, later rows are in fewer.
    pub(in super::super) fn sieved(
        count: usize,
        rows: u32,
        random: &mut ChaCha20Rng,
    ) -> Vec<Vec<u32>> {
        let column = |_| {
            let mut column: Vec<u32> = (0..200)
                .filter(|row| random.next_u32().is_multiple_of(row + 2))
                .collect();
            column.extend((0..8).map(|_| 200 + random.next_u32() % (rows - 200)));
            column.sort_unstable();
            column.dedup();
            column
        };
        (0..count).map(column).collect()
    }

    #[test]
    fn sums_of_columns_are_zero() {
        let mut random = ChaCha20Rng::seed_from_u64(1);
        for (count, rows) in [(1200, 1100), (3000, 2900), (5000, 4960)] {
            let columns = sieved(count, rows, &mut random);
            let matrix = Matrix::new(&columns, rows as usize, TWO);
            let found =
                (0..5).find_map(|seed| dependencies(&matrix, seed, &Cancel::new()).unwrap());
            let sets = found.unwrap();
            assert!(sets.len() > 30, "{}", sets.len());
            for set in &sets {
                let mut sum = vec![false; rows as usize];
                for &row in set.iter().flat_map(|&column| &columns[column]) {
                    sum[row as usize] ^= true;
                }
                assert!(!set.is_empty() && !sum.contains(&true));
            }
            let mut distinct = sets.clone();
            distinct.sort();
            distinct.dedup();
            assert_eq!(distinct.len(), sets.len());
        }
    }

    #[test]
    fn products_of_blocks_are_those_of_matrices() {
        let mut random = ChaCha20Rng::seed_from_u64(2);
        let mut block = |n: usize| -> Block { (0..n).map(|_| random.next_u64()).collect() };
        let (a, b) = (block(500), block(500));
        let product = inner(&a, &b);
        for (i, row) in product.iter().enumerate() {
            let expected = a.iter().zip(&b).filter(|(a, _)| *a >> i & 1 == 1);
            assert_eq!(*row, expected.fold(0, |sum, (_, b)| sum ^ b));
        }
        let mut sum = b.clone();
        add_product(&mut sum, &a, &product, TWO);
        for ((sum, a), b) in sum.iter().zip(&a).zip(&b) {
            let expected = (0..N)
                .filter(|i| a >> i & 1 == 1)
                .fold(*b, |sum, i| sum ^ product[i]);
            assert_eq!(*sum, expected);
        }
    }

    #[test]
    fn the_chosen_part_is_inverted() {
        let mut random = ChaCha20Rng::seed_from_u64(3);
        // vᵀ · v for blocks of fewer rows than columns: not of full rank.
        for rows in [10, 40, 63, 64, 200] {
            let v: Block = (0..rows).map(|_| random.next_u64()).collect();
            let t = inner(&v, &v);
            let (inverse, chosen) = invert_part(&t, u64::MAX).unwrap();
            assert!(chosen.count_ones() as usize <= rows);
            // Winv · t · Winv = Winv, which has rows and columns of the chosen part only.
            assert_eq!(multiply(&multiply(&inverse, &t), &inverse), inverse);
            for (i, row) in inverse.iter().enumerate() {
                assert_eq!(row & !chosen, 0);
                assert!(chosen >> i & 1 == 1 || *row == 0);
            }
        }
    }
}
