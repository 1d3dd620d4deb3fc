//! How deep and how far to sieve for the vector kernel, by size.

/// Bound and length of the sieve. They change the cost of a search, never its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Primes below this are sieved by.
    pub(super) bound: u32,
    /// Odd numbers sieved at a time, a multiple of 64.
    pub(super) interval: usize,
}

/// Up to so many bits: the bound and the interval.
///
/// A search costs a sieving for every start, and for every interval after the first, and a strong test for each survivor
/// up to the prime. Measured on one core of an AMD EPYC (Zen 4), a sieving in units of one lane's share of a batch of
/// strong tests:
///
/// | bits | bound | interval | sieving, tests | survivors a prime | sum | the sum with half and with twice the bound |
/// |---|---|---|---|---|---|---|
/// | 128 | 2^11 | 128 | 1.2 | 6.5 | 7.8 | 7.9, 7.9 |
/// | 192 | 2^12 | 192 | 1.4 | 9.2 | 10.6 | 11.1, 10.9 |
/// | 256 | 2^13 | 256 | 1.5 | 10.5 | 12.1 | 12.4, 12.0 |
/// | 384 | 2^15 | 576 | 1.8 | 13.9 | 15.7 | 15.8, 16.0 |
/// | 512 | 2^16 | 512 | 1.6 | 16.5 | 18.1 | 18.5, 18.3 |
/// | 768 | 2^18 | 1152 | 1.9 | 24.0 | 26.0 | 26.5, 26.9 |
/// | 1024 | 2^19 | 1536 | 2.0 | 29.8 | 31.9 | 32.5, 33.0 |
/// | 1537 | 2^20 | 3136 | 2.0 | 43.0 | 45.0 | 45.9, 46.2 |
/// | 2048 | 2^21 | 3072 | 2.2 | 53.3 | 55.5 | 56.0, 56.3 |
/// | 3072 | 2^23 | 6144 | 3.6 | 74.1 | 77.7 | 78.8, 78.6 |
///
/// Beyond 3000 bits twice the bound would save 1 to 3 % of the time, and cost twice the memory.
const PLANS: &[(u32, u32, usize)] = &[
    (152, 1 << 11, 128),
    (204, 1 << 12, 192),
    (256, 1 << 13, 256),
    (360, 1 << 14, 448),
    (464, 1 << 15, 576),
    (620, 1 << 16, 576),
    (828, 1 << 18, 1152),
    (1244, 1 << 19, 1536),
    (1556, 1 << 20, 3136),
    (2076, 1 << 21, 3072),
    (4156, 1 << 23, 6144),
    (8316, 1 << 23, 12_288),
];

/// The plan for a number of bits.
pub(super) fn plan(bits: u32) -> Plan {
    let &(_, bound, interval) = PLANS
        .iter()
        .find(|&&(limit, ..)| bits <= limit)
        .unwrap_or(&PLANS[PLANS.len() - 1]);
    Plan { bound, interval }
}

#[cfg(test)]
mod tests {
    use super::super::field::MAX_BITS;
    use super::super::sieve::{MAX_BOUND, MAX_INTERVAL};
    use super::*;

    #[test]
    fn plans_are_what_the_sieve_can_do() {
        for bits in 1..=MAX_BITS {
            let plan = plan(bits);
            assert!((5..=MAX_BOUND).contains(&plan.bound));
            assert!((64..=MAX_INTERVAL).contains(&plan.interval));
            assert!(plan.interval.is_multiple_of(64));
        }
    }
}
