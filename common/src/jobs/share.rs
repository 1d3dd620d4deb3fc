use primepool_factor::{MAX_CURVE_BITS, quadratic_sieve};
use serde::{Deserialize, Serialize};

/// A share of the work on one hard composite, see [`primepool_factor::spread`] and
/// [`quadratic_sieve`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Share {
    /// ECM curves. The value of the answer is a divisor or nothing; its `candidates` are the number
    /// of curves done.
    Curves {
        /// Bound B1 of the curves.
        b1: u32,
        /// Bound of the p − 1 and p + 1 methods, which run before the first curve.
        p_minus_1: u32,
        /// Number of the first curve.
        first: u32,
        /// Number of curves.
        count: u32,
    },
    /// Quadratic sieve. The answer is a packet of relations; its `candidates` are the number of
    /// families done.
    Sieve {
        /// Number of the first polynomial family.
        first: u64,
        /// Number of families.
        count: u32,
        /// Format version of the relations, see [`quadratic_sieve::RELATIONS_FORM`]. A consumer
        /// that does not write this version hands the unit back.
        #[serde(default = "first_form")]
        form: u32,
    },
}

/// The version of units that do not name one, from before the field existed.
fn first_form() -> u32 {
    1
}

impl Share {
    /// The reason why this build cannot do this share although another one can.
    pub(super) fn needs_other_build(&self) -> Option<String> {
        let own = quadratic_sieve::RELATIONS_FORM;
        match *self {
            Self::Sieve { form, .. } if form != own => Some(format!(
                "it asks for relations in form {form}, and this version writes form {own}"
            )),
            _ => None,
        }
    }

    /// Checks that the share is within the limits of a consumer.
    pub(super) fn validate(&self, bits: u32) -> Result<(), String> {
        let (count, first_and_count) = match *self {
            Self::Curves {
                b1,
                p_minus_1,
                first,
                count,
            } => {
                if bits > MAX_CURVE_BITS {
                    return Err(format!(
                        "curves on {bits} bits: they are run on {MAX_CURVE_BITS} at most"
                    ));
                }
                if !(1..=MAX_CURVE_BOUND).contains(&b1) || p_minus_1 > MAX_CURVE_BOUND {
                    return Err(format!(
                        "curves with bound {b1}, p − 1 with {p_minus_1} (1 to {MAX_CURVE_BOUND})"
                    ));
                }
                (count, first.checked_add(count).map(u64::from))
            }
            Self::Sieve { first, count, .. } => {
                let sizes = quadratic_sieve::MIN_BITS..=quadratic_sieve::MAX_BITS;
                if !sizes.contains(&bits) {
                    return Err(format!(
                        "{bits} bits are none for the sieve: it takes {} to {}",
                        sizes.start(),
                        sizes.end()
                    ));
                }
                (count, first.checked_add(count.into()))
            }
        };
        if !(1..=MAX_SHARE).contains(&count) || first_and_count.is_none() {
            return Err(format!(
                "{count} curves or families in one unit (1 to {MAX_SHARE})"
            ));
        }
        Ok(())
    }
}

/// Largest bound of curves and of p ± 1 that a consumer accepts; a single curve then takes seconds.
const MAX_CURVE_BOUND: u32 = 50_000_000;

/// Most curves or families in a unit.
pub const MAX_SHARE: u32 = 100_000;
