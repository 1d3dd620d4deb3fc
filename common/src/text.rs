//! Makes text from outside fit to be shown: short, on few lines, without secrets.

use std::borrow::Cow;

/// Longest text from outside that an error or a reason repeats, in bytes.
pub const MAX_REASON_BYTES: usize = 300;

/// Longest error that a program prints at its end, in bytes.
const MAX_ERROR_BYTES: usize = 8 << 10;

/// Number of bytes after the end of a shortened text that are searched for the end of a password.
const LONGEST_PASSWORD: usize = 4 << 10;

/// The first `most` bytes of a text that came from outside. Control characters are replaced,
/// because they could clear a screen or fake a line of a log. Passwords in URLs are removed before
/// the text is cut: a password cut off before its `@` could not be recognised later.
#[must_use]
pub fn shorten(text: &str, most: usize) -> String {
    let clean = |c: char| {
        if c.is_control() || is_invisible(c) {
            ' '
        } else {
            c
        }
    };
    let text = without_passwords(&text[..text.floor_char_boundary(most + LONGEST_PASSWORD)]);
    // The text cannot grow here: no character is replaced by a longer one.
    let start = &text[..text.floor_char_boundary(most)];
    start.chars().map(clean).collect()
}

/// Whether a character has no width or changes the direction of the text after it. Such a character
/// could make a line look different from its content.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Shortens a reason to [`MAX_REASON_BYTES`].
#[must_use]
pub fn reason(text: &str) -> String {
    shorten(text, MAX_REASON_BYTES)
}

/// The message of a JSON error, at most as long as a reason. serde repeats the value that it found;
/// the position stands at the end of its message and is kept.
#[must_use]
pub fn json_error(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if text.len() <= MAX_REASON_BYTES {
        return reason(&text);
    }
    let place = format!("… at line {} column {}", error.line(), error.column());
    shorten(&text, MAX_REASON_BYTES - place.len()) + &place
}

/// Prepares an error for printing: without the passwords of URLs (`amqp://user:…@host`), which also
/// appear where no URL is expected, without control characters, and of bounded length.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut shown = presentable(text);
    if shown.len() > MAX_ERROR_BYTES {
        shown.truncate(shown.floor_char_boundary(MAX_ERROR_BYTES));
        shown.push('…');
    }
    shown
}

/// The same without a length limit, for the program's own texts such as help texts.
pub(crate) fn presentable(text: &str) -> String {
    without_passwords(text).replace(
        |c: char| c.is_control() && !matches!(c, '\n' | '\t'),
        "\u{fffd}",
    )
}

/// Schemes with which a URL may begin.
const SCHEMES: [&str; 4] = ["amqp", "amqps", "http", "https"];

/// Placeholders for a password, which the program's own texts contain too.
const PLACEHOLDERS: [&str; 2] = ["PASSWORD", "…"];

/// Puts `…` in place of each password between `://` and `@`.
///
/// A password that was not percent-encoded may contain any character, so it ends with the last `@`
/// before the next URL.
#[must_use]
pub fn without_passwords(text: &str) -> Cow<'_, str> {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (head, tail) = rest.split_at(start + 3);
        shown.push_str(head);
        let end = next_address(tail).unwrap_or(tail.len());
        rest = tail;
        // Without a `:` before the `@` there is only a user name, which says nothing about what
        // follows.
        let Some(first) = tail[..end].find('@') else {
            continue;
        };
        let Some(colon) = tail[..first].find(':') else {
            continue;
        };
        let last = tail[..end].rfind('@').unwrap_or(first);
        if PLACEHOLDERS.contains(&&tail[colon + 1..last]) {
            continue;
        }
        shown.push_str(&tail[..=colon]);
        shown.push('…');
        rest = &tail[last..];
    }
    if shown.is_empty() {
        return Cow::Borrowed(text);
    }
    shown.push_str(rest);
    Cow::Owned(shown)
}

