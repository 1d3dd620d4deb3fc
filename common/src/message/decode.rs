use serde::Deserialize;

use super::{JobKind, MAX_BODY_BYTES, RunId, UnitAnswer, VERSION, WorkUnit};

/// Why a body is not a message of ours. The text is the reason that goes to `primepool.dead`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Larger than [`MAX_BODY_BYTES`]; it was not read.
    #[error("oversized: {0} bytes, {MAX_BODY_BYTES} at most")]
    Oversized(usize),
    /// Not JSON, or JSON of another shape.
    #[error("malformed: {0}")]
    Malformed(String),
    /// Written by another version.
    #[error("unknown version {0}: this build reads version {VERSION}")]
    UnknownVersion(u32),
    /// A kind of job that this build does not know.
    #[error("unknown kind {0:?}")]
    UnknownKind(String),
}

/// The fields that every version of a work unit has, so that even one that cannot be read can be answered.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Envelope {
    /// Format of the message.
    pub version: u32,
    /// The run that it belongs to.
    pub run: RunId,
    /// Number of the unit in its run.
    pub unit: u64,
    /// Kind of the jobs.
    pub kind: String,
}

/// Reads a work unit.
///
/// # Errors
/// What is wrong with the body, and its envelope if that much could be read.
pub fn decode_unit(body: &[u8]) -> Result<WorkUnit, (DecodeError, Option<Envelope>)> {
    if body.len() > MAX_BODY_BYTES {
        return Err((DecodeError::Oversized(body.len()), None));
    }
    let envelope: Envelope = serde_json::from_slice(body)
        .map_err(|error| (DecodeError::Malformed(error.to_string()), None))?;
    let refused = if envelope.version != VERSION {
        DecodeError::UnknownVersion(envelope.version)
    } else if envelope.kind.parse::<JobKind>().is_err() {
        DecodeError::UnknownKind(envelope.kind.chars().take(64).collect())
    } else {
        match serde_json::from_slice(body) {
            Ok(unit) => return Ok(unit),
            Err(error) => DecodeError::Malformed(error.to_string()),
        }
    };
    Err((refused, Some(envelope)))
}

