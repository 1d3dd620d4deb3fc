//! The request of a run: its jobs and how to do them.

use std::ops::Range;

use primepool_common::{
    jobs::{JobFields, WrittenJobs},
    message::{HexInteger, Integers, JobKind, MAX_INTEGER_BITS, RunId, VERSION, Work, WorkUnit},
};
use primepool_factor::spread::{DEFAULT_EFFORT, EFFORTS};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Packing;

/// Largest number of jobs in a run. The set of ended jobs is kept in memory, as ranges.
pub(crate) const MAX_COUNT: u64 = 10_000_000_000;

/// Size in bits above which a worker leaves composites to the pool: at this size, one worker needs
/// some seconds.
pub(crate) const LEAVE_ABOVE_BITS: u32 = 200;

/// The request of a run: its jobs and how to do them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// All jobs of the run; each unit has a slice of them.
    pub work: Work,
    /// Seed of the jobs' random streams.
    pub seed: Option<u64>,
    /// Time limit of each job, in milliseconds of a worker.
    pub deadline_ms: Option<u64>,
    /// How integers are factored.
    pub aims: FactoringAims,
    /// Whether the producer tests every prime, so that consumers do one test fewer, see
    /// [`WorkUnit::verified`].
    pub verified: bool,
}

/// Options for factoring integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FactoringAims {
    /// Whether each integer is known to be a product of two primes of equal size: then no curves
    /// are tried.
    pub is_balanced: bool,
    /// Size of the factors, in decimal digits, up to which curves are tried on composites that are
    /// too large for the sieve.
    pub effort: u32,
}

impl Default for FactoringAims {
    fn default() -> Self {
        Self {
            is_balanced: false,
            effort: DEFAULT_EFFORT,
        }
    }
}

impl Request {
    /// A request for these jobs, without a seed or a deadline.
    #[must_use]
    pub fn new(work: Work) -> Self {
        let mut request = Self {
            work,
            seed: None,
            deadline_ms: None,
            aims: FactoringAims::default(),
            verified: false,
        };
        if let Work::Factor(jobs) = &mut request.work {
            jobs.leave_above = Some(LEAVE_ABOVE_BITS);
            jobs.share = None;
        }
        request
    }

    /// Kind of every job.
    #[must_use]
    pub fn kind(&self) -> JobKind {
        self.work.kind()
    }

    /// Number of jobs.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.work.count()
    }

    /// The integers of the jobs; empty for kinds that have none.
    #[must_use]
    pub(crate) fn integers(&self) -> &Integers {
        const NONE: &Integers = &Integers::Listed(Vec::new());
        match &self.work {
            Work::Factor(jobs) => &jobs.numbers,
            Work::NextPrime(jobs) => &jobs.after,
            _ => NONE,
        }
    }

    /// Replaces the integers of the jobs; does nothing for kinds that have none.
    pub(crate) fn set_integers(&mut self, integers: Integers) {
        match &mut self.work {
            Work::Factor(jobs) => jobs.numbers = integers,
            Work::NextPrime(jobs) => jobs.after = integers,
            _ => {}
        }
    }

    /// Checks that the jobs are valid and that `packing` fits them.
    ///
    /// # Errors
    /// Returns a message for the user that says what is invalid.
    pub fn validate(&self, packing: &Packing) -> Result<(), String> {
        let (count, bits) = (self.count(), self.work.bits());
        if !(1..=MAX_COUNT).contains(&count) {
            return Err(format!("{count} jobs (1 to {MAX_COUNT})"));
        }
        if bits > MAX_INTEGER_BITS {
            return Err(format!("{bits} bits ({MAX_INTEGER_BITS} at most)"));
        }
        if !EFFORTS.contains(&self.aims.effort) {
            return Err(format!(
                "an effort of {} digits ({} to {})",
                self.aims.effort,
                EFFORTS.start(),
                EFFORTS.end()
            ));
        }
        self.work.jobs().validate()?;
        packing.validate()?;
        packing.check_units(count)
    }

    /// Whether some integers may be large enough for the whole pool to work on together.
    #[must_use]
    pub fn is_spread(&self) -> bool {
        self.kind() == JobKind::Factor && self.work.bits() > LEAVE_ABOVE_BITS
    }

    /// Whether every prime of the results must be proven, as for random primes, which are generated
    /// together with their proof.
    #[must_use]
    pub fn is_proven_by_all(&self) -> bool {
        self.work.jobs().proves() && matches!(self.kind(), JobKind::Prime | JobKind::SafePrime)
    }

    /// Builds the unit of these jobs; `integers` are those of the jobs, if they need any.
    #[must_use]
    pub fn unit(
        &self,
        run: &RunId,
        unit: u64,
        jobs: Range<u64>,
        integers: Vec<HexInteger>,
        published_ns: u64,
    ) -> WorkUnit {
        WorkUnit {
            version: VERSION,
            run: run.clone(),
            unit,
            first: jobs.start,
            published_ns,
            seed: self.seed,
            avoid: Vec::new(),
            deadline_ms: self.deadline_ms,
            hand_back: true,
            verified: self.verified,
            work: self.work.part(jobs, integers),
        }
    }
}

