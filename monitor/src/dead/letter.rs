//! What is shown of a dead letter.

use std::hash::{DefaultHasher, Hash, Hasher};

use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};
use primepool_common::{
    jobs::JobKind,
    message::{RunId, decode_unit},
    text::{self, shorten},
    topology::{JOBS_EXCHANGE, NODE_HEADER, REASON_HEADER},
};
use serde::Serialize;

/// Header in which a quorum queue counts earlier deliveries of a message.
const DELIVERY_COUNT_HEADER: &str = "x-delivery-count";

/// Header in which RabbitMQ records the queues that dead-lettered a message, and why.
const DEATH_HEADER: &str = "x-death";

/// Longest queue or node name that is shown, in bytes.
const NAME_BYTES: usize = 80;

/// A dead letter without its body. Of the unit in it only the description is kept, never the
/// integers of its jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct DeadLetter {
    /// Hash of the content, 16 hexadecimal digits: a letter has the same id whenever it is read.
    pub(crate) id: String,
    /// Why the message was dead-lettered.
    pub(crate) reason: String,
    /// The node that dead-lettered it; `None` if the broker did.
    pub(crate) node: Option<String>,
    /// The queue that it comes from.
    pub(crate) queue: Option<String>,
    /// The run that the unit belongs to.
    pub(crate) run: Option<RunId>,
    /// The unit, if this version can decode it; only then can it be requeued.
    pub(crate) unit: Option<UnitInLetter>,
    /// What is wrong with the body, if this version cannot decode it.
    pub(crate) error: Option<String>,
    /// When the unit was published: Unix time in seconds, by the producer's clock.
    pub(crate) published_s: Option<u64>,
    /// Size of the body.
    pub(crate) bytes: usize,
    /// How often the letter was taken out of `primepool.dead` and put back.
    pub(crate) looks: u64,
}

/// Description of a work unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct UnitInLetter {
    pub(crate) kind: JobKind,
    /// Number of the unit in its run.
    pub(crate) unit: u64,
    /// Description of its jobs, such as `primes of 1024 bits`.
    pub(crate) what: String,
    /// Index of its first job in the run.
    pub(crate) first_job: u64,
    pub(crate) jobs: u64,
}

impl DeadLetter {
    /// Describes a message of `primepool.dead`.
    pub(crate) fn of(properties: &BasicProperties, body: &[u8]) -> Self {
        let headers = properties.headers().as_ref();
        let header = |name: &str| headers.and_then(|headers| headers.inner().get(name));
        let by_consumer = header(REASON_HEADER).and_then(text_of);
        let death = header(DEATH_HEADER).and_then(first_death);
        let reason = by_consumer
            .or_else(|| death.map(reason_of_broker))
            .unwrap_or_else(|| "no reason is given".to_owned());
        let node = header(NODE_HEADER).and_then(text_of);
        let routing_key = header("x-primepool-routing-key").and_then(text_of);
        let from = routing_key.map(|key| format!("{JOBS_EXCHANGE}.{key}"));
        let from = from.or_else(|| death.and_then(|death| field(death, "queue")));
        let (run, unit, error) = match decode_unit(body) {
            Ok(unit) => {
                let jobs = unit.work.jobs();
                let described = UnitInLetter {
                    kind: unit.work.kind(),
                    unit: unit.unit,
                    what: text::reason(&jobs.describe()),
                    first_job: unit.first,
                    jobs: unit.work.count(),
                };
                (Some(unit.run), Some(described), None)
            }
            Err((error, envelope)) => {
                let error = text::reason(&error.to_string());
                (envelope.map(|envelope| envelope.run), None, Some(error))
            }
        };
        let looks = match header(DELIVERY_COUNT_HEADER) {
            Some(count) => number_of(count),
            None => 0,
        };
        let id = id_of(properties, &reason, node.as_deref(), body);
        Self {
            id,
            reason: text::reason(&reason),
            node: node.map(|node| shorten(&node, NAME_BYTES)),
            queue: from.map(|queue| shorten(&queue, NAME_BYTES)),
            run,
            unit,
            error,
            published_s: *properties.timestamp(),
            bytes: body.len(),
            looks,
        }
    }
}

