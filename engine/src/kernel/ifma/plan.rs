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
const PLANS: &[(u32, u32, usize)] = &[
    (152, 1 << 9, 256),
    (204, 1 << 11, 384),
    (256, 1 << 12, 512),
    (360, 1 << 13, 512),
    (464, 1 << 14, 768),
    (620, 1 << 15, 1024),
    (828, 1 << 17, 1536),
    (1244, 1 << 18, 2048),
    (1556, 1 << 19, 3072),
    (2076, 1 << 20, 4096),
    (3116, 1 << 21, 6144),
    (4156, 1 << 22, 8192),
    (8316, 1 << 23, 16_384),
];

/// The plan for a number of bits.
pub(super) fn plan(bits: u32) -> Plan {
    let &(_, bound, interval) = PLANS
        .iter()
        .find(|&&(limit, ..)| bits <= limit)
        .unwrap_or(&PLANS[PLANS.len() - 1]);
    Plan { bound, interval }
}
