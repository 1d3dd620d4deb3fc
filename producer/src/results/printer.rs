//! Prints results to standard output while the run goes on.
//!
//! In ordered mode, a line waits for the lines of all earlier jobs. A limited number of bytes waits
//! in memory; other lines are read back from the results file in their turn. If that file cannot be
//! read back, all lines wait in memory.

use std::{collections::BTreeMap, fs::File, io, os::unix::fs::FileExt, path::Path};

use primepool_common::output::OutputError;

use crate::{
    request::Print,
    run_dir::{factorization, job_of},
};

/// A line that waits for earlier ones.
enum Waiting {
    /// Byte offset and length of the line in the results file.
    At(u64, usize),
    /// The text to print.
    Held(Vec<u8>),
}

/// Largest number of bytes that wait in memory if the results file can be read back.
const MOST_HELD: usize = 4 << 20;

/// Prints results to standard output.
pub(crate) struct Printer {
    what: Print,
    is_ordered: bool,
    /// Number of lines that may still be printed; `None` is no limit.
    left: Option<u64>,
    omitted: u64,
    /// The job whose line is printed next.
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
    /// Number of bytes held in `waiting`.
    held: usize,
    /// The results file, if it can be read back, and its length so far.
    file: Option<File>,
    length: u64,
    text: Vec<u8>,
    output: Output,
    /// The first error in writing to standard output.
    error: Option<OutputError>,
}

/// Writes lines to the output.
type Output = Box<dyn FnMut(&[u8]) -> Result<(), OutputError> + Send>;

/// Largest number of lines printed to a terminal; a run may have millions.
const LINES_ON_TERMINAL: u64 = 100;

impl Printer {
    /// A printer of the results in the file at `path`; `output` writes the lines.
    pub(crate) fn new(
        what: Print,
        is_ordered: bool,
        is_terminal: bool,
        path: &Path,
        output: Output,
    ) -> Self {
        let is_off = what == Print::Nothing;
        let file = if is_off { None } else { File::open(path).ok() };
        let is_regular = |file: &File| file.metadata().is_ok_and(|data| data.is_file());
        Self {
            what,
            is_ordered,
            left: is_terminal.then_some(LINES_ON_TERMINAL),
            omitted: 0,
            next: 0,
            waiting: BTreeMap::new(),
            held: 0,
            file: file.filter(is_regular),
            length: 0,
            text: Vec::new(),
            output,
            error: None,
        }
    }

    /// Adds a line of the results of an earlier session.
    pub(crate) fn add_old(&mut self, line: &[u8]) {
        match job_of(line) {
            Some(job) => self.add(line, job, || factorization(line)),
            None => self.length += line.len() as u64,
        }
    }

    /// Adds the line of a job that was appended to the results. [`Printer::flush`] prints the lines
    /// that are ready.
    pub(crate) fn add(
        &mut self,
        line: &[u8],
        job: u64,
        factorization: impl FnOnce() -> Option<String>,
    ) {
        let at = self.length;
        self.length += line.len() as u64;
        if self.what == Print::Nothing {
            return;
        }
        let is_next = !self.is_ordered || job == self.next;
        if !is_next && self.file.is_some() && self.held >= MOST_HELD {
            self.waiting.insert(job, Waiting::At(at, line.len()));
            return;
        }
        let text = match self.what {
            Print::Nothing => Vec::new(),
            Print::Rows => line.to_vec(),
            Print::Factorizations => as_line(factorization()),
        };
        if !is_next {
            self.held += text.len();
            self.waiting.insert(job, Waiting::Held(text));
            return;
        }
        self.push(&text);
        if self.is_ordered {
            self.next += 1;
            self.push_next();
        }
    }

    /// Prints the waiting lines whose turn has come.
    fn push_next(&mut self) {
        while let Some(entry) = self.waiting.first_entry()
            && *entry.key() == self.next
        {
            let waiting = entry.remove();
            self.push_waiting(waiting);
            self.next += 1;
        }
    }

    /// Prints the remaining lines, which waited for jobs without a result. Returns the number of
    /// lines that were omitted on a terminal.
    ///
    /// # Errors
    /// Standard output could not be written, now or earlier.
    pub(crate) fn finish(mut self) -> Result<u64, OutputError> {
        while let Some((_, waiting)) = self.waiting.pop_first() {
            self.push_waiting(waiting);
        }
        self.flush();
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.omitted),
        }
    }

    fn push_waiting(&mut self, waiting: Waiting) {
        match waiting {
            Waiting::Held(text) => {
                self.held -= text.len();
                self.push(&text);
            }
            Waiting::At(at, length) => match self.read(at, length) {
                Ok(line) if self.what == Print::Rows => self.push(&line),
                Ok(line) => self.push(&as_line(factorization(&line))),
                Err(error) => self.error = Some(error.into()),
            },
        }
    }

    fn read(&self, at: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut line = vec![0; length];
        if let Some(file) = &self.file {
            file.read_exact_at(&mut line, at)?;
        }
        Ok(line)
    }

    fn push(&mut self, text: &[u8]) {
        if text.is_empty() {
            return;
        }
        match &mut self.left {
            Some(0) => self.omitted += 1,
            left => {
                if let Some(left) = left {
                    *left -= 1;
                }
                self.text.extend_from_slice(text);
                if self.text.len() >= PRINTED_AT_ONCE {
                    self.flush();
                }
            }
        }
    }

    /// Prints the lines that are ready.
    pub(crate) fn flush(&mut self) {
        if self.error.is_none()
            && !self.text.is_empty()
            && let Err(error) = (self.output)(&self.text)
        {
            self.error = Some(error);
        }
        self.text.clear();
    }
}

