//! Reads integers from text with one integer on each line.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use primepool_common::message::{HexInteger, MAX_INTEGER_BITS};

use super::Semiprimes;

/// Longest line with an integer, in bytes: enough for the decimal digits of the largest integer and
/// some white space.
const LONGEST_LINE: u64 = MAX_INTEGER_BITS as u64 / 3 + 1024;

/// Reads integers, one on each line, and passes them to `each`; `#` begins a comment. The length of
/// a line is limited during reading, so that a file without line breaks is not read into memory.
///
/// # Errors
/// Returns what is wrong, with the number of the line, or the error of `each`.
pub fn read_integers(
    mut lines: impl BufRead,
    mut each: impl FnMut(HexInteger) -> Result<(), String>,
) -> Result<(), String> {
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
        // Skip a byte order mark.
        let text = match text.strip_prefix('\u{feff}') {
            Some(rest) if number == 1 => rest,
            _ => text,
        };
        let text = text.split_once('#').map_or(text, |(before, _)| before);
        if !text.trim().is_empty() {
            let integer =
                HexInteger::parse_human(text).map_err(|error| format!("line {number}: {error}"))?;
            each(integer)?;
        }
    }
    Ok(())
}

/// The sources of a run's integers: all of them, in this order.
#[derive(Debug, Clone)]
pub struct IntegerSource {
    /// Integers on the command line.
    pub listed: Vec<HexInteger>,
    /// File with integers; `-` is standard input.
    pub file: Option<PathBuf>,
    /// Name of the option that has the file, for error messages.
    pub option: &'static str,
    /// Random products to generate.
    pub semiprimes: Option<Semiprimes>,
}

impl IntegerSource {
    /// Passes the integers to `each`.
    ///
    /// # Errors
    /// The file cannot be read, has no integers or an invalid line; or the error of `each`. Returns
    /// a message for the user.
    pub(crate) fn read(
        &self,
        mut each: impl FnMut(HexInteger) -> Result<(), String>,
    ) -> Result<(), String> {
        self.listed.iter().cloned().try_for_each(&mut each)?;
        if let Some(path) = &self.file {
            self.read_file(path, &mut each)?;
        }
        match self.semiprimes {
            Some(semiprimes) => semiprimes.make(each),
            None => Ok(()),
        }
    }

    fn read_file(
        &self,
        path: &Path,
        each: &mut impl FnMut(HexInteger) -> Result<(), String>,
    ) -> Result<(), String> {
        let name = format!("{} {}", self.option, path.display());
        let mut is_empty = true;
        let each = |integer| {
            is_empty = false;
            each(integer)
        };
        let read = if path == Path::new("-") {
            read_integers(io::stdin().lock(), each)
        } else {
            let file = File::open(path).map_err(|error| format!("cannot read {name}: {error}"))?;
            read_integers(BufReader::new(file), each)
        };
        read.map_err(|error| format!("{name}: {error}"))?;
        if is_empty {
            return Err(format!("{name} holds no integers: write one a line"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn integers_are_read_line_by_line() {
        fn read_all(lines: impl BufRead) -> Result<Vec<HexInteger>, String> {
            let mut all = Vec::new();
            read_integers(lines, |integer| {
                all.push(integer);
                Ok(())
            })?;
            Ok(all)
        }
        let read = |text: &str| read_all(text.as_bytes());
        let three = read("5\n\n 0xff\r\n-1").unwrap();
        assert_eq!(three, [5, 255, -1].map(|n| HexInteger(n.into())));
        let commented = read("\u{feff}# primes\n5 # five\n\n7").unwrap();
        assert_eq!(commented, [5, 7].map(|n| HexInteger(n.into())));
        assert!(read("5\nx").unwrap_err().starts_with("line 2: "));
        assert!(read_all(&b"\xff"[..]).is_err());
        // An endless file.
        let endless = std::io::BufReader::new(std::io::repeat(b'1'));
        assert!(read_all(endless).unwrap_err().contains("longer than"));
    }
}
