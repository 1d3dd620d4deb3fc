//! Messages of a job queue.

use primepool_common::message::{
    MAX_AVOIDED, MAX_INTEGER_BITS, MAX_NAME_BYTES, MAX_UNIT_JOBS, VERSION, Work, decode_unit,
};
use primepool_fuzz::{assert_brief, within_bounds};

pub(crate) fn run(body: &[u8]) {
    let unit = match within_bounds(body, decode_unit) {
        Ok(unit) => unit,
        Err((error, envelope)) => {
            assert_brief(&error.to_string());
            if let Some(envelope) = envelope {
                assert!(envelope.kind.len() <= MAX_NAME_BYTES);
            }
            return;
        }
    };
    assert_eq!(unit.version, VERSION);
    assert!(unit.avoid.len() <= MAX_AVOIDED);
    assert!(unit.avoid.iter().all(|node| node.len() <= MAX_NAME_BYTES));
    if let Work::NextPrime(_) | Work::Factor(_) = &unit.work {
        assert!(unit.work.count() <= MAX_UNIT_JOBS);
        assert!(unit.work.bits() <= MAX_INTEGER_BITS);
    }
    let written = serde_json::to_vec(&unit).expect("a unit has a JSON form");
    assert_eq!(decode_unit(&written).as_ref(), Ok(&unit));
    // Another JSON parser may reject the message, but never reads a different unit or kind.
    if let Ok(value) = serde_json::from_slice::<serde_json::Value>(body) {
        assert_eq!(value["unit"], unit.unit);
        assert_eq!(value["kind"], unit.work.kind().as_str());
    }
    match unit.validate(MAX_INTEGER_BITS) {
        Ok(()) => {
            assert!((1..=MAX_UNIT_JOBS).contains(&unit.work.count()));
            assert!(unit.first.checked_add(unit.work.count()).is_some());
            assert_eq!(unit.time_limit().is_some(), unit.deadline_ms.is_some());
        }
        Err(reason) => assert_brief(&reason),
    }
}
