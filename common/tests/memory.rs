//! Decoding a message takes only a few times its length in memory, and much less if it is refused.
#![allow(clippy::unwrap_used)]

mod counting;

use primepool_common::message::{
    MAX_AVOIDED, MAX_BODY_BYTES, MAX_UNIT_JOBS, decode_answer, decode_unit,
};

/// Peak memory of `work`, in bytes.
fn memory(work: impl FnOnce()) -> usize {
    counting::measure(work).1
}

/// A body of the largest size: `head`, as many `item`s as fit, and `tail`.
fn filled(head: &str, item: &str, tail: &str) -> Vec<u8> {
    let count = (MAX_BODY_BYTES - head.len() - tail.len()) / (item.len() + 1);
    let mut body = Vec::with_capacity(MAX_BODY_BYTES);
    body.extend_from_slice(head.as_bytes());
    for i in 0..count {
        body.extend_from_slice(if i == 0 { b"" } else { b"," });
        body.extend_from_slice(item.as_bytes());
    }
    body.extend_from_slice(tail.as_bytes());
    body
}

const UNIT: &str = r#"{"version":1,"run":"r1","unit":3,"first":0,"published_ns":5"#;
const ANSWER: &str = r#"{"version":1,"run":"r1","unit":3,"published_ns":5,"redelivered":false,"node":"n","worker":0"#;

#[test]
fn lists_without_end_are_refused_when_they_are_too_long() {
    for (list, item, most) in [
        ("after", r#""0""#, MAX_UNIT_JOBS),
        ("avoid", r#""n""#, MAX_AVOIDED as u64),
    ] {
        let head = format!("{UNIT},\"kind\":\"next-prime\",\"{list}\":[");
        let body = filled(&head, item, "]}");
        let taken = memory(|| {
            let (error, envelope) = decode_unit(&body).unwrap_err();
            let error = error.to_string();
            assert!(error.contains(&format!("{most} items")), "{error}");
            assert!(envelope.is_some(), "its run is told");
        });
        assert!(taken < 4 << 20, "{list}: {taken}");
    }
    for (list, item) in [
        ("values", "null"),
        ("values", r#""0""#),
        ("compute_us", "0"),
        ("candidates", "0"),
        ("problems", r#"{"job":0,"outcome":"failed","reason":""}"#),
    ] {
        let body = filled(&format!("{ANSWER},\"{list}\":["), item, "]}");
        let taken = memory(|| {
            let error = decode_answer(&body).unwrap_err().to_string();
            assert!(error.contains("50000 items"), "{error}");
        });
        assert!(taken < 8 << 20, "{list}: {taken}");
    }
}

#[test]
fn what_nobody_asks_for_is_not_kept() {
    let tail = r#"],"kind":"noop","count":1}"#;
    let body = filled(&format!("{UNIT},\"colours\":["), "0", tail);
    let taken = memory(|| assert!(decode_unit(&body).is_ok()));
    assert!(taken < 4096, "{taken}");
    let body = filled(&format!("{ANSWER},\"colours\":["), "[]", "]}");
    let taken = memory(|| assert!(decode_answer(&body).is_ok()));
    assert!(taken < 4096, "{taken}");
}

#[test]
fn a_long_text_does_not_come_back() {
    let text = "\u{80}".repeat((MAX_BODY_BYTES - 200) / 2);
    let body = format!(r#"{UNIT},"kind":"prime","count":1,"bits":"{text}"}}"#);
    let (error, _) = decode_unit(body.as_bytes()).unwrap_err();
    let error = error.to_string();
    assert!(
        error.len() < 400 && !error.contains(char::is_control),
        "{error}"
    );
    assert!(error.contains("at line 1 column"), "{error}");

    let body = format!(r#"{ANSWER},"rejected":"{text}"}}"#);
    let taken = memory(|| {
        let answer = decode_answer(body.as_bytes()).unwrap();
        assert!(answer.rejected.is_some_and(|reason| reason.len() <= 300));
    });
    assert!(taken < 4096, "{taken}");
}
