use std::num::TryFromIntError;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeStruct};

use super::{MAX_SAMPLES, MAX_UNIT_JOBS, NodeSample, RunId};
use crate::{
    jobs::{Certificate, Factorization},
    text::reason,
    wire::{HexInteger, bounded},
};

/// The outcome of one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobOutcome {
    /// The job succeeded.
    Ok {
        /// The integer that was found; `None` for a `noop` job.
        value: Option<HexInteger>,
    },
    /// The factors of a `factor` job, all or some of them.
    Factored(Box<Factorization>),
    /// The relations of a share of the sieve.
    Relations(Packet),
    /// The engine could not finish the job.
    Failed {
        /// The reason, for people.
        reason: String,
    },
    /// The job is invalid.
    Rejected {
        /// The reason, for people.
        reason: String,
    },
}

/// Relations of the sieve: a packet of [`primepool_factor::quadratic_sieve`], base64 in JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet(pub Vec<u8>);

impl Serialize for Packet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Packet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        bounded::read(deserializer, |text| {
            let bytes = BASE64.decode(text);
            bytes.map(Self).map_err(|_| "no base64".to_owned())
        })
    }
}

/// The answer to one job, and its cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobAnswer {
    /// Outcome of the job.
    pub outcome: JobOutcome,
    /// Time of one worker in microseconds. Jobs that are processed side by side share it.
    pub compute_us: u64,
    /// Number of integers that were given a probable-prime test; for shares, the number of curves
    /// or families done.
    pub candidates: u64,
    /// Certificate for the primes of the outcome that need one, or for some of them; `None` if the
    /// unit did not ask for certificates.
    pub certificate: Option<Certificate>,
}

impl JobAnswer {
    /// The integer that was found.
    #[must_use]
    pub fn value(&self) -> Option<&HexInteger> {
        match &self.outcome {
            JobOutcome::Ok { value } => value.as_ref(),
            JobOutcome::Factored(_)
            | JobOutcome::Relations(_)
            | JobOutcome::Failed { .. }
            | JobOutcome::Rejected { .. } => None,
        }
    }

    /// The factorisation that was found.
    #[must_use]
    pub fn factorization(&self) -> Option<&Factorization> {
        match &self.outcome {
            JobOutcome::Factored(factorization) => Some(factorization),
            _ => None,
        }
    }
}

/// A message in a results queue: the answers to one work unit.
///
/// The JSON form is by columns, because a message may hold thousands of answers. `values`,
/// `compute_us` and `candidates` have one entry per job of the unit, in order. So has
/// `factorizations` for `factor` jobs, and `certificates` if the unit asks for them. `relations`
/// belongs to the only job of a unit that is a share of the sieve. `problems` lists the jobs that
/// failed or were rejected; their value is `null`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Columns")]
pub struct UnitAnswer {
    /// Format of this message, see [`super::VERSION`].
    pub version: u32,
    /// Run that the unit belongs to.
    pub run: RunId,
    /// Number of the unit in its run.
    pub unit: u64,
    /// The `published_ns` of the unit as received; 0 if it could not be read.
    pub published_ns: u64,
    /// The redelivered flag of the unit: the broker had delivered it before.
    pub redelivered: bool,
    /// Name of the node that processed the unit.
    pub node: String,
    /// Number of the worker thread on that node.
    pub worker: u32,
    /// The reason why the whole unit was rejected.
    pub rejected: Option<String>,
    /// The reason why the consumer leaves the unit to others. `jobs` is empty then.
    pub handed_back: Option<String>,
    /// State of the node. The first answer of a run has two samples, from before and after the
    /// work; later answers have at most one.
    pub samples: Vec<NodeSample>,
    /// Index of the first job in the run.
    pub first: u64,
    /// Answers to the jobs from `first` on; empty if the whole unit was rejected.
    pub jobs: Vec<JobAnswer>,
}

