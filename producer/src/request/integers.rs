//! Reading of integers, one a line.

use std::io::{BufRead, Read};

use primepool_common::message::{HexInteger, MAX_INTEGER_BITS};

/// Longest line with an integer, in bytes: its decimal digits are the longest, and there is room for white space.
const LONGEST_LINE: u64 = MAX_INTEGER_BITS as u64 / 3 + 1024;

/// Reads integers, one a line; `#` begins a comment. Lines are bounded while they are read, so that a file that is none of
/// this kind is not read whole.
///
/// # Errors
/// What is wrong, with the number of the line.
pub fn read_integers(mut lines: impl BufRead) -> Result<Vec<HexInteger>, String> {
    let mut integers = Vec::new();
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let length = lines
            .by_ref()
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut line)
            .map_err(|error| error.to_string())?;
        if length == 0 {
            break;
        }
        if length as u64 == LONGEST_LINE {
            return Err(format!(
                "line {number} is longer than {LONGEST_LINE} bytes: write an integer a line"
            ));
        }
        let text = str::from_utf8(&line).map_err(|_| format!("line {number} is not a text"))?;
        // A byte order mark.
        let text = match text.strip_prefix('\u{feff}') {
            Some(rest) if number == 1 => rest,
            _ => text,
        };
        let text = text.split_once('#').map_or(text, |(before, _)| before);
        if !text.trim().is_empty() {
            let integer =
                HexInteger::parse_human(text).map_err(|error| format!("line {number}: {error}"))?;
            integers.push(integer);
        }
    }
    Ok(integers)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn integers_are_read_line_by_line() {
        let read = |text: &str| read_integers(text.as_bytes());
        let three = read("5\n\n 0xff\r\n-1").unwrap();
        assert_eq!(three, [5, 255, -1].map(|n| HexInteger(n.into())));
        let commented = read("\u{feff}# primes\n5 # five\n\n7").unwrap();
        assert_eq!(commented, [5, 7].map(|n| HexInteger(n.into())));
        assert!(read("5\nx").unwrap_err().starts_with("line 2: "));
        assert!(read_integers(&b"\xff"[..]).is_err());
        // A file without end.
        let endless = std::io::BufReader::new(std::io::repeat(b'1'));
        assert!(read_integers(endless).unwrap_err().contains("longer than"));
    }
}
