//! Count of the relations without large primes that relations with large primes combine to.
//!
//! As in Lenstra and Manasse, *Factoring with two large primes*, 1994.

use std::collections::HashMap;

/// Number of relations without large primes: those found, and one for each cycle
/// in the graph whose vertices are the large primes and 1, and whose edges are the relations with
/// one or two of them.
pub(super) struct Cycles {
    vertices: HashMap<u64, u32>,
    /// Of each vertex, one that is nearer to the root of its component, or itself.
    parents: Vec<u32>,
    pub(super) closed: u64,
}

impl Cycles {
    pub(super) fn new() -> Self {
        Self {
            vertices: HashMap::from([(1, 0)]),
            parents: vec![0],
            closed: 0,
        }
    }

    pub(super) fn add(&mut self, large: &[u64]) {
        let [a, b] = [0, 1].map(|at| self.root(large.get(at).copied().unwrap_or(1)));
        if a == b {
            self.closed += 1;
        } else {
            self.parents[a.max(b) as usize] = a.min(b);
        }
    }

    fn root(&mut self, prime: u64) -> u32 {
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
            // Paths get half as long each time that they are gone.
            let next = self.parents[parent as usize];
            self.parents[vertex as usize] = next;
            vertex = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycles_are_counted() {
        let mut cycles = Cycles::new();
        let edges: [(&[u64], u64); 9] = [
            (&[], 1),
            (&[1], 2),
            (&[5, 5], 3),
            (&[7, 11], 3),
            (&[11, 13], 3),
            (&[13, 7], 4),
            (&[7], 4),
            (&[13], 5),
            (&[13], 6),
        ];
        for (large, closed) in edges {
            cycles.add(large);
            assert_eq!(cycles.closed, closed, "{large:?}");
        }
    }
}
