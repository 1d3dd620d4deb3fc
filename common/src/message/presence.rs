//! Announcements of consumers and producers.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{DecodeError, NodeSample, RunId, VERSION, decode::text, is_node_name};
use crate::{jobs::JobKind, wire::bounded};

/// Largest body of a [`Presence`] message, in bytes.
pub const MAX_PRESENCE_BYTES: usize = 4 << 10;

/// Most kinds in a [`NodePresence`].
const MOST_KINDS: usize = 32;

/// An announcement. Its sender repeats it; a subject whose announcements stop counts as gone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Presence {
    /// Format of this message, see [`VERSION`].
    pub version: u32,
    /// Milliseconds until the next announcement, unless this is the last.
    pub every_ms: u32,
    /// Whether this is the last announcement, because its sender stops.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaves: bool,
    /// The consumer or run that is announced.
    #[serde(flatten)]
    pub subject: Subject,
}

/// The subject of an announcement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// A consumer.
    Node(Box<NodePresence>),
    /// A run whose producer works on it.
    Run(Box<RunPresence>),
}

/// State of a consumer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodePresence {
    /// Name of the node.
    #[serde(deserialize_with = "bounded::name")]
    pub name: String,
    /// Version of the program.
    #[serde(deserialize_with = "bounded::name")]
    pub program: String,
    /// Kinds of jobs that the consumer accepts; kinds unknown to this build are left out.
    #[serde(deserialize_with = "known_kinds")]
    pub kinds: Vec<JobKind>,
    /// Bits of the largest numbers that the consumer accepts.
    pub max_bits: u32,
    /// Latest sample of the node's state.
    pub sample: NodeSample,
}

/// State of a run. The integers of its jobs are not announced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunPresence {
    /// Name of the run.
    pub run: RunId,
    /// Description of the jobs, such as `primes of 1024 bits`.
    #[serde(deserialize_with = "bounded::reason")]
    pub what: String,
    /// Number of jobs.
    pub jobs: u64,
    /// Number of jobs that have ended.
    pub done: u64,
    /// Jobs that ended per second in this session.
    pub jobs_per_s: f64,
    /// Start of the session: nanoseconds since 1970 on the producer's clock.
    pub since_ns: u64,
    /// `user@host` of the producer, if it is announced.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "bounded::optional_reason"
    )]
    pub by: Option<String>,
    /// Weight of the run among others (`--share`).
    pub share: u32,
    /// Whether the run would have more units outstanding if it had the pool for itself.
    pub wants_more: bool,
}

impl Presence {
    /// The announcement of a subject; the next one follows after `every`.
    #[must_use]
    pub fn new(subject: Subject, every: Duration, leaves: bool) -> Self {
        Self {
            version: VERSION,
            every_ms: u32::try_from(every.as_millis()).unwrap_or(u32::MAX),
            leaves,
            subject,
        }
    }

    /// Reads an announcement.
    ///
    /// # Errors
    /// The body is not a valid announcement of this version.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let body = text(body, MAX_PRESENCE_BYTES)?;
        let presence: Self =
            serde_json::from_str(body).map_err(|error| DecodeError::from(&error))?;
        if presence.version != VERSION {
            return Err(DecodeError::UnknownVersion(presence.version));
        }
        if let Subject::Node(node) = &presence.subject
            && !is_node_name(&node.name)
        {
            return Err(DecodeError::Malformed("its node's name is none".to_owned()));
        }
        Ok(presence)
    }

    /// The JSON body of the announcement.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Serialising plain data cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

fn known_kinds<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<JobKind>, D::Error> {
    let names = bounded::names::<D, MOST_KINDS>(deserializer)?;
    Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_format_is_frozen() {
        let run = r#"{"version":1,"every_ms":2000,"run":{"run":"r1","what":"primes of 64 bits","jobs":9,"done":4,"jobs_per_s":1.5,"since_ns":7,"by":"u@h","share":1,"wants_more":true}}"#;
        let node = r#"{"version":1,"every_ms":2000,"leaves":true,"node":{"name":"n1","program":"0.1.0","kinds":["prime","noop"],"max_bits":4096,"sample":{"instance":1,"kernel":"gmp","at_ns":2,"workers":3,"busy_workers":1,"busy_s":0.5,"alive_s":1.5,"cores":2.0,"cpu_s":0.25,"cpu_pct":50.0,"pool_cpu_pct":12.5,"mem_used_bytes":1,"mem_total_bytes":4,"rss_bytes":2,"jobs_ok":5,"jobs_failed":0,"in_flight":4}}}"#;
        for body in [run, node] {
            let presence = Presence::decode(body.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(presence.encode()).unwrap(), body);
        }
        let newer = node.replace("\"noop\"", "\"later\"");
        let Subject::Node(node) = Presence::decode(newer.as_bytes()).unwrap().subject else {
            panic!()
        };
        assert_eq!(node.kinds, [JobKind::Prime]);
    }

    #[test]
    fn others_are_refused_and_texts_are_cut() {
        for body in [
            &br#"{"version":2,"every_ms":1,"run":{}}"#[..],
            br#"{"version":1,"every_ms":1}"#,
            b"",
            &[b' '; MAX_PRESENCE_BYTES + 1],
            br#"{"version":1,"every_ms":1,"run":{"run":"../x","what":"","jobs":1,"done":0,"jobs_per_s":0,"since_ns":0,"share":1,"wants_more":false}}"#,
        ] {
            assert!(Presence::decode(body).is_err(), "{body:?}");
        }
        let long = format!(
            r#"{{"version":1,"every_ms":1,"run":{{"run":"r1","what":"\u001b[2J{}","jobs":1,"done":0,"jobs_per_s":0,"since_ns":0,"share":1,"wants_more":false}}}}"#,
            "x".repeat(1000)
        );
        let Subject::Run(run) = Presence::decode(long.as_bytes()).unwrap().subject else {
            panic!()
        };
        assert!(
            run.what.len() <= 300 && !run.what.contains('\u{1b}'),
            "{}",
            run.what
        );
    }
}
