//! Vectors over GF(2) as bits of words.

/// The bit of a column.
pub(super) fn bit(row: &[u64], column: usize) -> bool {
    row[column / 64] >> (column % 64) & 1 == 1
}

/// Indices of the bits that are 1.
pub(super) fn ones(row: &[u64]) -> Vec<usize> {
    let words = row.iter().enumerate();
    words
        .flat_map(|(word, bits)| {
            let bits = (0..64).filter(move |bit| bits >> bit & 1 == 1);
            bits.map(move |bit| 64 * word + bit)
        })
        .collect()
}

/// Adds `other` to `row`.
pub(super) fn xor(row: &mut [u64], other: &[u64]) {
    for (word, other) in row.iter_mut().zip(other) {
        *word ^= other;
    }
}
