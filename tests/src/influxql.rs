use std::time::Duration;

/// The values that Grafana substitutes for the variables and macros of a query.
#[derive(Debug, Clone)]
pub struct Context {
    /// Start of the time range, in ms since 1970.
    pub from_ms: u64,
    /// End of the time range, in ms since 1970.
    pub to_ms: u64,
    /// The length of `$__interval`.
    pub interval: Duration,
    /// The selected value of each dashboard variable, by name.
    pub choices: Vec<(String, Choice)>,
}

/// The selection for a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The value of a variable that takes a single value.
    One(String),
    /// Values of a variable that takes several.
    Several(Vec<String>),
    /// "All", for a variable with a text of its own (`allValue`) for it.
    All(String),
}

/// Expands a query as Grafana does for its InfluxQL data source: first the variables (in the
/// browser), then the macros (on the server).
///
/// # Errors
/// If a variable or macro is left, or if its meaning depends on the version of Grafana.
pub fn expand(query: &str, context: &Context) -> Result<String, String> {
    let variables = replace_variables(query, &context.choices)?;
    let milliseconds = context.interval.as_millis();
    let interval = match milliseconds {
        whole if whole % 60_000 == 0 => format!("{}m", whole / 60_000),
        whole if whole % 1000 == 0 => format!("{}s", whole / 1000),
        other => format!("{other}ms"),
    };
    let filter = format!(
        "time >= {}ms and time <= {}ms",
        context.from_ms, context.to_ms
    );
    let expanded = variables
        .replace("$timeFilter", &filter)
        .replace("$__interval_ms", &milliseconds.to_string())
        .replace("$__interval", &interval);
    match next_reference(&expanded) {
        // A `$` at the end of a pattern is not a variable; it matches the end of the text.
        None => Ok(expanded),
        Some(left) => Err(format!(
            "{:?} is left in {expanded}",
            &expanded[left.start..left.end]
        )),
    }
}

fn replace_variables(query: &str, choices: &[(String, Choice)]) -> Result<String, String> {
    let mut expanded = String::new();
    let mut rest = query;
    while let Some(reference) = next_reference(rest) {
        let text = &rest[reference.start..reference.end];
        expanded.push_str(&rest[..reference.start]);
        match choices.iter().find(|(name, _)| name == reference.name) {
            Some((_, choice)) => expanded.push_str(&format(choice, reference.format, text)?),
            // Not a variable, so it may be a macro.
            None => expanded.push_str(text),
        }
        rest = &rest[reference.end..];
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// A reference to a variable or macro.
struct Reference<'a> {
    start: usize,
    end: usize,
    name: &'a str,
    format: Option<&'a str>,
}

/// The first `$name`, `${name}`, `${name:format}`, `[[name]]` or `[[name:format]]`.
fn next_reference(text: &str) -> Option<Reference<'_>> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for (start, _) in text.char_indices() {
        let after = &text[start..];
        let bracketed = [("${", "}"), ("[[", "]]")]
            .into_iter()
            .find_map(|(open, close)| {
                let inner = after.strip_prefix(open)?;
                let length = inner.find(close)?;
                Some((&inner[..length], start + open.len() + length + close.len()))
            });
        if let Some((inner, end)) = bracketed {
            let (name, format) = match inner.split_once(':') {
                Some((name, format)) => (name, Some(format)),
                None => (inner, None),
            };
            return Some(Reference {
                start,
                end,
                name,
                format,
            });
        }
        if let Some(word) = after.strip_prefix('$') {
            let length = word.find(|c| !is_word(c)).unwrap_or(word.len());
            if length > 0 {
                return Some(Reference {
                    start,
                    end: start + 1 + length,
                    name: &word[..length],
                    format: None,
                });
            }
        }
    }
    None
}

