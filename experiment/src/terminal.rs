//! What the program says while it works.

use std::path::PathBuf;

use primepool_common::output::{notice, print};

/// A line of what a sweep has measured so far, which its folder holds too.
pub(crate) fn say(text: &str) {
    let _ = print(text);
}

/// The folder of what begins now, unless the user names one: `runs/<what>-<date>-<time>`.
pub(crate) fn new_folder(what: &str) -> PathBuf {
    let time = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
    let digits: String = time.chars().filter(char::is_ascii_digit).collect();
    PathBuf::from(format!("runs/{what}-{}-{}", &digits[..8], &digits[8..]))
}

/// A line of trouble.
pub(crate) fn complain(text: &str) {
    notice(&format!("experiment: {text}"));
}
