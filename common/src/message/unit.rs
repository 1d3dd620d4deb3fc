use std::{fmt, str::FromStr, time::Duration};

use primepool_engine::factor::{MAX_CURVE_BITS, MAX_SIEVE_BITS, spread};
use serde::{Deserialize, Deserializer, Serialize};

use super::{HexInteger, MAX_AVOIDED, MAX_UNIT_JOBS, RunId, VERSION, bounded};
use crate::text::shorten;

/// What a job asks for. Its name is the routing key, the message `type` and part of the queue's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobKind {
    /// A random prime with exactly N bits.
    Prime,
    /// A random safe prime: p and (p − 1) / 2 are both prime.
    SafePrime,
    /// The least prime above a given integer.
    NextPrime,
    /// The prime factors of a given integer.
    Factor,
    /// Nothing at all: measures what dispatch costs.
    Noop,
}

impl JobKind {
    /// Every kind that this build knows.
    pub const ALL: [Self; 5] = [
        Self::Prime,
        Self::SafePrime,
        Self::NextPrime,
        Self::Factor,
        Self::Noop,
    ];

    /// The kind's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prime => "prime",
            Self::SafePrime => "safe-prime",
            Self::NextPrime => "next-prime",
            Self::Factor => "factor",
            Self::Noop => "noop",
        }
    }
}

impl fmt::Display for JobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for JobKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| {
                format!(
                    "{:?} is not a kind of job: prime, safe-prime, next-prime or factor",
                    shorten(text, 80)
                )
            })
    }
}

/// How a random prime is chosen among those of its size, see [`primepool_engine::Method`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The first prime from a random start on.
    #[default]
    Incremental,
    /// The first prime among independent random numbers.
    Uniform,
}

impl Method {
    /// Whether a message need not name it.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Incremental => "incremental",
            Self::Uniform => "uniform",
        })
    }
}

impl FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Incremental, Self::Uniform]
            .into_iter()
            .find(|method| method.to_string() == text)
            .ok_or_else(|| {
                format!(
                    "{:?} is not a method: incremental or uniform",
                    shorten(text, 80)
                )
            })
    }
}

impl From<Method> for primepool_engine::Method {
    fn from(method: Method) -> Self {
        match method {
            Method::Incremental => Self::Incremental,
            Method::Uniform => Self::Uniform,
        }
    }
}

/// A share of the work on one hard composite, see [`primepool_engine::factor::spread`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Share {
    /// Elliptic curves. The answer's value is a divisor, or nothing; its `candidates` are the curves done.
    Curves {
        /// Bound of the curves.
        b1: u32,
        /// Bound of p − 1, which goes before the first curve.
        p_minus_1: u32,
        /// The first curve.
        first: u32,
        /// How many.
        count: u32,
    },
    /// The quadratic sieve. The answer is a packet of relations; its `candidates` are the families done.
    Sieve {
        /// The first polynomial family.
        first: u64,
        /// How many.
        count: u32,
    },
}

impl Share {
    /// Whether a consumer does this much.
    fn validate(&self, bits: u32) -> Result<(), String> {
        let (count, first_and_count) = match *self {
            Self::Curves {
                b1,
                p_minus_1,
                first,
                count,
            } => {
                if bits > MAX_CURVE_BITS {
                    return Err(format!(
                        "curves on {bits} bits: they are run on {MAX_CURVE_BITS} at most"
                    ));
                }
                if !(1..=MAX_CURVE_BOUND).contains(&b1) || p_minus_1 > MAX_CURVE_BOUND {
                    return Err(format!(
                        "curves with bound {b1}, p − 1 with {p_minus_1} (1 to {MAX_CURVE_BOUND})"
                    ));
                }
                (count, first.checked_add(count).map(u64::from))
            }
            Self::Sieve { first, count } => {
                let sizes = spread::MIN_BITS..=MAX_SIEVE_BITS;
                if !sizes.contains(&bits) {
                    return Err(format!(
                        "{bits} bits are none for the sieve: it takes {} to {}",
                        sizes.start(),
                        sizes.end()
                    ));
                }
                (count, first.checked_add(count.into()))
            }
        };
        if !(1..=MAX_SHARE).contains(&count) || first_and_count.is_none() {
            return Err(format!(
                "{count} curves or families in one unit (1 to {MAX_SHARE})"
            ));
        }
        Ok(())
    }
}

