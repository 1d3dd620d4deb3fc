//! Bound and interval of the portable sieve, by size.

use crate::Form;

/// Bound and length of the sieve. They change the cost of a search, never its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PortablePlan {
    /// The sieve uses the primes below this bound.
    pub(crate) bound: u32,
    /// Number of terms of the progression sieved at a time; rounded up to a multiple of 64. At most
    /// 2^20.
    pub(crate) interval: u32,
}

/// Sieve bounds for primes: pairs of a greatest number of bits and the bound up to there.
///
/// A search costs one residue per prime of the sieve and one strong test per survivor; there are
/// about 0.39 · bits / ln(bound) survivors (Mertens). The sum is flat around its minimum, so a
/// power of two for each size is enough. The sizes were measured on one core of an AMD EPYC (Zen
/// 4).
const PRIME_BOUNDS: &[(u32, u32)] = &[
    (80, 1 << 9),
    (150, 1 << 10),
    (176, 1 << 12),
    (224, 1 << 13),
    (320, 1 << 14),
    (448, 1 << 16),
    (640, 1 << 17),
    (896, 1 << 19),
    (1280, 1 << 20),
    (1792, 1 << 21),
    (2560, 1 << 22),
];

/// Sieve bounds for safe primes. They are higher, because the same residues serve a search that is
/// longer by a factor of about `bits`.
const SAFE_PRIME_BOUNDS: &[(u32, u32)] = &[
    (160, 1 << 13),
    (224, 1 << 15),
    (320, 1 << 16),
    (448, 1 << 18),
    (768, 1 << 19),
    (1280, 1 << 21),
    (1792, 1 << 22),
];

/// The bound above the tables' sizes. It keeps the sieve's memory below 32 MiB (64 MiB for safe
/// primes).
const GREATEST_BOUND: u32 = 1 << 24;

/// The plan for primes of a form with `bits` bits, at least 64.
pub(crate) fn portable_plan(form: Form, bits: u32) -> PortablePlan {
    let bounds = match form {
        Form::Prime => PRIME_BOUNDS,
        Form::SafePrime => SAFE_PRIME_BOUNDS,
    };
    let bound = bounds
        .iter()
        .find(|&&(limit, _)| bits <= limit)
        .map_or(GREATEST_BOUND, |&(_, bound)| bound);
    let interval = match form {
        // The prime is 0.35 · bits odd numbers away on average; three searches in a thousand need a
        // second interval.
        Form::Prime => 2 * bits,
        // The safe prime is about 0.061 · bits² terms of the progression away on average.
        Form::SafePrime => (bits.saturating_mul(bits) / 16).clamp(1 << 9, 1 << 18),
    };
    PortablePlan { bound, interval }
}

/// The plan for safe primes in a progression of any step. Each prime of the sieve also costs an
/// inverse, some 60 ns, so a quarter of the bound is best.
pub(crate) fn progression_plan(bits: u32) -> PortablePlan {
    let PortablePlan { bound, interval } = portable_plan(Form::SafePrime, bits);
    PortablePlan {
        bound: bound / 4,
        interval,
    }
}

/// Trial-division bound for independent candidates of `bits` bits, more than 64: they are divided
/// by the primes below it before they are tested.
pub(crate) fn portable_trial_bound(bits: u32) -> u32 {
    (bits * (bits / 64)).clamp(1 << 8, 1 << 15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MAX_BITS;

    #[test]
    fn plans_stay_within_what_the_sieve_can_do() {
        for form in [Form::Prime, Form::SafePrime] {
            let mut last = 0;
            for bits in 64..=MAX_BITS {
                let plan = portable_plan(form, bits);
                assert!((1..=1 << 20).contains(&plan.interval));
                assert!((5..=GREATEST_BOUND).contains(&plan.bound));
                assert!(plan.bound >= last);
                last = plan.bound;
            }
        }
    }
}
