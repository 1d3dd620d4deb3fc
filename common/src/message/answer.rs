use serde::{Deserialize, Serialize};

use super::{HexInteger, NodeSample, RunId};

/// How one job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobOutcome {
    /// Done.
    Ok {
        /// What was found; nothing for a `noop`.
        value: Option<HexInteger>,
    },
    /// The engine could not do it.
    Failed {
        /// Why, for people.
        reason: String,
    },
    /// The job is invalid.
    Rejected {
        /// Why, for people.
        reason: String,
    },
}

/// The answer to one job, and what it cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "WireAnswer", into = "WireAnswer")]
pub struct JobAnswer {
    /// Index of the job in its run.
    pub job: u64,
    /// How it ended.
    pub outcome: JobOutcome,
    /// Milliseconds of one worker's time.
    pub compute_ms: f64,
    /// Numbers that were put to a probable-prime test.
    pub candidates: u64,
}

/// A [`JobAnswer`] as it travels. Flat, because serde reads a flattened enum several times slower, and a message may hold
/// thousands of these.
#[derive(Serialize, Deserialize)]
struct WireAnswer {
    job: u64,
    outcome: WireOutcome,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<HexInteger>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    compute_ms: f64,
    candidates: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WireOutcome {
    Ok,
    Failed,
    Rejected,
}

impl From<JobAnswer> for WireAnswer {
    fn from(answer: JobAnswer) -> Self {
        let (outcome, value, reason) = match answer.outcome {
            JobOutcome::Ok { value } => (WireOutcome::Ok, value, None),
            JobOutcome::Failed { reason } => (WireOutcome::Failed, None, Some(reason)),
            JobOutcome::Rejected { reason } => (WireOutcome::Rejected, None, Some(reason)),
        };
        Self {
            job: answer.job,
            outcome,
            value,
            reason,
            compute_ms: answer.compute_ms,
            candidates: answer.candidates,
        }
    }
}

impl From<WireAnswer> for JobAnswer {
    fn from(wire: WireAnswer) -> Self {
        let reason = wire.reason.unwrap_or_default();
        Self {
            job: wire.job,
            outcome: match wire.outcome {
                WireOutcome::Ok => JobOutcome::Ok { value: wire.value },
                WireOutcome::Failed => JobOutcome::Failed { reason },
                WireOutcome::Rejected => JobOutcome::Rejected { reason },
            },
            compute_ms: wire.compute_ms,
            candidates: wire.candidates,
        }
    }
}

/// One message of a results queue: the answers to one work unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnitAnswer {
    /// Format of this message, see [`super::VERSION`].
    pub version: u32,
    /// The run that it belongs to.
    pub run: RunId,
    /// The unit that it answers.
    pub unit: u64,
    /// The unit's `published_ns`, as it was received; 0 where it could not be read.
    pub published_ns: u64,
    /// Whether the broker had handed the unit out before.
    pub redelivered: bool,
    /// Name of the node that did the work.
    pub node: String,
    /// Number of the worker thread on that node.
    pub worker: u32,
    /// The answers; in a unit that was refused as a whole there are none.
    pub jobs: Vec<JobAnswer>,
    /// Why the unit was refused as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<String>,
    /// State of the node: the first answer of a run brings two, from before and after its work, later ones at most one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<NodeSample>,
}
