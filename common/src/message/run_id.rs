use std::{fmt, str::FromStr, time::SystemTime};

use serde::{Deserialize, Serialize};

use crate::{
    text::shorten,
    wire::{MAX_NAME_BYTES, bounded::Name},
};

/// Name of a run. Its results queue, its folder and its messages carry this name.
///
/// Lower-case letters, digits and `-`, at most 64 characters, so that it is safe in a queue name, a
/// routing key and a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Name", into = "String")]
pub struct RunId(String);

/// The text is not a valid run name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a run id: use 1 to 64 lower-case letters, digits or '-'")]
pub struct InvalidRunId(String);

impl RunId {
    /// A new name: the time in UTC and 32 random bits, such as `20261122-201530-9f3c01ab`.
    ///
    /// # Errors
    /// The operating system provides no random bits.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let stamp: String = now
            .chars()
            .filter_map(|c| match c {
                'T' => Some('-'),
                c if c.is_ascii_digit() => Some(c),
                _ => None,
            })
            .collect();
        Ok(Self(format!("{stamp}-{:08x}", getrandom::u32()?)))
    }

    /// The name as a string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RunId {
    type Err = InvalidRunId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if (1..=MAX_NAME_BYTES).contains(&text.len()) && text.chars().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidRunId(shorten(text, 80)))
        }
    }
}

impl TryFrom<Name> for RunId {
    type Error = InvalidRunId;

    fn try_from(name: Name) -> Result<Self, Self::Error> {
        name.0.parse()
    }
}

impl From<RunId> for String {
    fn from(run: RunId) -> Self {
        run.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn generated_ids_are_valid_and_differ() {
        let a = RunId::generate().unwrap();
        let b = RunId::generate().unwrap();
        assert_ne!(a, b);
        assert_eq!(a.as_str().parse::<RunId>().unwrap(), a);
        assert_eq!(a.as_str().len(), "20261122-201530-9f3c01ab".len());
    }

    #[test]
    fn refuses_what_would_escape_a_path_or_a_queue_name() {
        for text in ["", "..", "a/b", "A", "run.1", "*", &"x".repeat(65)] {
            assert!(text.parse::<RunId>().is_err(), "{text:?}");
        }
    }
}