/// Largest bound of curves and of p − 1 that a consumer takes: seconds for one.
const MAX_CURVE_BOUND: u32 = 50_000_000;

/// Most curves or families of a unit.
pub const MAX_SHARE: u32 = 100_000;

/// A unit of a run: its batch and its index in the batch. Messages carry both as one number.
///
/// Batch 0 is the units that a run has from its start. Each other batch is the units of one stage
/// of a campaign, and can be cancelled alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UnitId {
    /// Number of the batch.
    pub batch: u32,
    /// Index in the batch.
    pub index: u32,
}

impl UnitId {
    /// The unit with this number.
    #[must_use]
    pub fn of(number: u64) -> Self {
        Self {
            batch: (number >> 32) as u32,
            index: number as u32,
        }
    }

    /// Its number in messages: `batch · 2^32 + index`.
    #[must_use]
    pub fn number(self) -> u64 {
        (u64::from(self.batch) << 32) | u64::from(self.index)
    }

    /// Whether it is a unit of a campaign.
    #[must_use]
    pub fn is_of_campaign(self) -> bool {
        self.batch > 0
    }
}

/// What the jobs of one unit ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Work {
    /// `count` random primes of `bits` bits.
    Prime {
        /// Bits of each prime, its top bit set.
        bits: u32,
        /// Jobs in this unit.
        count: u64,
        /// How each is chosen.
        #[serde(skip_serializing_if = "Method::is_default")]
        method: Method,
    },
    /// `count` random safe primes of `bits` bits.
    SafePrime {
        /// Bits of each prime, its top bit set.
        bits: u32,
        /// Jobs in this unit.
        count: u64,
        /// How each is chosen.
        #[serde(skip_serializing_if = "Method::is_default")]
        method: Method,
    },
    /// For each integer the least prime above it.
    NextPrime {
        /// The integers, a job each.
        after: Vec<HexInteger>,
    },
    /// For each integer its prime factors.
    Factor {
        /// The integers, a job each.
        numbers: Vec<HexInteger>,
        /// Composites of more bits are left to whoever asks, who has several workers at them.
        #[serde(skip_serializing_if = "Option::is_none")]
        leave_above: Option<u32>,
        /// Only this share of the work on the one integer that there is.
        #[serde(skip_serializing_if = "Option::is_none")]
        share: Option<Share>,
    },
    /// `count` times nothing.
    Noop {
        /// Jobs in this unit.
        count: u64,
    },
}

impl Work {
    /// The kind of these jobs.
    #[must_use]
    pub fn kind(&self) -> JobKind {
        match self {
            Self::Prime { .. } => JobKind::Prime,
            Self::SafePrime { .. } => JobKind::SafePrime,
            Self::NextPrime { .. } => JobKind::NextPrime,
            Self::Factor { .. } => JobKind::Factor,
            Self::Noop { .. } => JobKind::Noop,
        }
    }

    /// How many jobs there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        match self {
            Self::Prime { count, .. } | Self::SafePrime { count, .. } | Self::Noop { count } => {
                *count
            }
            Self::NextPrime { after: numbers } | Self::Factor { numbers, .. } => {
                numbers.len() as u64
            }
        }
    }

    /// Bits of the largest number that these jobs work on; 0 where there is none.
    #[must_use]
    pub fn bits(&self) -> u32 {
        match self {
            Self::Prime { bits, .. } | Self::SafePrime { bits, .. } => *bits,
            Self::NextPrime { after: numbers } | Self::Factor { numbers, .. } => numbers
                .iter()
                .map(|n| n.0.significant_bits())
                .max()
                .unwrap_or(0),
            Self::Noop { .. } => 0,
        }
    }
}

