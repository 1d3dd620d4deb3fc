//! The lines of a results file.

use std::{borrow::Cow, sync::Arc};

use primepool_common::message::HexInteger;
use primepool_engine::Integer;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A line of the results file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Index of the job in its run.
    pub job: u64,
    /// `ok`, `failed` or `rejected`.
    pub outcome: RowOutcome,
    /// The prime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prime: Option<Hex>,
    /// Bits of the prime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits: Option<u32>,
    /// For `next-prime`: the integer that was asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Hex>,
    /// Why there is no prime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The node that did the work.
    pub node: Arc<str>,
    /// Its worker thread.
    pub worker: u32,
    /// From publishing to the answer, on the producer's clock.
    pub latency_ms: f64,
    /// The part of the latency in which nobody worked on the unit: in queues and on the way, there and back.
    pub queue_wait_ms: f64,
    /// Time of a worker.
    pub compute_ms: f64,
    /// Numbers that were put to a probable-prime test.
    pub candidates: u64,
    /// Whether the broker had to hand the unit out more than once.
    pub redelivered: bool,
}

/// An integer that is written in hexadecimal after `0x`, as most languages read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hex(pub Integer);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:#x}", self.0))
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <Cow<'de, str>>::deserialize(deserializer)?;
        let read = HexInteger::parse_human(&text).map_err(serde::de::Error::custom)?;
        Ok(Self(read.0))
    }
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RowOutcome {
    /// Done.
    Ok,
    /// The engine could not do it, or its result was wrong.
    Failed,
    /// The job is invalid.
    Rejected,
}

impl RowOutcome {
    /// The word that stands for it in results and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
        }
    }
}

/// Which jobs the results of earlier sessions answer, and how many of them well.
///
/// # Errors
/// A line that is none of ours, with its number.
pub fn read_back(text: &str, count: u64) -> Result<(Vec<bool>, u64), String> {
    let mut done = vec![false; count as usize];
    let mut ok = 0;
    for (number, line) in (1..).zip(text.lines()) {
        let row: Row =
            serde_json::from_str(line).map_err(|error| format!("line {number}: {error}"))?;
        let seen = done
            .get_mut(row.job as usize)
            .ok_or_else(|| format!("line {number}: the run has no job {}", row.job))?;
        if *seen {
            return Err(format!("line {number}: job {} a second time", row.job));
        }
        *seen = true;
        ok += u64::from(row.outcome == RowOutcome::Ok);
    }
    Ok((done, ok))
}
