use primepool_engine::{
    Integer,
    certificate::{MAX_STEP_FACTORS, MAX_STEPS, Step},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::wire::{Hex, HexInteger, bounded};

/// A certificate of primality in a message: a list of steps `["n", base, ["q", ...]]`, see
/// [`primepool_engine::certificate`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Certificate(pub primepool_engine::Certificate);

/// One step: the number n, the base, and prime factors of n − 1.
#[derive(Serialize, Deserialize)]
struct MessageStep(HexInteger, u32, Factors);

#[derive(Serialize, Deserialize)]
struct Factors(
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_STEP_FACTORS>")] Vec<HexInteger>,
);

impl Serialize for Certificate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.steps.iter().map(|step| {
            let factors = step.factors.iter().cloned().map(HexInteger).collect();
            MessageStep(HexInteger(step.n.clone()), step.base, Factors(factors))
        }))
    }
}

impl<'de> Deserialize<'de> for Certificate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let steps = bounded::list::<_, MessageStep, MAX_STEPS>(deserializer)?;
        let steps = steps
            .into_iter()
            .map(|MessageStep(n, base, Factors(factors))| Step {
                n: n.0,
                base,
                factors: factors.into_iter().map(|q| q.0).collect(),
            });
        Ok(Self(primepool_engine::Certificate {
            steps: steps.collect(),
        }))
    }
}

/// A certificate of primality in a file of results: a list of steps
/// `{"n": "0x...", "a": base, "q": ["0x...", ...]}`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FiledCertificate(pub primepool_engine::Certificate);

#[derive(Serialize, Deserialize)]
struct FiledStep {
    n: Hex,
    a: u32,
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_STEP_FACTORS>")]
    q: Vec<Hex>,
}

impl Serialize for FiledCertificate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let hex = |n: &Integer| Hex(HexInteger(n.clone()));
        serializer.collect_seq(self.0.steps.iter().map(|step| FiledStep {
            n: hex(&step.n),
            a: step.base,
            q: step.factors.iter().map(hex).collect(),
        }))
    }
}

impl<'de> Deserialize<'de> for FiledCertificate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let steps = bounded::list::<_, FiledStep, MAX_STEPS>(deserializer)?;
        let steps = steps.into_iter().map(|FiledStep { n, a, q }| Step {
            n: n.0.0,
            base: a,
            factors: q.into_iter().map(|q| q.0.0).collect(),
        });
        Ok(Self(primepool_engine::Certificate {
            steps: steps.collect(),
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_format_is_frozen() {
        let text = r#"[["1000000000000000000000000000f",2,["3b9aca07","11"]],["ff",3,[]]]"#;
        let certificate: Certificate = serde_json::from_str(text).unwrap();
        assert_eq!(certificate.0.steps.len(), 2);
        assert_eq!(certificate.0.steps[0].factors, [1_000_000_007, 17]);
        assert_eq!(serde_json::to_string(&certificate).unwrap(), text);
        let filed = FiledCertificate(certificate.0);
        let text = r#"[{"n":"0x1000000000000000000000000000f","a":2,"q":["0x3b9aca07","0x11"]},{"n":"0xff","a":3,"q":[]}]"#;
        assert_eq!(serde_json::to_string(&filed).unwrap(), text);
        assert_eq!(
            serde_json::from_str::<FiledCertificate>(text).unwrap(),
            filed
        );
    }

    #[test]
    fn long_ones_are_refused() {
        let step = r#"["ff",3,[]]"#;
        let list = |count| format!("[{}]", vec![step; count].join(","));
        assert!(serde_json::from_str::<Certificate>(&list(MAX_STEPS)).is_ok());
        assert!(serde_json::from_str::<Certificate>(&list(MAX_STEPS + 1)).is_err());
        let factors = vec!["\"3\""; MAX_STEP_FACTORS + 1].join(",");
        let long = format!("[[\"ff\",3,[{factors}]]]");
        assert!(serde_json::from_str::<Certificate>(&long).is_err());
        for bad in [
            r#"[["ff",-1,[]]]"#,
            r#"[["ff",3]]"#,
            r#"[["FF",3,[]]]"#,
            "{}",
            "[[]]",
        ] {
            assert!(serde_json::from_str::<Certificate>(bad).is_err(), "{bad}");
        }
    }
}
