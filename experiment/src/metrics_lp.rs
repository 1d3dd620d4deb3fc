//! Reads a run's points from InfluxDB's line protocol (timestamps in nanoseconds).
//!
//! Format: <https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/>

use std::{
    fs::File,
    io::{BufRead, BufReader, ErrorKind},
    path::Path,
};

use anyhow::{Context, Result};

/// Name of the file in a run's folder.
pub(crate) const FILE: &str = "metrics.lp";

/// A field's value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// An integer or a float.
    Number(f64),
    /// True or false.
    Boolean(bool),
    /// A text.
    Text(String),
}

/// A point of one line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Point {
    /// What was measured.
    pub measurement: String,
    /// Tags in their order.
    pub tags: Vec<(String, String)>,
    /// Fields in their order.
    pub fields: Vec<(String, Value)>,
    /// Nanoseconds since 1970.
    pub at_ns: i64,
}

impl Point {
    /// A tag's value; empty if it is not there.
    #[must_use]
    pub(crate) fn tag(&self, key: &str) -> &str {
        self.tags
            .iter()
            .find(|tag| tag.0 == key)
            .map_or("", |tag| &tag.1)
    }

    /// The texts of these fields, one after the other.
    #[must_use]
    pub(crate) fn texts(&self, keys: &[&str]) -> String {
        let text = |key: &&str| match &self.fields.iter().find(|field| field.0 == **key)?.1 {
            Value::Text(text) => Some(text.as_str()),
            Value::Number(_) | Value::Boolean(_) => None,
        };
        keys.iter().filter_map(text).collect()
    }

    /// A field that is a number.
    #[must_use]
    pub(crate) fn number(&self, key: &str) -> Option<f64> {
        self.fields
            .iter()
            .find(|field| field.0 == key)
            .and_then(|field| match field.1 {
                Value::Number(number) => Some(number),
                Value::Boolean(_) | Value::Text(_) => None,
            })
    }
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// The measurement, a key or a value is missing.
    #[error("a name or a value is missing")]
    Missing,
    /// A quote that does not end.
    #[error("a text does not end")]
    OpenQuote,
    /// A field whose value is of no known type.
    #[error("a field is neither a number nor a text nor true or false")]
    Value,
    /// Something else than an integer at the end.
    #[error("the timestamp is missing or no integer")]
    Timestamp,
}

/// The points of the file in a run's folder; none if it is not there. A last line that was cut short does not count.
///
/// # Errors
/// The file cannot be read, or a line is not of the protocol.
pub(crate) fn read(folder: &Path) -> Result<Option<Vec<Point>>> {
    let path = folder.join(FILE);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let mut points = Vec::new();
    let mut lines = BufReader::new(file).lines().enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        let line = line.with_context(|| format!("cannot read {}", path.display()))?;
        match parse(&line) {
            Ok(point) => points.extend(point),
            Err(_) if lines.peek().is_none() => {}
            Err(fault) => {
                return Err(fault)
                    .with_context(|| format!("{}, line {}", path.display(), index + 1));
            }
        }
    }
    Ok(Some(points))
}

/// Parses a line; nothing if it is empty or a comment.
///
/// # Errors
/// It is not of the protocol.
pub(crate) fn parse(line: &str) -> Result<Option<Point>, Fault> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let mut rest = line;
    let measurement = word(&mut rest, &[',', ' ']);
    if measurement.is_empty() {
        return Err(Fault::Missing);
    }
    let mut tags = Vec::new();
    while let Some(after) = rest.strip_prefix(',') {
        rest = after;
        let key = key(&mut rest)?;
        let value = word(&mut rest, &[',', ' ']);
        if value.is_empty() {
            return Err(Fault::Missing);
        }
        tags.push((key, value));
    }
    rest = rest.trim_start_matches(' ');
    let mut fields = Vec::new();
    loop {
        let key = key(&mut rest)?;
        fields.push((key, value(&mut rest)?));
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None => break,
        }
    }
    let at_ns = rest.trim().parse().map_err(|_| Fault::Timestamp)?;
    Ok(Some(Point {
        measurement,
        tags,
        fields,
        at_ns,
    }))
}

/// A key and the `=` after it.
fn key(rest: &mut &str) -> Result<String, Fault> {
    let key = word(rest, &[',', ' ', '=']);
    match rest.strip_prefix('=') {
        Some(after) if !key.is_empty() => {
            *rest = after;
            Ok(key)
        }
        _ => Err(Fault::Missing),
    }
}

/// What is before the first of `ends` that no backslash precedes. A backslash before anything else than a comma, a space or an
/// equals sign is itself.
fn word(rest: &mut &str, ends: &[char]) -> String {
    let mut word = String::new();
    let mut chars = rest.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if ends.contains(&c) {
            *rest = &rest[at..];
            return word;
        }
        if c == '\\'
            && let Some((_, special)) = chars.next_if(|(_, next)| [',', ' ', '='].contains(next))
        {
            word.push(special);
        } else {
            word.push(c);
        }
    }
    *rest = "";
    word
}

