//! Dead letters as text.

use std::fmt::Write;

use super::letter::DeadLetter;
use crate::columns::{
    Align::{Left, Right},
    Table, about, cut, or_dash,
};

/// Most characters of a reason in a list.
const WIDEST_REASON: usize = 80;

/// A table with one line for each letter. `now_s`: Unix time in seconds.
pub(super) fn list(letters: &[DeadLetter], now_s: u64) -> String {
    let mut table = Table::new(&[
        ("ID", Left),
        ("AGE", Right),
        ("KIND", Left),
        ("RUN", Left),
        ("UNIT", Right),
        ("BY", Left),
        ("REASON", Left),
    ]);
    for letter in letters {
        let unit = letter.unit.as_ref();
        table.row(vec![
            letter.id.clone(),
            age(letter, now_s),
            unit.map_or("-", |unit| unit.kind.as_str()).to_owned(),
            or_dash(letter.run.as_ref()),
            or_dash(unit.map(|unit| unit.unit)),
            by(letter).to_owned(),
            cut(&letter.reason, WIDEST_REASON),
        ]);
    }
    table.render()
}

/// All known fields of a letter. `now_s`: Unix time in seconds.
pub(super) fn letter(letter: &DeadLetter, now_s: u64) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:<10}{value}");
    };
    line("id", &letter.id);
    line("reason", &letter.reason);
    line("by", by(letter));
    line("queue", letter.queue.as_deref().unwrap_or("-"));
    line("run", &or_dash(letter.run.as_ref()));
    match (&letter.unit, &letter.error) {
        (Some(unit), _) => {
            line("unit", &format!("{} ({})", unit.unit, unit.kind));
            let jobs = format!(
                "{} from number {} on: {}",
                unit.jobs, unit.first_job, unit.what
            );
            line("jobs", &jobs);
        }
        (None, Some(error)) => line("unit", &format!("cannot be read: {error}")),
        (None, None) => {}
    }
    line("age", &age(letter, now_s));
    line("size", &format!("{} bytes", letter.bytes));
    line("looks", &letter.looks.to_string());
    text
}

/// A number of letters as text, with the right plural.
pub(super) fn letters(count: u64) -> String {
    match count {
        1 => "1 letter".to_owned(),
        count => format!("{count} letters"),
    }
}

fn by(letter: &DeadLetter) -> &str {
    letter.node.as_deref().unwrap_or("broker")
}

fn age(letter: &DeadLetter, now_s: u64) -> String {
    let age = letter.published_s.map(|at| now_s.saturating_sub(at));
    or_dash(age.map(|age| about(age as f64)))
}

#[cfg(test)]
mod tests {
    use lapin::BasicProperties;

    use super::*;

    #[test]
    fn a_letter_is_shown_with_what_is_known() {
        const UNIT: &[u8] = br#"{"version":1,"run":"r1","unit":3,"first":20,"published_ns":0,"kind":"next-prime","bits":0,"after":["deadbeef","5b"]}"#;
        let known = DeadLetter::of(&BasicProperties::default().with_timestamp(100), UNIT);
        let shown = letter(&known, 160);
        for part in [
            "run       r1\n",
            "(next-prime)",
            "2 from number 20 on",
            "60 s",
        ] {
            assert!(shown.contains(part), "{part:?} in {shown}");
        }
        assert!(!shown.contains("deadbeef"), "{shown}");
        let unknown = DeadLetter::of(&BasicProperties::default(), b"\x1b");
        let shown = letter(&unknown, 160);
        assert!(shown.contains("cannot be read: "), "{shown}");
        let listed = list(&[known, unknown], 160);
        assert_eq!(listed.lines().count(), 3, "{listed}");
        assert!(listed.contains("no reason is given"), "{listed}");
    }
}
