//! Messages of a results queue.

use primepool_common::{
    message::{
        JobOutcome, MAX_INTEGER_BITS, MAX_NAME_BYTES, MAX_SAMPLES, MAX_UNIT_JOBS, VERSION,
        decode_answer,
    },
    metrics::{encode, points},
    text::MAX_REASON_BYTES,
};
use primepool_fuzz::{assert_brief, within_bounds};

pub(crate) fn run(body: &[u8]) {
    let answer = match within_bounds(body, decode_answer) {
        Ok(answer) => answer,
        Err(error) => return assert_brief(&error.to_string()),
    };
    assert_eq!(answer.version, VERSION);
    assert!(answer.node.len() <= MAX_NAME_BYTES);
    assert!(answer.samples.len() <= MAX_SAMPLES);
    assert!(answer.jobs.len() as u64 <= MAX_UNIT_JOBS);
    assert!(answer.first.checked_add(answer.jobs.len() as u64).is_some());
    let reasons = answer.jobs.iter().filter_map(|job| match &job.outcome {
        JobOutcome::Ok { .. } | JobOutcome::Relations(_) => None,
        JobOutcome::Factored(found) => found.reason.as_ref(),
        JobOutcome::Failed { reason } | JobOutcome::Rejected { reason } => Some(reason),
    });
    for reason in reasons.chain(&answer.rejected).chain(&answer.handed_back) {
        assert!(reason.len() <= MAX_REASON_BYTES);
        assert!(!reason.contains(char::is_control));
    }
    for value in answer.jobs.iter().filter_map(|job| job.value()) {
        assert!(value.0.significant_bits() <= MAX_INTEGER_BITS);
    }
    for found in answer.jobs.iter().filter_map(|job| job.factorization()) {
        for power in found.factors.iter().chain(&found.composites) {
            assert!(power.0.0.significant_bits() <= MAX_INTEGER_BITS);
        }
        assert!(
            found
                .stages
                .iter()
                .all(|stage| stage.stage.len() <= MAX_NAME_BYTES)
        );
    }
    for sample in &answer.samples {
        let mut line = String::new();
        encode(&points::node(&answer.node, None, sample), &mut line);
        assert_eq!(line.matches('\n').count(), 1, "{line}");
    }
    let written = serde_json::to_vec(&answer).expect("an answer has a JSON form");
    let again = decode_answer(&written).expect("it can be read back");
    // An answer without jobs may be written without `first`, which is then read back as 0.
    assert!(again == answer || answer.jobs.is_empty() && again.first == 0);
    assert_eq!(again.jobs, answer.jobs);
}
