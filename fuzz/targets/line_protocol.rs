//! Points that are encoded, and decoded again as the specification of InfluxDB's line protocol
//! says.

use primepool_common::metrics::{FieldValue, Point, encode};
use primepool_fuzz::{next_number, next_text};

/// Splits at each `separator` that is not escaped by a backslash nor, with `quotes`, inside quotes.
fn split(text: &str, separator: char, quotes: bool) -> Vec<&str> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut is_escaped, mut is_quoted) = (false, false);
    for (place, c) in text.char_indices() {
        if quotes && c == '"' && !is_escaped {
            is_quoted = !is_quoted;
        }
        if c == separator && !is_escaped && !is_quoted {
            parts.push(&text[start..place]);
            start = place + c.len_utf8();
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    assert!(!is_quoted, "a quote is left open: {text}");
    parts.push(&text[start..]);
    parts
}

/// Removes one backslash before each of the `special` characters.
fn unescape(text: &str, special: &str) -> String {
    let mut plain = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let escapes = c == '\\' && chars.peek().is_some_and(|next| special.contains(*next));
        plain.extend(if escapes { chars.next() } else { Some(c) });
    }
    plain
}

fn pair(text: &str, quotes: bool) -> (&str, &str) {
    let parts = split(text, '=', quotes);
    assert_eq!(parts.len(), 2, "{text}");
    (parts[0], parts[1])
}

pub(crate) fn run(data: &[u8]) {
    let mut rest = data;
    let float = f64::from_bits(next_number(&mut rest));
    let integer = next_number(&mut rest) as i64;
    let at_ns = next_number(&mut rest);
    let (first, second) = (next_text(&mut rest), next_text(&mut rest));
    let text = next_text(&mut rest);
    let point = Point::new("a measure,ment", at_ns)
        .tag("fir=st", &*first)
        .tag("second", &*second)
        .field("fl oat", float)
        .field("integer", FieldValue::Integer(integer))
        .field("te,xt", text.clone())
        .field("boolean", integer % 2 == 0);
    let mut lines = "before\n".to_owned();
    encode(&point, &mut lines);

    let line = lines.strip_prefix("before\n").expect("it is added");
    let line = line.strip_suffix('\n').expect("it ends");
    assert!(
        !line.contains(['\n', '\r']),
        "one point is one line: {line}"
    );
    // Quotes have a meaning only after the series.
    let series = split(line, ' ', false)[0];
    let parts = split(&line[series.len() + 1..], ' ', true);
    assert_eq!(parts.len(), 2, "{line}");
    assert_eq!(parts[1].parse(), Ok(at_ns));

    let series = split(series, ',', false);
    assert_eq!(unescape(series[0], ", "), "a measure,ment");
    let special = ",= ";
    let tags: Vec<(String, String)> = series[1..]
        .iter()
        .map(|tag| pair(tag, false))
        .map(|(key, value)| (unescape(key, special), unescape(value, special)))
        .collect();
    let kept = |value: &str| value.replace(['\\', '\n', '\r', '\t'], "_");
    let mut expected = vec![
        ("fir=st".to_owned(), kept(&first)),
        ("second".to_owned(), kept(&second)),
    ];
    expected.retain(|(_, value)| !value.is_empty());
    assert_eq!(tags, expected, "{line}");

    let fields = split(parts[0], ',', true);
    let mut fields = fields.iter().map(|field| pair(field, true));
    if float.is_finite() {
        let (key, value) = fields.next().expect("the float");
        assert_eq!(unescape(key, special), "fl oat");
        assert_eq!(value.parse(), Ok(float));
    }
    assert_eq!(fields.next(), Some(("integer", &*format!("{integer}i"))));
    let (key, value) = fields.next().expect("the text");
    assert_eq!(unescape(key, special), "te,xt");
    let inner = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'));
    let read = unescape(inner.expect("quotes"), "\"\\");
    let written = text.replace(['\n', '\r'], " ");
    assert!(written.starts_with(&read) && (read.len() == written.len() || read.len() > 59_000));
    assert_eq!(
        fields.next(),
        Some(("boolean", if integer % 2 == 0 { "true" } else { "false" }))
    );
    assert_eq!(fields.next(), None);
}
