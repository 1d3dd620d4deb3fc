use serde::{Deserialize, Serialize};

use crate::wire::{HexInteger, MAX_INTEGER_BITS, bounded};

/// A factor and its exponent: `["1f", 2]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Power(pub HexInteger, pub u32);

/// The cost of one stage of a factorisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageCost {
    /// Name of the stage, see [`primepool_factor::Stage`].
    #[serde(deserialize_with = "bounded::name")]
    pub stage: String,
    /// Time of a worker, in microseconds.
    pub us: u64,
    /// Number of ECM curves, or of relations of the sieve; 0 for other stages.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub count: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Most different factors of an integer: a product of more would have too many bits.
const MOST: usize = MAX_INTEGER_BITS as usize;

/// Most stages in an answer.
const MOST_STAGES: usize = 32;

/// The answer to a `factor` job: the integer is its sign times all these prime powers and
/// composites.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Factorization {
    /// The prime factors, in rising order.
    #[serde(deserialize_with = "bounded::list::<_, _, MOST>")]
    pub factors: Vec<Power>,
    /// Composites that were not factored, in rising order; empty if the factorisation is complete.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "bounded::list::<_, _, MOST>"
    )]
    pub composites: Vec<Power>,
    /// Why composites remain; `None` if there are none or if they are left to the pool.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "bounded::optional_reason"
    )]
    pub reason: Option<String>,
    /// Cost of the stages, in the order of the work.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "bounded::list::<_, _, MOST_STAGES>"
    )]
    pub stages: Vec<StageCost>,
}

impl Factorization {
    /// Whether no composite remains.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.composites.is_empty()
    }

    /// Whether a worker left composites to the pool: it factored the integer as far as one worker
    /// does, and gives no reason for stopping there.
    #[must_use]
    pub fn is_left_to_pool(&self) -> bool {
        !self.is_complete() && self.reason.is_none()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn powers(list: &[(i64, u32)]) -> Vec<Power> {
        list.iter()
            .map(|&(value, exponent)| Power(HexInteger(value.into()), exponent))
            .collect()
    }

    #[test]
    fn the_format_is_frozen() {
        let mut factorization = Factorization {
            factors: powers(&[(2, 3), (31, 1)]),
            ..Factorization::default()
        };
        let text = serde_json::to_string(&factorization).unwrap();
        assert_eq!(text, r#"{"factors":[["2",3],["1f",1]]}"#);
        factorization.composites = powers(&[(91, 1)]);
        factorization.reason = Some("why".to_owned());
        factorization.stages = vec![StageCost {
            stage: "sieve".to_owned(),
            us: 5,
            count: 7,
        }];
        let text = serde_json::to_string(&factorization).unwrap();
        assert_eq!(
            text,
            r#"{"factors":[["2",3],["1f",1]],"composites":[["5b",1]],"reason":"why","stages":[{"stage":"sieve","us":5,"count":7}]}"#
        );
        assert_eq!(
            serde_json::from_str::<Factorization>(&text).unwrap(),
            factorization
        );
    }
}
