use serde::Deserialize;

use super::{MAX_BODY_BYTES, RunId, UnitAnswer, VERSION, WorkUnit};
use crate::{jobs::JobKind, text::json_error, wire::bounded};

/// Why a body is not a valid message. The error text is the reason in the message to
/// `primepool.dead`; it is short whatever the body contains.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The body is larger than the limit for its kind of message, the second number; it was not
    /// read.
    #[error("oversized: {0} bytes, {1} at most")]
    Oversized(usize, usize),
    /// The body is not JSON, or its fields are wrong.
    #[error("malformed: {0}")]
    Malformed(String),
    /// The message was written by another version.
    #[error("unknown version {0}: this build reads version {VERSION}")]
    UnknownVersion(u32),
    /// The kind of job is unknown to this build.
    #[error("unknown kind {0:?}")]
    UnknownKind(String),
}

impl From<&serde_json::Error> for DecodeError {
    fn from(error: &serde_json::Error) -> Self {
        Self::Malformed(json_error(error))
    }
}

/// The fields that all versions of a work unit have. With them, even a unit that cannot be read can
/// be answered.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Envelope {
    /// Version of the message format, see [`VERSION`].
    pub version: u32,
    /// Run that the unit belongs to.
    pub run: RunId,
    /// Number of the unit in its run.
    pub unit: u64,
    /// Name of the kind of jobs, cut off at the longest valid length.
    #[serde(deserialize_with = "bounded::start_of_name")]
    pub kind: String,
}

/// Checks the size of a body and that all of it is UTF-8. serde does not check the values of
/// unknown fields, and other readers of the same message would refuse it.
pub(super) fn text(body: &[u8], most: usize) -> Result<&str, DecodeError> {
    if body.len() > most {
        return Err(DecodeError::Oversized(body.len(), most));
    }
    str::from_utf8(body).map_err(|error| {
        DecodeError::Malformed(format!("not UTF-8 from byte {} on", error.valid_up_to()))
    })
}

/// Reads a work unit.
///
/// # Errors
/// The reason why the body is not a valid unit, and its envelope if that could be read.
pub fn decode_unit(body: &[u8]) -> Result<WorkUnit, (DecodeError, Option<Envelope>)> {
    let body = text(body, MAX_BODY_BYTES).map_err(|error| (error, None))?;
    let envelope: Envelope =
        serde_json::from_str(body).map_err(|error| (DecodeError::from(&error), None))?;
    let refused = if envelope.version != VERSION {
        DecodeError::UnknownVersion(envelope.version)
    } else if envelope.kind.parse::<JobKind>().is_err() {
        DecodeError::UnknownKind(envelope.kind.clone())
    } else {
        match serde_json::from_str(body) {
            Ok(unit) => return Ok(unit),
            Err(error) => DecodeError::from(&error),
        }
    };
    Err((refused, Some(envelope)))
}