fn format(choice: &Choice, format: Option<&str>, reference: &str) -> Result<String, String> {
    match (choice, format) {
        (Choice::All(text), Some("regex")) => Ok(text.clone()),
        (Choice::One(value), Some("regex")) => Ok(escape(value)),
        (Choice::Several(values), Some("regex")) => {
            let escaped: Vec<_> = values.iter().map(|value| escape(value)).collect();
            Ok(match &escaped[..] {
                [one] => one.clone(),
                _ => format!("({})", escaped.join("|")),
            })
        }
        (Choice::One(value), None) => Ok(value.clone()),
        // The escaping depends on the version of Grafana.
        (Choice::Several(_) | Choice::All(_), None) => Err(format!(
            "{reference} may be several values: write ${{…:regex}} in a pattern"
        )),
        (_, Some(_)) => Err(format!(
            "{reference} has a format that this test does not know"
        )),
    }
}

/// Escapes a value as Grafana does for the format `regex`.
fn escape(value: &str) -> String {
    let mut escaped = String::new();
    for c in value.chars() {
        if r"\^$*+?.()|[]{}/".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(name: &str, choice: Choice) -> Context {
        Context {
            from_ms: 1000,
            to_ms: 61_000,
            interval: Duration::from_secs(10),
            choices: vec![(name.to_owned(), choice)],
        }
    }

    fn expanded(query: &str, choice: Choice) -> Result<String, String> {
        expand(query, &context("node", choice))
    }

    fn one(value: &str) -> Choice {
        Choice::One(value.to_owned())
    }

    #[test]
    fn macros() {
        assert_eq!(
            expanded(
                "SELECT SUM(a) / $__interval_ms WHERE $timeFilter GROUP BY time($__interval), b",
                one("x")
            ),
            Ok("SELECT SUM(a) / 10000 WHERE time >= 1000ms and time <= 61000ms GROUP BY time(10s), b".to_owned())
        );
    }

    #[test]
    fn intervals() {
        let mut context = context("node", one("x"));
        for (milliseconds, text) in [(500, "500ms"), (90_000, "90s"), (120_000, "2m")] {
            context.interval = Duration::from_millis(milliseconds);
            assert_eq!(expand("$__interval", &context), Ok(text.to_owned()));
        }
    }

    #[test]
    fn one_value() {
        for query in ["a = '$node'", "a = '${node}'", "a = '[[node]]'"] {
            assert_eq!(expanded(query, one("n.1")), Ok("a = 'n.1'".to_owned()));
        }
        assert_eq!(
            expanded("a =~ /^${node:regex}$/", one("n.1/2")),
            Ok(r"a =~ /^n\.1\/2$/".to_owned())
        );
    }

    #[test]
    fn several_values_are_an_alternation() {
        let query = "a =~ /^${node:regex}$/";
        let values = |values: &[&str]| Choice::Several(values.iter().map(|&v| v.into()).collect());
        assert_eq!(
            expanded(query, values(&["a.b", "c"])),
            Ok(r"a =~ /^(a\.b|c)$/".to_owned())
        );
        assert_eq!(
            expanded(query, values(&["a.b"])),
            Ok(r"a =~ /^a\.b$/".to_owned())
        );
        assert_eq!(
            expanded(query, Choice::All(".*".to_owned())),
            Ok("a =~ /^.*$/".to_owned())
        );
    }

    #[test]
    fn several_values_need_a_pattern() {
        let several = Choice::Several(vec!["a".to_owned(), "b".to_owned()]);
        assert!(expanded("a = '$node'", several).is_err());
    }

    #[test]
    fn what_is_not_known_is_an_error() {
        for query in [
            "$__rate_interval",
            "$__timeFilter(time)",
            "a = '$nodes'",
            "${other:regex}",
            "[[other]]",
            "${node:csv}",
        ] {
            assert!(expanded(query, one("x")).is_err(), "{query}");
        }
    }

    #[test]
    fn values_are_not_expanded_again() {
        assert_eq!(
            expanded("a = '$node'", one("x$")),
            Ok("a = 'x$'".to_owned())
        );
    }
}
