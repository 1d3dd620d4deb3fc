use std::{
    fmt::Write as _,
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write},
    path::Path,
};

use super::{FieldValue, Point};

/// Appends a point to `line` in InfluxDB's line protocol, including the newline. A point without a
/// valid field is left out: the protocol requires at least one field.
///
/// Format: <https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/>
pub fn encode(point: &Point<'_>, line: &mut String) {
    let start = line.len();
    escape(point.measurement, &[',', ' '], line);
    for (key, value) in &point.tags {
        // An empty tag value is a syntax error, so the tag is left out.
        if value.is_empty() {
            continue;
        }
        line.push(',');
        escape(key, &[',', '=', ' '], line);
        line.push('=');
        escape(value, &[',', '=', ' '], line);
    }
    let mut separator = ' ';
    for (key, value) in &point.fields {
        if matches!(value, FieldValue::Float(float) if !float.is_finite()) {
            continue;
        }
        line.push(separator);
        separator = ',';
        escape(key, &[',', '=', ' '], line);
        line.push('=');
        // Writing to a String cannot fail.
        let _ = match value {
            FieldValue::Float(float) => write!(line, "{float}"),
            FieldValue::Integer(integer) => write!(line, "{integer}i"),
            FieldValue::Boolean(boolean) => write!(line, "{boolean}"),
            FieldValue::Text(text) => {
                quote(text, line);
                Ok(())
            }
        };
    }
    if separator == ' ' {
        line.truncate(start);
        return;
    }
    let _ = writeln!(line, " {}", point.at_ns);
}

/// Puts a backslash before each character of `special`. The protocol can escape neither a line
/// break nor a backslash before a separator at the end of a value, so these become `_`.
fn escape(text: &str, special: &[char], line: &mut String) {
    for c in text.chars() {
        match c {
            '\\' | '\n' | '\r' | '\t' => line.push('_'),
            c if special.contains(&c) => {
                line.push('\\');
                line.push(c);
            }
            c => line.push(c),
        }
    }
}

/// Longest string field, in bytes before quotes and backslashes are escaped.
const LONGEST_TEXT: usize = 60_000;

/// Appends a string field in quotes. The protocol allows line breaks in it, but the spool and files
/// expect one line per point.
fn quote(text: &str, line: &mut String) {
    line.push('"');
    for c in text[..text.floor_char_boundary(LONGEST_TEXT)].chars() {
        match c {
            '\n' | '\r' => line.push(' '),
            '"' | '\\' => {
                line.push('\\');
                line.push(c);
            }
            c => line.push(c),
        }
    }
    line.push('"');
}

/// A file in line protocol (`metrics.lp`), which any InfluxDB can import.
#[derive(Debug)]
pub struct LineProtocolFile {
    file: BufWriter<File>,
    line: String,
}

