//! Progress and notices on the terminal, and the names of new folders.

use std::path::PathBuf;

use primepool_common::output::{notice, print};

/// Prints a line of results. A failure does not matter, as the folder holds the results too.
pub(crate) fn say(text: &str) {
    let _ = print(text);
}

/// Default folder of an experiment or a comparison that begins now: `runs/<what>-<date>-<time>`.
pub(crate) fn new_folder(what: &str) -> PathBuf {
    let time = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
    let digits: String = time.chars().filter(char::is_ascii_digit).collect();
    PathBuf::from(format!("runs/{what}-{}-{}", &digits[..8], &digits[8..]))
}

/// Prints a line to standard error.
pub(crate) fn complain(text: &str) {
    notice(&format!("experiment: {text}"));
}
