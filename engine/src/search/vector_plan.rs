//! Bound and interval of the sieve for the vector kernels, by size.

/// Bound and length of the sieve. They change the cost of a search, never its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct VectorPlan {
    /// The sieve uses the primes below this bound.
    pub(super) bound: u32,
    /// Number of odd numbers sieved at a time, a multiple of 64.
    pub(super) interval: usize,
}

/// Rows of greatest number of bits, bound and interval.
///
/// Measured on one core of an AMD EPYC (Zen 4), median of 15. The times are of a whole search with
/// confirmation; their unit is one lane's share of a batch of strong tests, timed right beside it.
/// "Tested" is the number of candidates tested.
///
/// | bits | bound | interval | time of a prime | tested | time with half and twice the bound |
/// |---|---|---|---|---|---|
/// | 128 | 2^11 | 128 | 14.9 | 6.5 | 15.2, 15.3 |
/// | 192 | 2^12 | 192 | 16.2 | 8.9 | 16.7, 16.2 |
/// | 256 | 2^14 | 320 | 17.1 | 10.2 | 17.2, 17.6 |
/// | 320 | 2^15 | 448 | 18.2 | 12.0 | 18.8, 18.5 |
/// | 384 | 2^16 | 576 | 19.9 | 13.4 | 19.9, 20.6 |
/// | 512 | 2^17 | 576 | 23.2 | 17.0 | 23.4, 24.0 |
/// | 768 | 2^18 | 1152 | 32.3 | 24.3 | 32.8, 32.5 |
/// | 1024 | 2^19 | 1536 | 37.1 | 30.1 | 38.0, 37.3 |
/// | 1537 | 2^21 | 3136 | 50.6 | 41.4 | 52.6, – |
/// | 2048 | 2^21 | 3072 | 55.8 | 55.8 | 57.6, 54.8 |
///
/// The last two rows are uncertain by some 5 %. Larger bounds there, and beyond 3000 bits, would
/// save 1 to 3 % of the time and cost twice the memory.
const PLANS: &[(u32, u32, usize)] = &[
    (152, 1 << 11, 128),
    (204, 1 << 12, 192),
    (256, 1 << 14, 320),
    (360, 1 << 15, 448),
    (464, 1 << 16, 576),
    (620, 1 << 17, 576),
    (828, 1 << 18, 1152),
    (1244, 1 << 19, 1536),
    (1556, 1 << 21, 3136),
    (2076, 1 << 21, 3072),
    (4156, 1 << 23, 6144),
    (8316, 1 << 23, 12_288),
];

/// The plan for numbers of `bits` bits.
pub(super) fn vector_plan(bits: u32) -> VectorPlan {
    let &(_, bound, interval) = PLANS
        .iter()
        .find(|&&(limit, ..)| bits <= limit)
        .unwrap_or(&PLANS[PLANS.len() - 1]);
    VectorPlan { bound, interval }
}

/// Trial-division bound for independent candidates of `bits` bits: they are divided by the primes
/// below it before they are tested.
///
/// At this bound, dividing by one more prime costs as much time as it saves in tests: a block of
/// 128 primes costs some 8 L + 48 multiply-adds for L digits, and a test costs 3/8 · L² · bits.
pub(super) fn vector_trial_bound(bits: u32) -> u32 {
    (bits * bits / 16).clamp(1 << 9, 1 << 22)
}

#[cfg(test)]
mod tests {
    use super::super::interval_sieve::{MAX_BOUND, MAX_INTERVAL};
    use super::*;
    use crate::kernel::MAX_BITS;

    #[test]
    fn plans_are_what_the_sieve_can_do() {
        for bits in 1..=MAX_BITS {
            let plan = vector_plan(bits);
            assert!((5..=MAX_BOUND).contains(&plan.bound));
            assert!((64..=MAX_INTERVAL).contains(&plan.interval));
            assert!(plan.interval.is_multiple_of(64));
            assert!((5..=MAX_BOUND).contains(&vector_trial_bound(bits)));
        }
    }
}
