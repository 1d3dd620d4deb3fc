//! Standard output and standard error. Either may be a closed pipe or a file on a full disk;
//! `println!` and `eprintln!` would panic there.

use std::io::{self, ErrorKind, Write};

/// Standard output cannot be written, for example because its disk is full.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output: {0}")]
pub struct OutputError(#[from] io::Error);

/// Writes a line of results to standard output. A closed pipe is not an error: its reader has read
/// all it wanted.
///
/// # Errors
/// Standard output is open but cannot be written.
pub fn print(text: &str) -> Result<(), OutputError> {
    Ok(write_line(&mut io::stdout().lock(), text)?)
}

/// Writes a line as [`print()`] does. Returns `false` if standard output is a closed pipe, so that a
/// program that prints until it is stopped can end.
///
/// # Errors
/// Standard output is open but cannot be written.
pub fn print_while_read(text: &str) -> Result<bool, OutputError> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(format!("{text}\n").as_bytes());
    match written.and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        written => Ok(written.map(|()| true)?),
    }
}

/// Writes whole lines of results to standard output, as [`print()`] does.
///
/// # Errors
/// Standard output is open but cannot be written.
pub fn print_lines(lines: &[u8]) -> Result<(), OutputError> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(lines);
    Ok(unless_closed(written.and_then(|()| stdout.flush()))?)
}

/// Writes a line for people to standard error. A failure to write is ignored.
pub fn notice(text: &str) {
    let _ = write_line(&mut io::stderr().lock(), text);
}

fn write_line(to: &mut impl Write, text: &str) -> io::Result<()> {
    // One write call, because other processes may write to the same pipe.
    let written = to.write_all(format!("{text}\n").as_bytes());
    unless_closed(written.and_then(|()| to.flush()))
}

/// The result of a write, with a closed pipe counted as success.
pub(crate) fn unless_closed(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fails(ErrorKind);

    impl Write for Fails {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    #[test]
    fn a_closed_pipe_is_no_error_and_a_full_disk_is() {
        assert!(write_line(&mut Fails(ErrorKind::BrokenPipe), "x").is_ok());
        assert!(write_line(&mut Fails(ErrorKind::StorageFull), "x").is_err());
        let mut text = Vec::new();
        assert!(write_line(&mut text, "x").is_ok());
        assert_eq!(text, b"x\n");
    }
}
