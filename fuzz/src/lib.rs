//! Shared parts of the fuzz targets: the limit on the memory of a reader, the form of error
//! messages, and a password that must never be shown.

#![allow(clippy::missing_panics_doc)]

// The counting allocator is shared with the tests of `common`, which no crate can depend on.
#[path = "../../common/tests/counting/mod.rs"]
mod counting;

use std::{ffi::OsString, os::unix::ffi::OsStringExt};

use clap::Parser;
use primepool_common::{cli::parse_from, text::printable};

/// A password that must not appear in any output.
pub const SECRET: &str = "s3cr3tPassw0rd";

/// Runs a reader of `body`, and panics if it allocates more memory than a message may cost. The
/// limit is 24 bytes for each byte of the message: lists grow by doubling, and a number of two
/// bytes takes eight in memory.
pub fn within_bounds<T>(body: &[u8], read: impl FnOnce(&[u8]) -> T) -> T {
    let (result, taken) = counting::measure(|| read(body));
    let most = 24 * body.len() + (16 << 10);
    assert!(
        taken <= most,
        "{taken} bytes of memory for {} of a message",
        body.len()
    );
    result
}

/// Panics unless the text fits a log: not empty, at most 500 bytes, one line.
pub fn assert_brief(error: &str) {
    assert!(!error.trim().is_empty(), "an error without a text");
    assert!(error.len() <= 500, "{} bytes: {error}", error.len());
    assert!(!error.contains(char::is_control), "{error:?}");
}

/// Panics unless the text can be printed when a program ends: not empty, no control characters, no
/// secret.
pub fn assert_printable(error: &str) {
    assert!(!error.trim().is_empty(), "an error without a text");
    assert!(error.len() <= 9000, "{} bytes", error.len());
    let is_bad = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    assert!(!error.contains(is_bad), "{error:?}");
    assert_no_secret(error);
}

/// Panics if the text contains the secret.
pub fn assert_no_secret(text: &str) {
    assert!(!text.contains(SECRET), "{text:?}");
}

/// Whether the input itself contains the secret.
pub fn holds_secret(data: &[u8]) -> bool {
    data.windows(SECRET.len())
        .any(|part| part == SECRET.as_bytes())
}

/// Turns bytes into a command line: a 0 ends an argument, and a 1 stands for a URL with the secret.
fn command_line(program: &str, data: &[u8]) -> Vec<OsString> {
    let mut line = vec![program.into()];
    for argument in data.split(|byte| *byte == 0) {
        let mut text = Vec::new();
        for &byte in argument {
            match byte {
                1 => text.extend_from_slice(format!("amqp://pool:{SECRET}@h").as_bytes()),
                byte => text.push(byte),
            }
        }
        line.push(OsString::from_vec(text));
    }
    line
}

/// Parses a command line (see `command_line`) and runs `check` on it. Panics unless each error of
/// the parser or of `check` can be printed.
pub fn check_command_line<C: Parser>(
    program: &str,
    data: &[u8],
    check: impl FnOnce(&C) -> [Result<(), String>; 2],
) {
    match parse_from::<C>(command_line(program, data)) {
        Ok(Some(cli)) => {
            for error in check(&cli).into_iter().filter_map(Result::err) {
                assert_printable(&printable(&error));
            }
        }
        Ok(None) => {}
        Err(error) => {
            assert!(error.starts_with("error: "), "{error}");
            assert_printable(&error);
        }
    }
}

/// The next part of the input, up to a 0 byte or the end.
pub fn next_part<'a>(data: &mut &'a [u8]) -> &'a [u8] {
    let end = data.iter().position(|byte| *byte == 0);
    let (part, rest) = data.split_at(end.unwrap_or(data.len()));
    *data = rest.get(1..).unwrap_or_default();
    part
}

/// The next part of the input as text; invalid UTF-8 is replaced.
pub fn next_text(data: &mut &[u8]) -> String {
    String::from_utf8_lossy(next_part(data)).into_owned()
}

/// The next eight bytes as a little-endian number, padded with zeros at the end of the input.
pub fn next_number(data: &mut &[u8]) -> u64 {
    let (head, rest) = data.split_at(data.len().min(8));
    *data = rest;
    let mut bytes = [0; 8];
    bytes[..head.len()].copy_from_slice(head);
    u64::from_le_bytes(bytes)
}

/// The input up to the first byte that is not UTF-8.
pub fn valid_text(data: &[u8]) -> &str {
    match str::from_utf8(data) {
        Ok(text) => text,
        Err(error) => str::from_utf8(&data[..error.valid_up_to()]).unwrap_or_default(),
    }
}