#[derive(Serialize, Deserialize)]
struct Problem {
    job: u64,
    outcome: Verdict,
    #[serde(deserialize_with = "bounded::reason")]
    reason: String,
}

/// Most jobs in an answer.
const MOST: usize = MAX_UNIT_JOBS as usize;

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    Failed,
    Rejected,
}

/// The JSON form of a [`UnitAnswer`].
#[derive(Deserialize)]
struct Columns {
    version: u32,
    run: RunId,
    unit: u64,
    published_ns: u64,
    redelivered: bool,
    #[serde(deserialize_with = "bounded::name")]
    node: String,
    worker: u32,
    #[serde(default, deserialize_with = "bounded::optional_reason")]
    rejected: Option<String>,
    #[serde(default, deserialize_with = "bounded::optional_reason")]
    handed_back: Option<String>,
    #[serde(default, deserialize_with = "bounded::list::<_, _, MAX_SAMPLES>")]
    samples: Vec<NodeSample>,
    #[serde(default)]
    first: u64,
    #[serde(default, deserialize_with = "bounded::list::<_, _, MOST>")]
    values: Vec<Option<HexInteger>>,
    #[serde(default, deserialize_with = "bounded::list::<_, _, MOST>")]
    factorizations: Vec<Option<Factorization>>,
    #[serde(default)]
    relations: Option<Packet>,
    #[serde(default, deserialize_with = "bounded::list::<_, _, MOST>")]
    certificates: Vec<Option<Certificate>>,
    #[serde(default, deserialize_with = "bounded::list::<_, _, MOST>")]
    compute_us: Vec<u64>,
    #[serde(default, deserialize_with = "bounded::list::<_, _, MOST>")]
    candidates: Vec<u64>,
    #[serde(default, deserialize_with = "bounded::list::<_, _, MOST>")]
    problems: Vec<Problem>,
}

impl Serialize for UnitAnswer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Column<'a, T>(&'a [JobAnswer], fn(&'a JobAnswer) -> T);
        impl<T: Serialize> Serialize for Column<'_, T> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_seq(self.0.iter().map(self.1))
            }
        }

        let mut fields = serializer.serialize_struct("UnitAnswer", 18)?;
        fields.serialize_field("version", &self.version)?;
        fields.serialize_field("run", &self.run)?;
        fields.serialize_field("unit", &self.unit)?;
        fields.serialize_field("published_ns", &self.published_ns)?;
        fields.serialize_field("redelivered", &self.redelivered)?;
        fields.serialize_field("node", &self.node)?;
        fields.serialize_field("worker", &self.worker)?;
        if let Some(why) = &self.rejected {
            fields.serialize_field("rejected", &reason(why))?;
        }
        if let Some(why) = &self.handed_back {
            fields.serialize_field("handed_back", &reason(why))?;
        }
        if !self.samples.is_empty() {
            fields.serialize_field("samples", &self.samples)?;
        }
        if !self.jobs.is_empty() {
            fields.serialize_field("first", &self.first)?;
            fields.serialize_field("values", &Column(&self.jobs, JobAnswer::value))?;
            if self.jobs.iter().any(|job| job.factorization().is_some()) {
                let factorizations = Column(&self.jobs, JobAnswer::factorization);
                fields.serialize_field("factorizations", &factorizations)?;
            }
            if self.jobs.iter().any(|job| job.certificate.is_some()) {
                let certificates = Column(&self.jobs, |job| job.certificate.as_ref());
                fields.serialize_field("certificates", &certificates)?;
            }
            if let [
                JobAnswer {
                    outcome: JobOutcome::Relations(packet),
                    ..
                },
            ] = &self.jobs[..]
            {
                fields.serialize_field("relations", packet)?;
            }
            fields.serialize_field("compute_us", &Column(&self.jobs, |job| job.compute_us))?;
            fields.serialize_field("candidates", &Column(&self.jobs, |job| job.candidates))?;
            let problems = self.problems();
            if !problems.is_empty() {
                fields.serialize_field("problems", &problems)?;
            }
        }
        fields.end()
    }
}