fn value(rest: &mut &str) -> Result<Value, Fault> {
    if let Some(quoted) = rest.strip_prefix('"') {
        return text(quoted, rest);
    }
    let end = rest.find([',', ' ']).unwrap_or(rest.len());
    let (plain, after) = rest.split_at(end);
    *rest = after;
    match plain {
        "" => return Err(Fault::Missing),
        "t" | "T" | "true" | "True" | "TRUE" => return Ok(Value::Boolean(true)),
        "f" | "F" | "false" | "False" | "FALSE" => return Ok(Value::Boolean(false)),
        _ => {}
    }
    // The protocol has no infinity and no NaN, which Rust would read.
    if !plain.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) {
        return Err(Fault::Value);
    }
    let number = match plain.strip_suffix(['i', 'u']) {
        Some(integer) => integer.parse::<i128>().ok().map(|integer| integer as f64),
        None => plain.parse().ok().filter(|number: &f64| number.is_finite()),
    };
    number.map(Value::Number).ok_or(Fault::Value)
}

/// A text after its opening quote; `rest` becomes what follows the closing one.
fn text<'a>(quoted: &'a str, rest: &mut &'a str) -> Result<Value, Fault> {
    let mut text = String::new();
    let mut chars = quoted.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                *rest = &quoted[at + 1..];
                return Ok(Value::Text(text));
            }
            '\\' => {
                let special = chars.next_if(|(_, next)| ['"', '\\'].contains(next));
                text.push(special.map_or(c, |(_, special)| special));
            }
            c => text.push(c),
        }
    }
    Err(Fault::OpenQuote)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use primepool_common::metrics::{self, FieldValue};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_of_a_run() {
        let point = parse(
            "node,node=n1,kernel=ifma512,run=R workers=2i,cpu_pct=97.5,busy=true 1700000000000000000",
        )
        .unwrap()
        .unwrap();
        assert_eq!(point.measurement, "node");
        assert_eq!((point.tag("node"), point.tag("none")), ("n1", ""));
        assert_eq!(point.number("workers"), Some(2.0));
        assert_eq!(point.number("cpu_pct"), Some(97.5));
        assert_eq!(point.number("busy"), None);
        assert_eq!(point.at_ns, 1_700_000_000_000_000_000);
    }

    #[test]
    fn escapes_and_quotes() {
        let line = r#"a\,b\ c,k\=1=v\ \,\=\x,l=m= f\ 1="say \"a, b=c\" \\ \n",g=-1.5e3,h=2u 7"#;
        let point = parse(line).unwrap().unwrap();
        assert_eq!(point.measurement, "a,b c");
        assert_eq!(point.tag("k=1"), r"v ,=\x");
        assert_eq!(point.tag("l"), "m=");
        assert_eq!(point.fields[0].0, "f 1");
        assert_eq!(
            point.fields[0].1,
            Value::Text(r#"say "a, b=c" \ \n"#.into())
        );
        assert_eq!(
            (point.number("g"), point.number("h")),
            (Some(-1500.0), Some(2.0))
        );
    }

    #[test]
    fn what_is_not_of_the_protocol() {
        assert_eq!(parse("").unwrap(), None);
        assert_eq!(parse("# a comment").unwrap(), None);
        for (line, fault) in [
            (",a=b c=1 2", Fault::Missing),
            ("m,a= c=1 2", Fault::Missing),
            ("m c= 2", Fault::Missing),
            ("m", Fault::Missing),
            ("m c=\"open 2", Fault::OpenQuote),
            ("m c=NaN 2", Fault::Value),
            ("m c=1.5i 2", Fault::Value),
            ("m c=1", Fault::Timestamp),
            ("m c=1 soon", Fault::Timestamp),
        ] {
            assert_eq!(parse(line), Err(fault), "{line}");
        }
    }

    proptest! {
        #[test]
        fn what_the_pool_writes_comes_back(tag in "[a-zλ,= ]{1,12}", text in "[ -~λ]{0,24}", float in -1e300f64..1e300, integer in any::<i32>(), at in 0u64..1 << 62) {
            let mut line = String::new();
            let point = metrics::Point::new("job", at)
                .tag("node", tag.clone())
                .field("text", text.clone())
                .field("float", FieldValue::Float(float))
                .field("integer", FieldValue::Integer(integer.into()));
            metrics::encode(&point, &mut line);
            let parsed = parse(&line).unwrap().unwrap();
            prop_assert_eq!(parsed.tag("node"), tag);
            prop_assert_eq!(&parsed.fields[0].1, &Value::Text(text));
            prop_assert_eq!(parsed.number("float"), Some(float));
            prop_assert_eq!(parsed.number("integer"), Some(f64::from(integer)));
            prop_assert_eq!(parsed.at_ns, at as i64);
        }

        #[test]
        fn no_line_makes_it_panic(line in "[a\\\\\",= 1.iλ]{0,40}") {
            let _ = parse(&line);
        }
    }
}