impl LineProtocolFile {
    /// Opens the file for appending, and creates it if it does not exist.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self {
            file: BufWriter::new(file),
            line: String::new(),
        })
    }

    /// Appends a point.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&mut self, point: &Point<'_>) -> io::Result<()> {
        self.line.clear();
        encode(point, &mut self.line);
        self.file.write_all(self.line.as_bytes())
    }

    /// Flushes the buffered points to the operating system.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    /// Splits at every `separator` that is neither escaped by a backslash nor in quotes, as
    /// InfluxDB reads fields.
    fn split_fields(text: &str, separator: char) -> Vec<String> {
        let mut parts = vec![String::new()];
        let (mut escaped, mut quoted) = (false, false);
        for c in text.chars() {
            quoted ^= c == '"' && !escaped;
            if c == separator && !escaped && !quoted {
                parts.push(String::new());
            } else {
                parts.last_mut().unwrap().push(c);
            }
            escaped = c == '\\' && !escaped;
        }
        assert!(!quoted, "a quote is left open: {text}");
        parts
    }

    /// The content of a quoted string, without escapes.
    fn unquote(text: &str) -> String {
        let inner = text.strip_prefix('"').unwrap().strip_suffix('"').unwrap();
        let mut plain = String::new();
        let mut chars = inner.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => plain.push(chars.next().unwrap()),
                '"' => panic!("a bare quote: {text}"),
                c => plain.push(c),
            }
        }
        plain
    }

    /// Splits at every `separator` that is not escaped by a backslash.
    fn split(text: &str, separator: char) -> Vec<String> {
        let mut parts = vec![String::new()];
        let mut escaped = false;
        for c in text.chars() {
            if c == separator && !escaped {
                parts.push(String::new());
            } else {
                parts.last_mut().unwrap().push(c);
            }
            escaped = c == '\\' && !escaped;
        }
        parts
    }

    fn unescape(text: &str) -> String {
        text.replace("\\,", ",")
            .replace("\\=", "=")
            .replace("\\ ", " ")
    }

    proptest! {
        #[test]
        fn what_is_encoded_can_be_parsed(tag in "[ -~äλ\n\\\\]{0,12}", float in any::<f64>(), integer in any::<i64>(), at in any::<u64>()) {
            let point = Point {
                measurement: "job",
                tags: vec![("node", tag.clone().into()), ("kind", "prime".into())],
                fields: vec![
                    ("a".into(), FieldValue::Float(float)),
                    ("b".into(), FieldValue::Integer(integer)),
                    ("c".into(), FieldValue::Boolean(true)),
                ],
                at_ns: at,
            };
            let mut line = String::new();
            encode(&point, &mut line);
            prop_assert_eq!(line.matches('\n').count(), 1);
            let parts = split(line.trim_end(), ' ');
            prop_assert_eq!(parts.len(), 3, "{}", line);
            let series: Vec<_> = split(&parts[0], ',');
            prop_assert_eq!(&series[0], "job");
            let expected: String = tag.chars().map(|c| if "\\\n\r\t".contains(c) { '_' } else { c }).collect();
            if expected.is_empty() {
                prop_assert_eq!(series.len(), 2);
            } else {
                let pair = split(&series[1], '=');
                prop_assert_eq!(unescape(&pair[1]), expected);
            }
            for field in split(&parts[1], ',') {
                let pair = split(&field, '=');
                match pair[0].as_str() {
                    "a" => prop_assert_eq!(pair[1].parse::<f64>().unwrap(), float),
                    "b" => prop_assert_eq!(pair[1].strip_suffix('i').unwrap().parse::<i64>().unwrap(), integer),
                    _ => prop_assert_eq!(&pair[1], "true"),
                }
            }
            prop_assert_eq!(float.is_finite(), parts[1].starts_with("a="));
            prop_assert_eq!(parts[2].parse::<u64>().unwrap(), at);
        }
    }

    proptest! {
        #[test]
        fn a_text_comes_back(text in "[ -~äλ\n\r\\\\\",= ]{0,24}", after in any::<i64>()) {
            let point = Point::new("run", 7).field("text", text.clone()).field("after", FieldValue::Integer(after));
            let mut line = String::new();
            encode(&point, &mut line);
            prop_assert_eq!(line.matches('\n').count(), 1);
            let parts = split_fields(line.trim_end_matches('\n'), ' ');
            prop_assert_eq!(parts.len(), 3, "{}", line);
            prop_assert_eq!(&parts[0], "run");
            prop_assert_eq!(&parts[2], "7");
            let fields = split_fields(&parts[1], ',');
            prop_assert_eq!(fields.len(), 2, "{}", line);
            prop_assert_eq!(unquote(fields[0].strip_prefix("text=").unwrap()), text.replace(['\n', '\r'], " "));
            prop_assert_eq!(&fields[1], &format!("after={after}i"));
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let mut line = String::new();
        encode(
            &Point::new("run", 1).field("text", "aλ".repeat(30_000)),
            &mut line,
        );
        assert!((60_000..60_100).contains(&line.len()), "{}", line.len());
    }

    #[test]
    fn a_point_without_fields_is_no_line() {
        let mut line = String::new();
        encode(&Point::new("job", 1).field("x", f64::NAN), &mut line);
        assert_eq!(line, "");
    }
}