/// Reads an answer.
///
/// # Errors
/// What is wrong with the body.
pub fn decode_answer(body: &[u8]) -> Result<UnitAnswer, DecodeError> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    if body.len() > MAX_BODY_BYTES {
        return Err(DecodeError::Oversized(body.len()));
    }
    // Read once where all is well: these are long, and many.
    let read = serde_json::from_slice::<UnitAnswer>(body);
    let version = match &read {
        Ok(answer) => Ok(answer.version),
        Err(_) => serde_json::from_slice(body).map(|Version { version }| version),
    };
    match (version, read) {
        (Ok(version), _) if version != VERSION => Err(DecodeError::UnknownVersion(version)),
        (_, read) => read.map_err(|error| DecodeError::Malformed(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::message::{HexInteger, JobAnswer, JobOutcome, Method, Work};

    fn unit(work: Work) -> WorkUnit {
        WorkUnit {
            version: VERSION,
            run: "r1".parse().unwrap(),
            unit: 3,
            first: 12,
            published_ns: 5,
            seed: Some(7),
            avoid: vec![],
            deadline_ms: None,
            work,
        }
    }

    #[test]
    fn units_survive() {
        let works = [
            Work::Prime {
                bits: 1024,
                count: 4,
                method: Method::Incremental,
            },
            Work::SafePrime {
                bits: 64,
                count: 1,
                method: Method::Uniform,
            },
            Work::NextPrime {
                after: vec![HexInteger((-5).into()), HexInteger(255.into())],
            },
            Work::Factor {
                numbers: vec![HexInteger((-12).into()), HexInteger(255.into())],
            },
            Work::Noop { count: 100 },
        ];
        for work in works {
            let unit = unit(work);
            let body = serde_json::to_vec(&unit).unwrap();
            assert_eq!(decode_unit(&body).unwrap(), unit);
        }
    }

    #[test]
    fn the_format_is_frozen() {
        let body = serde_json::to_string(&unit(Work::Prime {
            bits: 1024,
            count: 4,
            method: Method::Incremental,
        }))
        .unwrap();
        assert_eq!(
            body,
            r#"{"version":1,"run":"r1","unit":3,"first":12,"published_ns":5,"seed":7,"kind":"prime","bits":1024,"count":4}"#
        );
        let answer = UnitAnswer {
            version: VERSION,
            run: "r1".parse().unwrap(),
            unit: 3,
            published_ns: 5,
            redelivered: false,
            node: "n".into(),
            worker: 0,
            rejected: None,
            samples: vec![],
            first: 12,
            jobs: vec![
                JobAnswer {
                    outcome: JobOutcome::Ok {
                        value: Some(HexInteger(0xc3.into())),
                    },
                    compute_us: 1500,
                    candidates: 9,
                },
                JobAnswer {
                    outcome: JobOutcome::Failed {
                        reason: "why".into(),
                    },
                    compute_us: 20,
                    candidates: 0,
                },
            ],
        };
        let body = serde_json::to_string(&answer).unwrap();
        assert_eq!(
            body,
            r#"{"version":1,"run":"r1","unit":3,"published_ns":5,"redelivered":false,"node":"n","worker":0,"first":12,"values":["c3",null],"compute_us":[1500,20],"candidates":[9,0],"problems":[{"job":13,"outcome":"failed","reason":"why"}]}"#
        );
        assert_eq!(decode_answer(body.as_bytes()).unwrap(), answer);
    }

    #[test]
    fn answers_whose_columns_do_not_fit_are_refused() {
        let answer = |columns: &str| {
            let head = r#""version":1,"run":"r","unit":0,"published_ns":0,"redelivered":false,"node":"n","worker":0"#;
            decode_answer(format!("{{{head},{columns}}}").as_bytes())
        };
        assert!(answer(r#""values":["3"],"compute_us":[1],"candidates":[1]"#).is_ok());
        assert!(answer(r#""rejected":"no""#).is_ok());
        for columns in [
            r#""values":["3"]"#,
            r#""values":["3"],"compute_us":[1,2],"candidates":[1]"#,
            r#""values":["3"],"compute_us":[1],"candidates":[]"#,
            r#""values":["X"],"compute_us":[1],"candidates":[1]"#,
            r#""problems":[{"job":0,"outcome":"failed","reason":""}]"#,
            r#""first":5,"values":[null],"compute_us":[1],"candidates":[1],"problems":[{"job":4,"outcome":"failed","reason":""}]"#,
        ] {
            let error = answer(columns).unwrap_err();
            assert!(matches!(error, DecodeError::Malformed(_)), "{columns}");
        }
        let newer = decode_answer(br#"{"version":2,"something":"else"}"#);
        assert_eq!(newer, Err(DecodeError::UnknownVersion(2)));
    }

    #[test]
    fn unknown_fields_are_ignored() {
        let body = br#"{"version":1,"run":"r1","unit":0,"first":0,"published_ns":1,"kind":"noop","count":1,"colour":"red"}"#;
        assert!(decode_unit(body).is_ok());
    }

    #[test]
    fn refuses_with_a_reason_and_keeps_the_envelope() {
        let refused = |body: &str| decode_unit(body.as_bytes()).unwrap_err();
        assert!(matches!(
            refused("hello"),
            (DecodeError::Malformed(_), None)
        ));
        let (error, envelope) =
            refused(r#"{"version":9,"run":"r1","unit":4,"kind":"prime","new":[]}"#);
        assert_eq!(error, DecodeError::UnknownVersion(9));
        assert_eq!(envelope.unwrap().unit, 4);
        let (error, _) = refused(r#"{"version":1,"run":"r1","unit":4,"kind":"sing"}"#);
        assert_eq!(error, DecodeError::UnknownKind("sing".into()));
        let (error, envelope) =
            refused(r#"{"version":1,"run":"r1","unit":4,"kind":"prime","bits":"many"}"#);
        assert!(matches!(error, DecodeError::Malformed(_)));
        assert!(envelope.is_some());
        let (error, _) = decode_unit(&vec![b' '; MAX_BODY_BYTES + 1]).unwrap_err();
        assert_eq!(error, DecodeError::Oversized(MAX_BODY_BYTES + 1));
    }

    #[test]
    fn validates_sizes() {
        let max = 4096;
        let valid = |work| unit(work).validate(max);
        assert!(
            valid(Work::Prime {
                bits: 2,
                count: 1,
                method: Method::Incremental
            })
            .is_ok()
        );
        assert!(
            valid(Work::Prime {
                bits: 1,
                count: 1,
                method: Method::Incremental
            })
            .is_err()
        );
        assert!(
            valid(Work::SafePrime {
                bits: 2,
                count: 1,
                method: Method::Incremental
            })
            .is_err()
        );
        assert!(
            valid(Work::Prime {
                bits: 64,
                count: 0,
                method: Method::Incremental
            })
            .is_err()
        );
        assert!(
            valid(Work::Prime {
                bits: 64,
                count: u64::MAX,
                method: Method::Incremental
            })
            .is_err()
        );
        let reason = valid(Work::Prime {
            bits: max + 1,
            count: 1,
            method: Method::Incremental,
        })
        .unwrap_err();
        assert!(reason.contains("4097"), "{reason}");
    }
}