/// Hash of the content. Headers that change with each delivery, such as `x-delivery-count`, are
/// left out.
fn id_of(properties: &BasicProperties, reason: &str, node: Option<&str>, body: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    let message_id = properties.message_id().as_ref();
    let message_id = message_id.map(lapin::types::ShortString::as_str);
    (message_id, reason, node, body).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// The broker's reason for a dead letter, with an explanation.
fn reason_of_broker(death: &FieldTable) -> String {
    let reason = field(death, "reason").unwrap_or_default();
    let meaning = match reason.as_str() {
        "delivery_limit" => "its consumers died or gave it back too often",
        "expired" => "it waited too long",
        "maxlen" => "its queue was full",
        "rejected" => "a consumer rejected it",
        _ => return format!("moved by the broker: {reason}"),
    };
    format!("{reason}: {meaning}")
}

/// The newest entry of `x-death`.
fn first_death(header: &AMQPValue) -> Option<&FieldTable> {
    match header {
        AMQPValue::FieldArray(deaths) => match deaths.as_slice().first()? {
            AMQPValue::FieldTable(death) => Some(death),
            _ => None,
        },
        _ => None,
    }
}

fn field(table: &FieldTable, name: &str) -> Option<String> {
    table.inner().get(name).and_then(text_of)
}

fn text_of(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(text.to_string()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}

fn number_of(value: &AMQPValue) -> u64 {
    let number = match value {
        AMQPValue::LongLongInt(number) => *number,
        AMQPValue::LongInt(number) => (*number).into(),
        AMQPValue::ShortInt(number) => (*number).into(),
        AMQPValue::ShortShortInt(number) => (*number).into(),
        AMQPValue::LongUInt(number) => (*number).into(),
        _ => 0,
    };
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use lapin::types::FieldArray;

    use super::*;

    const UNIT: &str = r#"{"version":1,"run":"r1","unit":3,"first":20,"published_ns":0,"kind":"factor","bits":0,"numbers":["deadbeef","5b"]}"#;

    fn text(text: &str) -> AMQPValue {
        AMQPValue::LongString(text.into())
    }

    fn with_headers(headers: Vec<(&str, AMQPValue)>) -> BasicProperties {
        let mut table = FieldTable::default();
        for (name, value) in headers {
            table.insert(name.into(), value);
        }
        BasicProperties::default().with_headers(table)
    }

    #[test]
    fn a_unit_is_described_without_its_integers() {
        let properties = with_headers(vec![
            (REASON_HEADER, text("wrong\u{1b}[2J")),
            (NODE_HEADER, text("n1")),
            ("x-primepool-routing-key", text("factor")),
        ]);
        let letter = DeadLetter::of(&properties.with_timestamp(7), UNIT.as_bytes());
        assert_eq!(&*letter.reason, "wrong [2J");
        assert_eq!(letter.node.as_deref(), Some("n1"));
        assert_eq!(letter.queue.as_deref(), Some("primepool.jobs.factor"));
        assert_eq!(
            (letter.published_s, letter.error.as_deref()),
            (Some(7), None)
        );
        assert_eq!(letter.run.as_ref().unwrap().as_str(), "r1");
        let unit = letter.unit.as_ref().unwrap();
        assert_eq!(
            (unit.kind, unit.unit, unit.first_job, unit.jobs),
            (JobKind::Factor, 3, 20, 2)
        );
        let shown = format!("{letter:?}{}", serde_json::to_string(&letter).unwrap());
        assert!(!shown.contains("deadbeef"), "{shown}");
    }

    #[test]
    fn what_the_broker_moved_has_its_reason() {
        let mut death = FieldTable::default();
        death.insert("reason".into(), text("delivery_limit"));
        death.insert("queue".into(), text("primepool.jobs.prime"));
        let deaths = FieldArray::from(vec![AMQPValue::FieldTable(death)]);
        let properties = with_headers(vec![(DEATH_HEADER, AMQPValue::FieldArray(deaths))]);
        let letter = DeadLetter::of(&properties, b"no unit");
        assert!(
            letter
                .reason
                .starts_with("delivery_limit: its consumers died")
        );
        assert_eq!(letter.queue.as_deref(), Some("primepool.jobs.prime"));
        assert_eq!((letter.node, letter.run, letter.unit), (None, None, None));
        assert!(letter.error.is_some());
        let other = with_headers(vec![(DEATH_HEADER, text("x"))]);
        assert_eq!(&*DeadLetter::of(&other, b"").reason, "no reason is given");
    }

    #[test]
    fn an_id_is_that_of_the_content() {
        let looked_at = |times, reason| {
            let properties = with_headers(vec![
                (REASON_HEADER, text(reason)),
                (DELIVERY_COUNT_HEADER, AMQPValue::LongLongInt(times)),
            ]);
            DeadLetter::of(&properties, UNIT.as_bytes())
        };
        let (first, second) = (looked_at(0, "a"), looked_at(5, "a"));
        assert_eq!((&first.id, first.id.len()), (&second.id, 16));
        assert_eq!((first.looks, second.looks), (0, 5));
        assert_ne!(looked_at(0, "b").id, first.id);
    }
}