impl UnitAnswer {
    fn problems(&self) -> Vec<Problem> {
        let problem = |(answer, job): (&JobAnswer, u64)| {
            let (outcome, why) = match &answer.outcome {
                JobOutcome::Ok { .. } | JobOutcome::Factored(_) | JobOutcome::Relations(_) => {
                    return None;
                }
                JobOutcome::Failed { reason } => (Verdict::Failed, reason),
                JobOutcome::Rejected { reason } => (Verdict::Rejected, reason),
            };
            Some(Problem {
                job,
                outcome,
                // Shortened to the length that a reader keeps, so that no answer exceeds the
                // reader's size limit.
                reason: reason(why),
            })
        };
        // The jobs come first in the zip: the range must not count beyond the last job, whose index
        // may be `u64::MAX`.
        self.jobs
            .iter()
            .zip(self.first..)
            .filter_map(problem)
            .collect()
    }
}

/// The columns of an answer contradict each other.
#[derive(Debug, thiserror::Error)]
enum BadColumns {
    #[error(
        "values, factorizations, certificates, compute_us and candidates are not of one length"
    )]
    Lengths,
    #[error("relations are those of one job, and here are {0}")]
    Relations(usize),
    #[error("a problem with job {0}, which is not of this unit")]
    ForeignJob(u64),
    #[error("job index {0} is too large")]
    Index(u64),
}

impl TryFrom<Columns> for UnitAnswer {
    type Error = BadColumns;

    fn try_from(columns: Columns) -> Result<Self, BadColumns> {
        let count = columns.values.len();
        let factorizations = &columns.factorizations;
        if columns.compute_us.len() != count
            || columns.candidates.len() != count
            || !factorizations.is_empty() && factorizations.len() != count
            || !columns.certificates.is_empty() && columns.certificates.len() != count
        {
            return Err(BadColumns::Lengths);
        }
        if columns.first.checked_add(count as u64).is_none() {
            return Err(BadColumns::Index(columns.first));
        }
        let costs = columns.compute_us.into_iter().zip(columns.candidates);
        let answers = columns.values.into_iter().zip(costs);
        let mut jobs: Vec<_> = answers
            .map(|(value, (compute_us, candidates))| JobAnswer {
                outcome: JobOutcome::Ok { value },
                compute_us,
                candidates,
                certificate: None,
            })
            .collect();
        for (job, factorization) in jobs.iter_mut().zip(columns.factorizations) {
            if let Some(factorization) = factorization {
                job.outcome = JobOutcome::Factored(Box::new(factorization));
            }
        }
        for (job, certificate) in jobs.iter_mut().zip(columns.certificates) {
            job.certificate = certificate;
        }
        if let Some(packet) = columns.relations {
            let [job] = &mut jobs[..] else {
                return Err(BadColumns::Relations(count));
            };
            job.outcome = JobOutcome::Relations(packet);
        }
        for Problem {
            job,
            outcome,
            reason,
        } in columns.problems
        {
            let place = job.checked_sub(columns.first).map(usize::try_from);
            let answer = place
                .and_then(|place: Result<_, TryFromIntError>| jobs.get_mut(place.ok()?))
                .ok_or(BadColumns::ForeignJob(job))?;
            answer.outcome = match outcome {
                Verdict::Failed => JobOutcome::Failed { reason },
                Verdict::Rejected => JobOutcome::Rejected { reason },
            };
        }
        Ok(Self {
            version: columns.version,
            run: columns.run,
            unit: columns.unit,
            published_ns: columns.published_ns,
            redelivered: columns.redelivered,
            node: columns.node,
            worker: columns.worker,
            rejected: columns.rejected,
            handed_back: columns.handed_back,
            samples: columns.samples,
            first: columns.first,
            jobs,
        })
    }
}
