//! The lines of a results file.

use std::{borrow::Cow, io};

use primepool_common::{message::HexInteger, text::json_error};
use serde::{Deserialize, Deserializer, Serialize};

/// What a line of the results file says of its job; [`Origin`] gives the rest of the line.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Row {
    /// Index of the job in its run.
    pub job: u64,
    /// `ok`, `failed` or `rejected`.
    pub outcome: RowOutcome,
    /// The prime.
    #[serde(default)]
    pub prime: Option<Hex>,
    /// Bits of the prime.
    #[serde(default)]
    pub bits: Option<u32>,
    /// For `next-prime`: the integer that was asked about.
    #[serde(default)]
    pub after: Option<Hex>,
    /// Why there is no prime.
    #[serde(default)]
    pub reason: Option<String>,
    /// Time of a worker.
    pub compute_ms: f64,
    /// Numbers that were put to a probable-prime test.
    pub candidates: u64,
}

/// What all lines of one answer have in common.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Origin {
    /// The node that did the work.
    pub node: String,
    /// Its worker thread.
    pub worker: u32,
    /// From publishing to the answer, on the producer's clock.
    pub latency_ms: f64,
    /// The part of the latency in which nobody worked on the unit: in queues and on the way, there and back.
    pub queue_wait_ms: f64,
    /// Whether the broker had to hand the unit out more than once.
    pub redelivered: bool,
}

/// Appends the lines of one answer. What they have in common is put into JSON once, and the rest without serde's detours: they
/// may be thousands.
///
/// # Errors
/// None in practice: all of it has a JSON form.
pub fn write_lines(origin: &Origin, rows: &[Row], text: &mut Vec<u8>) -> io::Result<()> {
    let tail = serde_json::to_vec(origin)?;
    for row in rows {
        text.extend_from_slice(b"{\"job\":");
        serde_json::to_writer(&mut *text, &row.job)?;
        text.extend_from_slice(b",\"outcome\":\"");
        text.extend_from_slice(row.outcome.as_str().as_bytes());
        text.push(b'"');
        if let Some(prime) = &row.prime {
            push_hex(b",\"prime\":\"", prime, text);
        }
        if let Some(bits) = row.bits {
            text.extend_from_slice(b",\"bits\":");
            serde_json::to_writer(&mut *text, &bits)?;
        }
        if let Some(after) = &row.after {
            push_hex(b",\"after\":\"", after, text);
        }
        if let Some(reason) = &row.reason {
            text.extend_from_slice(b",\"reason\":");
            serde_json::to_writer(&mut *text, reason)?;
        }
        text.extend_from_slice(b",\"compute_ms\":");
        serde_json::to_writer(&mut *text, &row.compute_ms)?;
        text.extend_from_slice(b",\"candidates\":");
        serde_json::to_writer(&mut *text, &row.candidates)?;
        // One object of two: `…` and `{…}` become `…,…}`.
        text.push(b',');
        text.extend_from_slice(&tail[1..]);
        text.push(b'\n');
    }
    Ok(())
}

fn push_hex(key: &[u8], value: &Hex, text: &mut Vec<u8>) {
    text.extend_from_slice(key);
    value.0.push_human(text);
    text.push(b'"');
}

/// An integer that is written in hexadecimal after `0x`, as most languages read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hex(pub HexInteger);

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <Cow<'de, str>>::deserialize(deserializer)?;
        let read = HexInteger::parse_human(&text).map_err(serde::de::Error::custom)?;
        Ok(Self(read))
    }
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
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
        let row: Row = serde_json::from_str(line)
            .map_err(|error| format!("line {number}: {}", json_error(&error)))?;
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn row(job: u64, outcome: RowOutcome) -> Row {
        Row {
            job,
            outcome,
            prime: None,
            bits: None,
            after: None,
            reason: None,
            compute_ms: 0.25,
            candidates: 3,
        }
    }

    #[test]
    fn a_line_is_one_object_and_can_be_read_back() {
        let origin = Origin {
            node: "a \"b\"".to_owned(),
            worker: 1,
            latency_ms: 7.5,
            queue_wait_ms: 1.0,
            redelivered: false,
        };
        let mut found = row(1, RowOutcome::Ok);
        found.prime = Some(Hex(HexInteger(97.into())));
        let mut lost = row(0, RowOutcome::Failed);
        lost.after = Some(Hex(HexInteger((-5).into())));
        lost.bits = Some(7);
        lost.reason = Some("a \"reason\"\n".to_owned());
        let rows = [found, lost];
        let mut text = Vec::new();
        write_lines(&origin, &rows, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        for (line, row) in text.lines().zip(&rows) {
            assert_eq!(&serde_json::from_str::<Row>(line).unwrap(), row);
        }
        assert_eq!(
            text.lines().next().unwrap(),
            r#"{"job":1,"outcome":"ok","prime":"0x61","compute_ms":0.25,"candidates":3,"node":"a \"b\"","worker":1,"latency_ms":7.5,"queue_wait_ms":1.0,"redelivered":false}"#
        );
        assert_eq!(read_back(&text, 3).unwrap(), (vec![true, true, false], 1));
        assert!(read_back(&text, 1).is_err(), "there is no job 1 of 1");
        assert!(read_back(&text.repeat(2), 3).is_err(), "a job twice");
    }
}