/// Size of the text buffer, in bytes, above which it is printed.
const PRINTED_AT_ONCE: usize = 1 << 20;

/// The text with a line end; empty if there is no text.
fn as_line(text: Option<String>) -> Vec<u8> {
    let mut line = text.map(String::into_bytes).unwrap_or_default();
    if !line.is_empty() {
        line.push(b'\n');
    }
    line
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };

    use super::*;

    /// A results file and the text that was printed from it.
    struct Printed {
        file: tempfile::NamedTempFile,
        text: Arc<Mutex<String>>,
        printer: Printer,
    }

    fn line(job: u64) -> String {
        format!(
            "{{\"job\":{job},\"outcome\":\"ok\",\"n\":\"0x{:x}\",\"factors\":[[\"0x{:x}\",1]],\"proven\":true,\
             \"compute_ms\":1.0,\"candidates\":0}}\n",
            job + 2,
            job + 2
        )
    }

    /// An output, and the text that was written to it.
    fn collected() -> (Arc<Mutex<String>>, Output) {
        let text = Arc::new(Mutex::new(String::new()));
        let to = Arc::clone(&text);
        let output = Box::new(move |lines: &[u8]| {
            to.lock()
                .unwrap()
                .push_str(std::str::from_utf8(lines).unwrap());
            Ok(())
        });
        (text, output)
    }

    fn add_all(printer: &mut Printer, lines: &str) {
        for line in lines.split_inclusive('\n') {
            let job = job_of(line.as_bytes()).unwrap();
            printer.add(line.as_bytes(), job, || factorization(line.as_bytes()));
        }
        printer.flush();
    }

    impl Printed {
        fn new(what: Print, is_ordered: bool, is_terminal: bool, before: &str) -> Self {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(before.as_bytes()).unwrap();
            let (text, output) = collected();
            let mut printer = Printer::new(what, is_ordered, is_terminal, file.path(), output);
            before
                .split_inclusive('\n')
                .for_each(|line| printer.add_old(line.as_bytes()));
            printer.flush();
            Self {
                file,
                text,
                printer,
            }
        }

        fn add(&mut self, jobs: &[u64]) {
            let lines: String = jobs.iter().map(|job| line(*job)).collect();
            self.file.write_all(lines.as_bytes()).unwrap();
            add_all(&mut self.printer, &lines);
        }

        /// The integers that were printed since the last call.
        fn numbers(&self) -> Vec<String> {
            let text = std::mem::take(&mut *self.text.lock().unwrap());
            let numbers = text
                .lines()
                .map(|line| line.split(' ').next().unwrap().to_owned());
            numbers.collect()
        }
    }

    #[test]
    fn lines_come_in_the_order_of_the_jobs_as_soon_as_they_can() {
        let mut printed = Printed::new(Print::Factorizations, true, false, &line(1));
        assert!(printed.numbers().is_empty(), "job 0 is open");
        printed.add(&[3, 0]);
        assert_eq!(printed.numbers(), ["2", "3"]);
        printed.add(&[2]);
        assert_eq!(printed.numbers(), ["4", "5"]);
        printed.add(&[6, 5]);
        assert!(printed.numbers().is_empty());
        let Printed { text, printer, .. } = printed;
        assert_eq!(printer.finish().unwrap(), 0);
        assert_eq!(
            *text.lock().unwrap(),
            "7 = 7\n8 = 8\n",
            "job 4 has no result"
        );
    }

    #[test]
    fn what_does_not_fit_into_memory_waits_in_the_file() {
        let mut printed = Printed::new(Print::Factorizations, true, false, "");
        printed.printer.held = MOST_HELD;
        printed.add(&[2, 1]);
        printed.printer.held = 0;
        printed.add(&[3]);
        assert_eq!(printed.printer.held, "5 = 5\n".len());
        printed.add(&[0]);
        assert_eq!(printed.numbers(), ["2", "3", "4", "5"]);
        assert_eq!(printed.printer.held, 0);
    }

    #[test]
    fn unordered_lines_come_at_once() {
        let mut printed = Printed::new(Print::Factorizations, false, false, &line(1));
        printed.add(&[3, 0]);
        assert_eq!(printed.numbers(), ["3", "5", "2"]);
    }

    #[test]
    fn rows_are_printed_as_they_are() {
        let printed = Printed::new(Print::Rows, true, false, &(line(1) + &line(0)));
        assert_eq!(*printed.text.lock().unwrap(), line(0) + &line(1));
    }

    #[test]
    fn a_terminal_gets_no_more_than_it_shows() {
        let mut printed = Printed::new(Print::Factorizations, true, true, "");
        printed.add(&(0..130).collect::<Vec<_>>());
        assert_eq!(printed.numbers().len(), 100);
        assert_eq!(printed.printer.finish().unwrap(), 30);
    }

    #[test]
    fn a_file_that_cannot_be_read_back_is_no_obstacle() {
        let (text, output) = collected();
        let null = Path::new("/dev/null");
        let mut printer = Printer::new(Print::Factorizations, true, false, null, output);
        add_all(&mut printer, &(line(1) + &line(0)));
        assert_eq!(*text.lock().unwrap(), "2 = 2\n3 = 3\n");
    }

    #[test]
    fn an_output_that_is_full_ends_printing_and_is_told_at_the_end() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let output = Box::new(move |_: &[u8]| Err(full().into()));
        let null = Path::new("/dev/null");
        let mut printer = Printer::new(Print::Factorizations, false, false, null, output);
        add_all(&mut printer, &line(0));
        add_all(&mut printer, &line(1));
        assert!(printer.finish().is_err());
    }
}