/// One message of a job queue: jobs that one worker does in one go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Fields")]
pub struct WorkUnit {
    /// Format of this message, see [`VERSION`].
    pub version: u32,
    /// The run that it belongs to; also the routing key of its answer.
    pub run: RunId,
    /// Number of this unit in its run.
    pub unit: u64,
    /// Index in the run of this unit's first job; the others follow it.
    pub first: u64,
    /// When the producer published it: nanoseconds since 1970 on the producer's clock. Comes back in the answer.
    pub published_ns: u64,
    /// Seed of the run: job `i` draws from the stream (seed, i). Without one the operating system is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Nodes that must leave it to others: their results for it were wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub avoid: Vec<String>,
    /// Milliseconds of a worker's time that each job may take. The jobs of a unit share theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
    /// What to do.
    #[serde(flatten)]
    pub work: Work,
}

/// A [`WorkUnit`] as it comes: one flat object. With the kinds told apart by serde (`flatten`, `tag`), all of it would be kept
/// before anything is read, unknown fields too, at ten times its length and more.
#[derive(Deserialize)]
struct Fields {
    version: u32,
    run: RunId,
    unit: u64,
    first: u64,
    published_ns: u64,
    #[serde(default)]
    seed: Option<u64>,
    #[serde(default, deserialize_with = "bounded::words::<_, MAX_AVOIDED>")]
    avoid: Vec<String>,
    #[serde(default)]
    deadline_ms: Option<u64>,
    kind: JobKind,
    #[serde(default)]
    bits: Option<u32>,
    #[serde(default)]
    count: Option<u64>,
    #[serde(default)]
    method: Method,
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

/// A field is not there that the kind of the unit has.
#[derive(Debug, thiserror::Error)]
#[error("missing field `{0}`")]
struct Missing(&'static str);

impl TryFrom<Fields> for WorkUnit {
    type Error = Missing;

    fn try_from(fields: Fields) -> Result<Self, Missing> {
        let bits = fields.bits.ok_or(Missing("bits"));
        let count = fields.count.ok_or(Missing("count"));
        let method = fields.method;
        let work = match fields.kind {
            JobKind::Prime => Work::Prime {
                bits: bits?,
                count: count?,
                method,
            },
            JobKind::SafePrime => Work::SafePrime {
                bits: bits?,
                count: count?,
                method,
            },
            JobKind::NextPrime => Work::NextPrime {
                after: fields.after.ok_or(Missing("after"))?,
            },
            JobKind::Factor => Work::Factor {
                numbers: fields.numbers.ok_or(Missing("numbers"))?,
                leave_above: fields.leave_above,
                share: fields.share,
            },
            JobKind::Noop => Work::Noop { count: count? },
        };
        Ok(Self {
            version: fields.version,
            run: fields.run,
            unit: fields.unit,
            first: fields.first,
            published_ns: fields.published_ns,
            seed: fields.seed,
            avoid: fields.avoid,
            deadline_ms: fields.deadline_ms,
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

    /// The unit's batch, see [`UnitId`].
    #[must_use]
    pub fn batch(&self) -> u32 {
        UnitId::of(self.unit).batch
    }

    /// How long a worker may work on the unit, if there is a limit.
    #[must_use]
    pub fn time_limit(&self) -> Option<Duration> {
        let all = self.deadline_ms?.saturating_mul(self.work.count());
        Some(Duration::from_millis(all))
    }

    /// Whether the unit can be worked on by a consumer that takes numbers of up to `max_bits`.
    ///
    /// # Errors
    /// The reason to answer with, for people.
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
        let smallest = match self.work.kind() {
            JobKind::Prime => 2,
            JobKind::SafePrime => 3,
            JobKind::NextPrime | JobKind::Factor | JobKind::Noop => 0,
        };
        if bits < smallest {
            return Err(format!(
                "no {} has {bits} bits: the least is {smallest}",
                self.work.kind()
            ));
        }
        if bits > max_bits {
            return Err(format!(
                "{bits} bits are above the limit of {max_bits} bits of this consumer (its --max-bits)"
            ));
        }
        if let Work::Factor {
            share: Some(share), ..
        } = &self.work
        {
            if count != 1 {
                return Err(format!("a share of the work on {count} integers"));
            }
            share.validate(bits)?;
        }
        Ok(())
    }
}
