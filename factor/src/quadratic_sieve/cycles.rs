//! Cycles of relations with large primes. Each cycle combines to a relation without large primes.
//!
//! The method is that of Lenstra and Manasse, *Factoring with two large primes*, 1994.

use std::collections::HashMap;

use super::nullspace;
use super::parameters::RELATIONS_PER_POLL;
use crate::{Cancel, Error};

/// Counts the cycles in the graph whose vertices are the large primes and 1, and whose edges are
/// the relations with one or two large primes.
pub(super) struct Cycles {
    vertices: HashMap<u32, u32>,
    /// For each vertex, a vertex nearer to the root of its component; for a root, itself.
    parents: Vec<u32>,
    /// Relations without large primes.
    pub(super) whole: u64,
    /// Number of relations without large primes, plus number of cycles.
    pub(super) closed: u64,
}

impl Cycles {
    pub(super) fn new() -> Self {
        Self {
            vertices: HashMap::from([(1, 0)]),
            parents: vec![0],
            whole: 0,
            closed: 0,
        }
    }

    /// Adds a relation with these large primes; 1 stands for a missing one.
    pub(super) fn add(&mut self, large: [u32; 2]) {
        self.whole += u64::from(large == [1, 1]);
        let [a, b] = large.map(|prime| self.root(prime));
        if a == b {
            self.closed += 1;
        } else {
            self.parents[a.max(b) as usize] = a.min(b);
        }
    }

    /// The root of the component that has the vertex of a prime.
    fn root(&mut self, prime: u32) -> u32 {
        let next = self.parents.len() as u32;
        let mut vertex = *self.vertices.entry(prime).or_insert(next);
        if vertex == next {
            self.parents.push(next);
        }
        loop {
            let parent = self.parents[vertex as usize];
            if parent == vertex {
                return vertex;
            }
            // Path halving: each walk makes the path half as long.
            let next = self.parents[parent as usize];
            self.parents[vertex as usize] = next;
            vertex = next;
        }
    }
}

/// Whether each of the relations with these large primes (1 stands for a missing one) may be part
/// of a cycle: relations with a large prime that no other one has are dropped repeatedly.
///
/// # Errors
///
/// [`Error::Cancelled`].
pub(super) fn in_cycles(large: &[[u32; 2]], cancel: &Cancel) -> Result<Vec<bool>, Error> {
    let mut numbers = HashMap::new();
    let mut counts = vec![];
    let mut edges = Vec::with_capacity(large.len());
    for some in large.chunks(RELATIONS_PER_POLL) {
        cancel.check()?;
        edges.extend(some.iter().map(|primes| {
            primes.map(|prime| {
                let next = counts.len() as u32;
                let number = *numbers.entry(prime).or_insert(next);
                if number == next {
                    counts.push(0_u32);
                }
                counts[number as usize] += 1;
                number
            })
        }));
    }
    if let Some(&one) = numbers.get(&1) {
        // 1 is not a large prime: it does not have to occur twice.
        counts[one as usize] = u32::MAX;
    }
    drop(numbers);
    let mut are_in = vec![false; large.len()];
    for edge in nullspace::drop_singletons(&edges, &mut counts, cancel)? {
        are_in[edge as usize] = true;
    }
    Ok(are_in)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_no_cycle_is_left_out() {
        let edges = [
            ([1, 1], true),
            ([5, 5], true),
            // A path with a loose end.
            ([1, 7], false),
            ([7, 11], false),
            ([11, 13], false),
            // A cycle, and a cycle through 1.
            ([17, 19], true),
            ([19, 23], true),
            ([17, 23], true),
            ([1, 29], true),
            ([1, 29], true),
        ];
        let (large, expected): (Vec<_>, Vec<_>) = edges.into_iter().unzip();
        let never = Cancel::new();
        assert_eq!(in_cycles(&large, &never), Ok(expected));
        assert_eq!(in_cycles(&[], &never), Ok(vec![]));
    }

    #[test]
    fn cycles_are_counted() {
        let mut cycles = Cycles::new();
        let edges = [
            ([1, 1], 1),
            ([1, 1], 2),
            ([5, 5], 3),
            ([7, 11], 3),
            ([11, 13], 3),
            ([7, 13], 4),
            ([1, 7], 4),
            ([1, 13], 5),
            ([1, 13], 6),
        ];
        for (large, closed) in edges {
            cycles.add(large);
            assert_eq!(cycles.closed, closed, "{large:?}");
        }
        assert_eq!(cycles.whole, 2);
    }
}
