use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::{MAX_AVOIDED, MAX_UNIT_JOBS, RunId, VERSION};
use crate::{
    jobs::{JobFields, JobKind, Method, MissingField, Share, Work},
    wire::{HexInteger, bounded},
};

/// Number of a unit in its run, as a batch and an index in the batch. Messages carry both as one
/// integer.
///
/// Batch 0 contains the units that a run has from its start. Every other batch contains the units
/// of one stage of a campaign and can be cancelled separately.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UnitId {
    /// Number of the batch.
    pub batch: u32,
    /// Index in the batch.
    pub index: u32,
}

impl UnitId {
    /// Splits the number of a message into batch and index.
    #[must_use]
    pub fn of(number: u64) -> Self {
        Self {
            batch: (number >> 32) as u32,
            index: number as u32,
        }
    }

    /// The number in messages: `batch · 2^32 + index`.
    #[must_use]
    pub fn number(self) -> u64 {
        (u64::from(self.batch) << 32) | u64::from(self.index)
    }

    /// Whether the unit belongs to a campaign.
    #[must_use]
    pub fn is_of_campaign(self) -> bool {
        self.batch > 0
    }
}

/// A message in a job queue: jobs that one worker processes together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Fields")]
pub struct WorkUnit {
    /// Format of this message, see [`VERSION`].
    pub version: u32,
    /// Run that the unit belongs to; also the routing key of its answer.
    pub run: RunId,
    /// Number of this unit in its run.
    pub unit: u64,
    /// Index of the unit's first job in the run; the other jobs follow it.
    pub first: u64,
    /// Time of publication: nanoseconds since 1970 on the producer's clock. It is copied into the
    /// answer.
    pub published_ns: u64,
    /// Seed of the run: job `i` draws from the stream (seed, i). Without a seed, the operating
    /// system provides the randomness.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Nodes that must leave the unit to others, because their results for it were wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub avoid: Vec<String>,
    /// Time limit per job in milliseconds of a worker's time. The jobs of a unit share the sum.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
    /// Whether a consumer that must not process the unit answers with
    /// [`super::UnitAnswer::handed_back`]. Otherwise, and by consumers that do not know this field,
    /// the unit is requeued after a pause.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hand_back: bool,
    /// Whether the producer tests every prime of the answer with a strong test to a random base. A
    /// consumer then leaves out one of its own such tests of random primes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub verified: bool,
    /// The jobs of the unit.
    #[serde(flatten)]
    pub work: Work,
}

/// The JSON form of a [`WorkUnit`]: one flat object. If serde distinguished the kinds (`flatten`,
/// `tag`), it would buffer the whole object first, including unknown fields, in more than ten times
/// its length.
#[derive(Deserialize)]
struct Fields {
    version: u32,
    run: RunId,
    unit: u64,
    first: u64,
    published_ns: u64,
    #[serde(default)]
    seed: Option<u64>,
    #[serde(default, deserialize_with = "bounded::names::<_, MAX_AVOIDED>")]
    avoid: Vec<String>,
    #[serde(default)]
    deadline_ms: Option<u64>,
    #[serde(default)]
    hand_back: bool,
    #[serde(default)]
    verified: bool,
    kind: JobKind,
    #[serde(default)]
    bits: Option<u32>,
    #[serde(default)]
    count: Option<u64>,
    #[serde(default)]
    method: Method,
    #[serde(default)]
    prove: bool,
    #[serde(default, deserialize_with = "integers")]
    after: Option<Vec<HexInteger>>,
    #[serde(default, deserialize_with = "integers")]
    numbers: Option<Vec<HexInteger>>,
    #[serde(default)]
    leave_above: Option<u32>,
    #[serde(default)]
    share: Option<Share>,
}

fn integers<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<HexInteger>>, D::Error> {
    bounded::list::<_, _, { MAX_UNIT_JOBS as usize }>(deserializer).map(Some)
}

impl TryFrom<Fields> for WorkUnit {
    type Error = MissingField;

    fn try_from(fields: Fields) -> Result<Self, MissingField> {
        let jobs = JobFields {
            bits: fields.bits,
            count: fields.count,
            most_bits: None,
            method: fields.method,
            prove: fields.prove,
            after: fields.after,
            numbers: fields.numbers,
            leave_above: fields.leave_above,
            share: fields.share,
        };
        let work = Work::read(fields.kind, jobs)?;
        Ok(Self {
            version: fields.version,
            run: fields.run,
            unit: fields.unit,
            first: fields.first,
            published_ns: fields.published_ns,
            seed: fields.seed,
            avoid: fields.avoid,
            deadline_ms: fields.deadline_ms,
            hand_back: fields.hand_back,
            verified: fields.verified,
            work,
        })
    }
}

impl WorkUnit {
    /// AMQP `message_id` of this unit: `<run>/<unit>`.
    #[must_use]
    pub fn message_id(&self) -> String {
        format!("{}/{}", self.run, self.unit)
    }

    /// Number of the unit's batch, see [`UnitId`].
    #[must_use]
    pub fn batch(&self) -> u32 {
        UnitId::of(self.unit).batch
    }

    /// Longest time that a worker may spend on the unit, if there is a limit.
    #[must_use]
    pub fn time_limit(&self) -> Option<Duration> {
        let all = self.deadline_ms?.saturating_mul(self.work.count());
        Some(Duration::from_millis(all))
    }

    /// Checks that a consumer which accepts numbers of up to `max_bits` bits can process the unit.
    ///
    /// # Errors
    /// The reason for the rejection, for people.
    pub fn validate(&self, max_bits: u32) -> Result<(), String> {
        debug_assert_eq!(self.version, VERSION);
        let (count, bits) = (self.work.count(), self.work.bits());
        if !(1..=MAX_UNIT_JOBS).contains(&count) {
            return Err(format!(
                "a unit of {count} jobs (1 to {MAX_UNIT_JOBS} are allowed)"
            ));
        }
        if self.avoid.len() > MAX_AVOIDED {
            return Err(format!(
                "a unit that {} nodes must leave to others ({MAX_AVOIDED} at most)",
                self.avoid.len()
            ));
        }
        if self.first.checked_add(count).is_none() {
            return Err(format!("job index {} is too large", self.first));
        }
        self.work.jobs().validate()?;
        if bits > max_bits {
            return Err(format!(
                "{bits} bits are above the limit of {max_bits} bits of this consumer (its --max-bits)"
            ));
        }
        Ok(())
    }
}