/// Reads an answer.
///
/// # Errors
/// The body is not a valid answer of this version.
pub fn decode_answer(body: &[u8]) -> Result<UnitAnswer, DecodeError> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let body = text(body, MAX_BODY_BYTES)?;
    // Parsed only once if all is well: answers are long and frequent.
    let read = serde_json::from_str::<UnitAnswer>(body);
    let version = match &read {
        Ok(answer) => Ok(answer.version),
        Err(_) => serde_json::from_str(body).map(|Version { version }| version),
    };
    match (version, read) {
        (Ok(version), _) if version != VERSION => Err(DecodeError::UnknownVersion(version)),
        (_, read) => read.map_err(|error| DecodeError::from(&error)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use primepool_factor::quadratic_sieve::RELATIONS_FORM;

    use super::*;
    use crate::message::{
        FactorJobs, HexInteger, Integers, JobAnswer, JobOutcome, Method, NextPrimeJobs, NoopJobs,
        Packet, PrimeJobs, SafePrimeJobs, Share, Work,
    };

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
            hand_back: false,
            verified: false,
            work,
        }
    }

    #[test]
    fn units_survive() {
        let works = [
            Work::Prime(PrimeJobs {
                bits: 1024,
                count: 4,
                method: Method::Incremental,
            }),
            Work::SafePrime(SafePrimeJobs {
                bits: 64,
                count: 1,
                method: Method::Uniform,
            }),
            Work::NextPrime(NextPrimeJobs {
                after: vec![HexInteger((-5).into()), HexInteger(255.into())].into(),
                prove: false,
            }),
            Work::Factor(FactorJobs {
                numbers: vec![HexInteger((-12).into()), HexInteger(255.into())].into(),
                leave_above: Some(200),
                share: None,
                prove: false,
            }),
            Work::Factor(FactorJobs {
                numbers: vec![HexInteger(255.into())].into(),
                leave_above: None,
                share: Some(Share::Sieve {
                    first: 1 << 40,
                    count: 7,
                    form: RELATIONS_FORM,
                }),
                prove: false,
            }),
            Work::Noop(NoopJobs { count: 100 }),
        ];
        for work in works {
            let unit = unit(work);
            let body = serde_json::to_vec(&unit).unwrap();
            assert_eq!(decode_unit(&body).unwrap(), unit);
        }
    }

    #[test]
    fn the_format_is_frozen() {
        let body = serde_json::to_string(&unit(Work::Prime(PrimeJobs {
            bits: 1024,
            count: 4,
            method: Method::Incremental,
        })))
        .unwrap();
        assert_eq!(
            body,
            r#"{"version":1,"run":"r1","unit":3,"first":12,"published_ns":5,"seed":7,"kind":"prime","bits":1024,"count":4}"#
        );
        let mut again = unit(Work::Noop(NoopJobs { count: 4 }));
        again.avoid.push("n1".into());
        again.hand_back = true;
        let body = serde_json::to_string(&again).unwrap();
        assert_eq!(
            body,
            r#"{"version":1,"run":"r1","unit":3,"first":12,"published_ns":5,"seed":7,"avoid":["n1"],"hand_back":true,"kind":"noop","count":4}"#
        );
        assert_eq!(decode_unit(body.as_bytes()).unwrap(), again);
        again.verified = true;
        let body = serde_json::to_string(&again).unwrap();
        assert_eq!(
            body,
            r#"{"version":1,"run":"r1","unit":3,"first":12,"published_ns":5,"seed":7,"avoid":["n1"],"hand_back":true,"verified":true,"kind":"noop","count":4}"#
        );
        assert_eq!(decode_unit(body.as_bytes()).unwrap(), again);
        let body = r#"{"version":1,"run":"r1","unit":3,"published_ns":5,"redelivered":false,"node":"n","worker":0,"handed_back":"why"}"#;
        let answer = decode_answer(body.as_bytes()).unwrap();
        assert_eq!(answer.handed_back.as_deref(), Some("why"));
        assert_eq!(serde_json::to_string(&answer).unwrap(), body);
        let answer = UnitAnswer {
            version: VERSION,
            run: "r1".parse().unwrap(),
            unit: 3,
            published_ns: 5,
            redelivered: false,
            node: "n".into(),
            worker: 0,
            rejected: None,
            handed_back: None,
            samples: vec![],
            first: 12,
            jobs: vec![
                JobAnswer {
                    outcome: JobOutcome::Ok {
                        value: Some(HexInteger(0xc3.into())),
                    },
                    compute_us: 1500,
                    candidates: 9,
                    certificate: None,
                },
                JobAnswer {
                    outcome: JobOutcome::Failed {
                        reason: "why".into(),
                    },
                    compute_us: 20,
                    candidates: 0,
                    certificate: None,
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
    fn units_that_prove_and_their_answers_have_a_form() {
        let work = Work::Prime(PrimeJobs {
            bits: 1024,
            count: 4,
            method: Method::Provable,
        });
        let body = serde_json::to_string(&unit(work)).unwrap();
        assert_eq!(
            body,
            r#"{"version":1,"run":"r1","unit":3,"first":12,"published_ns":5,"seed":7,"kind":"prime","bits":1024,"count":4,"prove":true}"#
        );
        let named = body.replace(r#""prove":true"#, r#""method":"provable""#);
        assert!(decode_unit(named.as_bytes()).is_err(), "it has one form");
        let after: Integers = vec![HexInteger(255.into())].into();
        for work in [
            Work::SafePrime(SafePrimeJobs {
                bits: 64,
                count: 1,
                method: Method::Provable,
            }),
            Work::NextPrime(NextPrimeJobs {
                after: after.clone(),
                prove: true,
            }),
            Work::Factor(FactorJobs {
                numbers: after,
                leave_above: None,
                share: None,
                prove: true,
            }),
        ] {
            let unit = unit(work);
            let body = serde_json::to_vec(&unit).unwrap();
            assert_eq!(decode_unit(&body).unwrap(), unit);
            assert!(unit.work.jobs().proves());
        }
        let body = r#"{"version":1,"run":"r1","unit":3,"published_ns":5,"redelivered":false,"node":"n","worker":0,"first":12,"values":["c3",null],"certificates":[[["1ffffffffffffffffffffff",3,["2","17"]]],null],"compute_us":[1500,20],"candidates":[9,0]}"#;
        let answer = decode_answer(body.as_bytes()).unwrap();
        let certificate = answer.jobs[0].certificate.as_ref().unwrap();
        assert_eq!(certificate.0.steps[0].factors, [2, 0x17]);
        assert_eq!(answer.jobs[1].certificate, None);
        assert_eq!(serde_json::to_string(&answer).unwrap(), body);
        let short = body.replace(",null],\"compute", "],\"compute");
        assert!(
            decode_answer(short.as_bytes()).is_err(),
            "a column is short"
        );
    }

    #[test]
    fn shares_of_one_factorisation_have_a_form() {
        let body = serde_json::to_string(&unit(Work::Factor(FactorJobs {
            numbers: vec![HexInteger(255.into())].into(),
            leave_above: None,
            share: Some(Share::Curves {
                b1: 2000,
                p_minus_1: 0,
                first: 30,
                count: 10,
            }),
            prove: false,
        })))
        .unwrap();
        assert!(
            body.ends_with(r#""kind":"factor","numbers":["ff"],"share":{"curves":{"b1":2000,"p_minus_1":0,"first":30,"count":10}}}"#),
            "{body}"
        );
        let mut answer: UnitAnswer = decode_answer(
            br#"{"version":1,"run":"r","unit":4294967296,"published_ns":0,"redelivered":false,"node":"n","worker":0,"first":3,"values":[null],"relations":"AAEC/w==","compute_us":[5],"candidates":[2]}"#,
        )
        .unwrap();
        let packet = Packet(vec![0, 1, 2, 255]);
        assert_eq!(answer.jobs[0].outcome, JobOutcome::Relations(packet));
        assert_eq!(super::super::UnitId::of(answer.unit).batch, 1);
        let body = serde_json::to_vec(&answer).unwrap();
        assert_eq!(decode_answer(&body).unwrap(), answer);
        answer.jobs.push(answer.jobs[0].clone());
        let body = serde_json::to_string(&answer).unwrap();
        assert!(!body.contains("relations"), "they are of one job: {body}");
    }

    /// Units of a sieve, with and without the form of their relations.
    #[test]
    fn a_sieve_names_the_form_of_its_relations() {
        let unit = |share: &str| {
            let body = format!(
                r#"{{"version":1,"run":"r1","unit":3,"first":0,"published_ns":5,"kind":"factor","numbers":["ff"],"share":{share}}}"#
            );
            decode_unit(body.as_bytes()).unwrap()
        };
        let of_form = |form: u32| {
            let share = format!(r#"{{"sieve":{{"first":9,"count":7,"form":{form}}}}}"#);
            (unit(&share), share)
        };
        let first = unit(r#"{"sieve":{"first":9,"count":7}}"#);
        let (own, share) = of_form(RELATIONS_FORM);
        let written = String::from_utf8(serde_json::to_vec(&own).unwrap()).unwrap();
        assert!(written.contains(&format!(r#""share":{share}"#)));
        // A consumer hands back a unit for another build; it does not reject it.
        let other_build = |unit: &WorkUnit| unit.work.jobs().needs_other_build();
        let reason = format!(
            "it asks for relations in form 1, and this version writes form {RELATIONS_FORM}"
        );
        assert_eq!(other_build(&first), Some(reason));
        assert_eq!(other_build(&own), None);
        for other in [2, RELATIONS_FORM + 1] {
            assert!(other_build(&of_form(other).0).is_some(), "{other}");
        }
    }

    #[test]
    fn shares_are_bounded() {
        let of = |bits: u32, share| {
            let work = Work::Factor(FactorJobs {
                numbers: vec![HexInteger(primepool_engine::Integer::from(1) << (bits - 1))].into(),
                leave_above: None,
                share: Some(share),
                prove: false,
            });
            unit(work).validate(4096)
        };
        let sieve = |first, count| Share::Sieve {
            first,
            count,
            form: RELATIONS_FORM,
        };
        assert_eq!(of(256, sieve(0, 1)), Ok(()));
        for (bits, share) in [
            (256, sieve(0, 0)),
            (256, sieve(0, u32::MAX)),
            (256, sieve(u64::MAX, 1)),
            (63, sieve(0, 1)),
            (401, sieve(0, 1)),
        ] {
            assert!(of(bits, share).is_err(), "{bits} {share:?}");
        }
        let curves = |b1, first, count| Share::Curves {
            b1,
            p_minus_1: 0,
            first,
            count,
        };
        assert_eq!(of(500, curves(11_000, 0, 100)), Ok(()));
        assert!(of(2049, curves(11_000, 0, 100)).is_err());
        for share in [
            curves(0, 0, 1),
            curves(u32::MAX, 0, 1),
            curves(11_000, u32::MAX, 1),
        ] {
            assert!(of(500, share).is_err(), "{share:?}");
        }
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
    fn the_last_job_has_an_index() {
        let last = br#"{"version":1,"run":"r","unit":0,"published_ns":0,"redelivered":false,"node":"n","worker":0,"first":18446744073709551615,"values":[null],"compute_us":[1],"candidates":[1]}"#;
        let error = decode_answer(last).unwrap_err().to_string();
        assert!(error.contains("job index"), "{error}");
    }

    #[test]
    fn a_field_that_the_kind_needs_is_missed() {
        for (work, missing) in [
            (r#""kind":"prime","count":1"#, "bits"),
            (r#""kind":"safe-prime","bits":9"#, "count"),
            (r#""kind":"noop""#, "count"),
            (r#""kind":"next-prime""#, "after"),
        ] {
            let body =
                format!(r#"{{"version":1,"run":"r1","unit":0,"first":0,"published_ns":1,{work}}}"#);
            let (error, envelope) = decode_unit(body.as_bytes()).unwrap_err();
            assert!(
                error.to_string().contains(&format!("`{missing}`")),
                "{error}"
            );
            assert!(envelope.is_some());
        }
    }

    #[test]
    fn reasons_are_as_long_as_they_are_shown() {
        let mut answer: UnitAnswer = decode_answer(
            br#"{"version":1,"run":"r","unit":0,"published_ns":0,"redelivered":false,"node":"n","worker":0}"#,
        )
        .unwrap();
        answer.rejected = Some("x\u{1b}".repeat(1000));
        let body = serde_json::to_vec(&answer).unwrap();
        let reason = decode_answer(&body).unwrap().rejected.unwrap();
        assert_eq!(reason, "x ".repeat(150));
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
        assert_eq!(
            error,
            DecodeError::Oversized(MAX_BODY_BYTES + 1, MAX_BODY_BYTES)
        );
        let (error, _) = decode_unit(b"{\"x\":\"\xff\"}").unwrap_err();
        assert_eq!(error.to_string(), "malformed: not UTF-8 from byte 6 on");
    }

    #[test]
    fn validates_sizes() {
        let max = 4096;
        let valid = |work| unit(work).validate(max);
        assert!(
            valid(Work::Prime(PrimeJobs {
                bits: 2,
                count: 1,
                method: Method::Incremental
            }))
            .is_ok()
        );
        assert!(
            valid(Work::Prime(PrimeJobs {
                bits: 1,
                count: 1,
                method: Method::Incremental
            }))
            .is_err()
        );
        assert!(
            valid(Work::SafePrime(SafePrimeJobs {
                bits: 2,
                count: 1,
                method: Method::Incremental
            }))
            .is_err()
        );
        assert!(
            valid(Work::Prime(PrimeJobs {
                bits: 64,
                count: 0,
                method: Method::Incremental
            }))
            .is_err()
        );
        assert!(
            valid(Work::Prime(PrimeJobs {
                bits: 64,
                count: u64::MAX,
                method: Method::Incremental
            }))
            .is_err()
        );
        let reason = valid(Work::Prime(PrimeJobs {
            bits: max + 1,
            count: 1,
            method: Method::Incremental,
        }))
        .unwrap_err();
        assert!(reason.contains("4097"), "{reason}");
    }
}