/// Whether a URL has an `@` after its host. If it has, a password that contains a `/`, `?` or `#`
/// was not percent-encoded, and the rest of the password would be read as a path, which errors
/// print.
#[must_use]
pub fn has_at_after_host(address: &str) -> bool {
    let rest = match address.split_once("://") {
        Some((scheme, rest)) if scheme.chars().all(|c| c.is_ascii_alphanumeric()) => rest,
        _ => address,
    };
    // Some URL parsers treat a backslash as a slash.
    rest.find(['/', '\\', '?', '#'])
        .is_some_and(|end| rest[end..].contains('@'))
}

/// The position where the next URL begins.
fn next_address(text: &str) -> Option<usize> {
    text.match_indices("://").find_map(|(end, _)| {
        let is_letter = |c: char| c.is_ascii_alphanumeric();
        let start = text[..end].rfind(|c| !is_letter(c)).map_or(0, |at| {
            at + text[at..].chars().next().map_or(1, char::len_utf8)
        });
        SCHEMES.contains(&&text[start..end]).then_some(start)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn passwords_are_left_out_and_nothing_else() {
        for (text, shown) in [
            ("amqp://u:s3cr3t@h:1/%2f", "amqp://u:…@h:1/%2f"),
            (
                "'amqps://u:s3@cr3t/#?x@h' unexpected",
                "'amqps://u:…@h' unexpected",
            ),
            ("amqp://u:s3://cr3t@h", "amqp://u:…@h"),
            ("amqp://u:s3\ncr3t@h", "amqp://u:…@h"),
            (
                "amqp://:s3cr3t@h and http://x:s3cr3t@h",
                "amqp://:…@h and http://x:…@h",
            ),
            ("tcp://u:s3cr3t@h", "tcp://u:…@h"),
            ("écho://é:s3cr3t@é", "écho://é:…@é"),
            ("amqp://u@h:1/%2f: no x@y", "amqp://u@h:1/%2f: no x@y"),
            ("amqp://h:1 and http://h:2/", "amqp://h:1 and http://h:2/"),
            (
                "write amqp://USER:PASSWORD@HOST:PORT/VHOST",
                "write amqp://USER:PASSWORD@HOST:PORT/VHOST",
            ),
            ("no address@all", "no address@all"),
        ] {
            assert_eq!(without_passwords(text), shown);
        }
    }

    #[test]
    fn a_password_that_looks_like_a_path_is_found() {
        for late in [
            "amqp://u:1/s@h",
            "amqp://u:1?s@h",
            "amqp://u:1#s@h",
            "http://u:1\\s@h",
            "http:u://h:s@x",
            "/@",
        ] {
            assert!(has_at_after_host(late), "{late}");
        }
        for good in [
            "amqp://u:s@h:1/v",
            "amqp://u:s@t@h",
            "http://h/p?q",
            "x@y",
            "",
        ] {
            assert!(!has_at_after_host(good), "{good}");
        }
    }

    #[test]
    fn what_is_printed_is_short_and_plain() {
        assert_eq!(printable("a\u{1b}[2Jb\nc"), "a\u{fffd}[2Jb\nc");
        assert!(printable(&"λ".repeat(1 << 20)).len() < MAX_ERROR_BYTES + 4);
        assert_eq!(reason("a\nb"), "a b");
        assert_eq!(reason("a\u{202e}b\u{200b}c"), "a b c");
        let long = format!("{} amqp://pool:s3cret@host", "x".repeat(60));
        assert_eq!(
            shorten(&long, 80),
            format!("{} amqp://pool:…@hos", "x".repeat(60))
        );
        assert_eq!(reason(&"λ".repeat(1000)).len(), MAX_REASON_BYTES);
    }

    #[test]
    fn an_error_of_json_keeps_its_place() {
        let text = format!("\n\"{}\"", "x".repeat(1000));
        let error = serde_json::from_str::<u32>(&text).unwrap_err();
        let shown = json_error(&error);
        assert!(shown.len() <= MAX_REASON_BYTES, "{shown}");
        assert!(shown.starts_with("invalid type: string \"xxx"), "{shown}");
        assert!(shown.ends_with("at line 2 column 1002"), "{shown}");
    }
}
