//! Arithmetic, sieving and searching with AVX-512 IFMA: eight or sixteen numbers at a time.

mod batch;
mod field;
mod limit;
mod plan;
mod row;
mod scale;
mod search;
mod sieve;

use std::sync::OnceLock;

use rug::Integer;
use rug::integer::Order;

pub(crate) use limit::{Work, multiply_adds};
pub(crate) use search::Search;

/// Proof that the processor, and the operating system, have the instructions that this module uses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ifma {
    ports: Ports,
}

/// How many vector multiply-adds the processor begins in a cycle; each takes four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ports {
    /// AMD, and Intel's processors for laptops and desktops.
    One,
    /// Intel's processors for servers.
    Two,
}

impl Ifma {
    /// The proof, if they have.
    pub(crate) fn detect() -> Option<Self> {
        static DETECTED: OnceLock<Option<Ifma>> = OnceLock::new();
        *DETECTED.get_or_init(|| {
            let all = std::arch::is_x86_feature_detected!("avx512f")
                && std::arch::is_x86_feature_detected!("avx512ifma")
                && std::arch::is_x86_feature_detected!("avx512vl")
                && std::arch::is_x86_feature_detected!("avx512bw")
                && std::arch::is_x86_feature_detected!("avx512dq");
            // Timing only chooses between arithmetics that give the same numbers.
            all.then(|| {
                let ports = Ports::One;
                let overlap = limit::overlap(Self { ports });
                Self {
                    ports: if overlap > 5.0 { Ports::Two } else { ports },
                }
            })
        })
    }

    /// With the arithmetic for each kind of processor, if this one has the instructions.
    #[cfg(test)]
    fn all() -> Vec<Self> {
        let kinds = [Ports::One, Ports::Two].map(|ports| Self { ports });
        Self::detect().map_or_else(Vec::new, |_| kinds.to_vec())
    }
}

/// The least number of bits of what is computed with: numbers above 2^64.
const MIN_BITS: u32 = 65;

/// The number with these digits of 52 bits, the least significant first.
fn integer(digits: &[u64]) -> Integer {
    let mut words = vec![0_u64; (digits.len() * row::DIGIT_BITS as usize).div_ceil(64)];
    for (index, &digit) in digits.iter().enumerate() {
        let bit = index * row::DIGIT_BITS as usize;
        words[bit / 64] |= digit << (bit % 64);
        if bit % 64 > 12 {
            words[bit / 64 + 1] |= digit >> (64 - bit % 64);
        }
    }
    Integer::from_digits(&words, Order::Lsf)
}

/// Writes the digits of 52 bits of a non-negative number that they can hold.
fn write_digits(n: &Integer, digits: &mut [u64]) {
    let words = n.as_limbs();
    for (index, digit) in digits.iter_mut().enumerate() {
        let bit = index * row::DIGIT_BITS as usize;
        let word = |index: usize| words.get(index).copied().unwrap_or(0);
        let mut bits = word(bit / 64) >> (bit % 64);
        if bit % 64 > 12 {
            bits |= word(bit / 64 + 1) << (64 - bit % 64);
        }
        *digit = bits & row::DIGIT_MASK;
    }
}