/// The form of a request in a manifest: one flat object.
#[derive(Deserialize)]
struct Read {
    kind: JobKind,
    #[serde(flatten)]
    jobs: JobFields,
    #[serde(default)]
    seed: Option<u64>,
    #[serde(default)]
    deadline_ms: Option<u64>,
    #[serde(default)]
    is_balanced: bool,
    #[serde(default = "default_effort")]
    effort: u32,
    #[serde(default)]
    verified: bool,
}

fn default_effort() -> u32 {
    DEFAULT_EFFORT
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde asks for"
)]
fn is_default_effort(effort: &u32) -> bool {
    *effort == DEFAULT_EFFORT
}

impl<'de> Deserialize<'de> for Request {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = Read::deserialize(deserializer)?;
        let count = read.jobs.count;
        let work = Work::read(read.kind, read.jobs).map_err(de::Error::custom)?;
        if let Some(count) = count.filter(|count| *count != work.count()) {
            return Err(de::Error::custom(format!(
                "{} integers for {count} jobs of kind {}",
                work.count(),
                read.kind
            )));
        }
        Ok(Self {
            seed: read.seed,
            deadline_ms: read.deadline_ms,
            aims: FactoringAims {
                is_balanced: read.is_balanced,
                effort: read.effort,
            },
            verified: read.verified,
            ..Self::new(work)
        })
    }
}

#[derive(Serialize)]
struct Written<'a> {
    #[serde(flatten)]
    jobs: WrittenJobs<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline_ms: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_balanced: bool,
    #[serde(skip_serializing_if = "is_default_effort")]
    effort: u32,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    verified: bool,
}

impl Serialize for Request {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let jobs = WrittenJobs {
            bits: Some(self.work.jobs().size()),
            count: Some(self.count()),
            // Not stored: each version of the producer sets its own limit.
            leave_above: None,
            ..self.work.written()
        };
        let written = Written {
            jobs,
            seed: self.seed,
            deadline_ms: self.deadline_ms,
            is_balanced: self.aims.is_balanced,
            effort: self.aims.effort,
            verified: self.verified,
        };
        written.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use primepool_common::message::{FactorJobs, Method, NextPrimeJobs, NoopJobs, PrimeJobs};

    use super::*;

    /// The form in manifests of version 0.1.0.
    #[test]
    fn the_format_is_frozen() {
        let numbers = || vec![HexInteger(91.into()), HexInteger(255.into())];
        let works = [
            (
                Work::Prime(PrimeJobs {
                    bits: 64,
                    count: 9,
                    method: Method::Uniform,
                }),
                r#"{"kind":"prime","bits":64,"count":9,"method":"uniform","seed":3}"#,
            ),
            (
                Work::NextPrime(NextPrimeJobs {
                    after: numbers().into(),
                    prove: false,
                }),
                r#"{"kind":"next-prime","bits":0,"count":2,"after":["5b","ff"],"seed":3}"#,
            ),
            (
                Work::Factor(FactorJobs {
                    numbers: numbers().into(),
                    leave_above: Some(LEAVE_ABOVE_BITS),
                    share: None,
                    prove: false,
                }),
                r#"{"kind":"factor","bits":0,"count":2,"numbers":["5b","ff"],"seed":3}"#,
            ),
            (
                Work::Factor(FactorJobs {
                    numbers: Integers::InFile {
                        count: 10_000_000,
                        bits: 64,
                    },
                    leave_above: Some(LEAVE_ABOVE_BITS),
                    share: None,
                    prove: false,
                }),
                r#"{"kind":"factor","bits":0,"count":10000000,"most_bits":64,"seed":3}"#,
            ),
            (
                Work::Noop(NoopJobs { count: 4 }),
                r#"{"kind":"noop","bits":0,"count":4,"seed":3}"#,
            ),
        ];
        for (work, text) in works {
            let request = Request {
                seed: Some(3),
                ..Request::new(work)
            };
            assert_eq!(serde_json::to_string(&request).unwrap(), text);
            assert_eq!(serde_json::from_str::<Request>(text).unwrap(), request);
        }
        let request = Request {
            aims: FactoringAims {
                is_balanced: true,
                effort: 35,
            },
            ..Request::new(Work::Factor(FactorJobs {
                numbers: numbers().into(),
                leave_above: Some(LEAVE_ABOVE_BITS),
                share: None,
                prove: false,
            }))
        };
        let text = r#"{"kind":"factor","bits":0,"count":2,"numbers":["5b","ff"],"is_balanced":true,"effort":35}"#;
        assert_eq!(serde_json::to_string(&request).unwrap(), text);
        assert_eq!(serde_json::from_str::<Request>(text).unwrap(), request);
        let request = Request {
            verified: true,
            ..Request::new(Work::Prime(PrimeJobs {
                bits: 64,
                count: 9,
                method: Method::Incremental,
            }))
        };
        let text = r#"{"kind":"prime","bits":64,"count":9,"verified":true}"#;
        assert_eq!(serde_json::to_string(&request).unwrap(), text);
        assert_eq!(serde_json::from_str::<Request>(text).unwrap(), request);
        let wrong = r#"{"kind":"factor","bits":0,"count":3,"numbers":["5b","ff"]}"#;
        let error = serde_json::from_str::<Request>(wrong).unwrap_err();
        assert!(
            error.to_string().contains("2 integers for 3 jobs"),
            "{error}"
        );
    }
}
