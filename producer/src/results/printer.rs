//! Prints results to standard output while the run goes on.
//!
//! In order, a line waits for the lines of the jobs before it. It waits in the results file, and is
//! read from there when its turn comes; only where that file cannot be read back does it wait in
//! memory.

use std::{collections::BTreeMap, fs::File, io, os::unix::fs::FileExt, path::Path};

use primepool_common::output::OutputError;

use crate::{
    request::Print,
    run_dir::{factorization, job_of},
};

/// A line that waits for its turn.
enum Waiting {
    /// Where it is in the results file.
    At(u64, usize),
    /// The line itself.
    Held(Vec<u8>),
}

/// Prints results.
pub(crate) struct Printer {
    what: Print,
    is_ordered: bool,
    /// Lines that may still be printed; the results file has the others.
    left: Option<u64>,
    omitted: u64,
    /// The job whose line is next.
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
    /// The results, if they can be read back, and their length so far.
    file: Option<File>,
    length: u64,
    text: Vec<u8>,
    output: Output,
    /// Standard output cannot be written.
    error: Option<OutputError>,
}

/// Where the lines go.
type Output = Box<dyn FnMut(&[u8]) -> Result<(), OutputError> + Send>;

/// Lines that a terminal gets; a run may have millions.
const LINES_ON_TERMINAL: u64 = 100;

impl Printer {
    /// Prints what `results` holds already, in the file at `path`, and then what is added, by way of
    /// `output`.
    pub(crate) fn new(
        what: Print,
        is_ordered: bool,
        is_terminal: bool,
        path: &Path,
        results: &str,
        output: Output,
    ) -> Self {
        let is_off = what == Print::Nothing;
        let file = if is_off { None } else { File::open(path).ok() };
        let is_regular = |file: &File| file.metadata().is_ok_and(|data| data.is_file());
        let mut printer = Self {
            what,
            is_ordered,
            left: is_terminal.then_some(LINES_ON_TERMINAL),
            omitted: 0,
            next: 0,
            waiting: BTreeMap::new(),
            file: file.filter(is_regular),
            length: 0,
            text: Vec::new(),
            output,
            error: None,
        };
        printer.written(results.as_bytes());
        printer
    }

    /// Whole lines were added to the results.
    pub(crate) fn written(&mut self, lines: &[u8]) {
        if self.what == Print::Nothing {
            return;
        }
        let mut at = self.length;
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let start = at;
            at += line.len() as u64;
            let Some(job) = job_of(line) else { continue };
            if !self.is_ordered {
                self.push(line);
            } else if job == self.next {
                self.push(line);
                self.next += 1;
            } else {
                let waiting = match &self.file {
                    Some(_) => Waiting::At(start, line.len()),
                    None => Waiting::Held(line.to_vec()),
                };
                self.waiting.insert(job, waiting);
            }
        }
        self.length = at;
        while let Some(entry) = self.waiting.first_entry()
            && *entry.key() == self.next
        {
            let waiting = entry.remove();
            self.push_waiting(waiting);
            self.next += 1;
        }
        self.flush();
    }

    /// The run is over: prints the lines that waited for jobs without a result. Gives the number of
    /// lines that a terminal did not get.
    ///
    /// # Errors
    /// Standard output could not be written, now or before.
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
            Waiting::Held(line) => self.push(&line),
            Waiting::At(at, length) => match self.read(at, length) {
                Ok(line) => self.push(&line),
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

    fn push(&mut self, line: &[u8]) {
        let start = self.text.len();
        match self.what {
            Print::Nothing => {}
            Print::Rows => self.text.extend_from_slice(line),
            Print::Factorizations => {
                if let Some(line) = factorization(line) {
                    self.text.extend_from_slice(line.as_bytes());
                    self.text.push(b'\n');
                }
            }
        }
        if let Some(left) = &mut self.left
            && self.text.len() > start
        {
            if *left == 0 {
                self.text.truncate(start);
                self.omitted += 1;
            } else {
                *left -= 1;
            }
        }
    }

    fn flush(&mut self) {
        if self.error.is_none()
            && !self.text.is_empty()
            && let Err(error) = (self.output)(&self.text)
        {
            self.error = Some(error);
        }
        self.text.clear();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };

    use super::*;

    /// A results file and what was printed of it.
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

    impl Printed {
        fn new(what: Print, is_ordered: bool, is_terminal: bool, before: &str) -> Self {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(before.as_bytes()).unwrap();
            let (text, output) = collected();
            let printer = Printer::new(what, is_ordered, is_terminal, file.path(), before, output);
            Self {
                file,
                text,
                printer,
            }
        }

        fn add(&mut self, jobs: &[u64]) {
            let lines: String = jobs.iter().map(|job| line(*job)).collect();
            self.file.write_all(lines.as_bytes()).unwrap();
            self.printer.written(lines.as_bytes());
        }

        /// The numbers that were printed since the last call.
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
        let mut printer = Printer::new(Print::Factorizations, true, false, null, "", output);
        printer.written(line(1).as_bytes());
        printer.written(line(0).as_bytes());
        assert_eq!(*text.lock().unwrap(), "2 = 2\n3 = 3\n");
    }

    #[test]
    fn an_output_that_is_full_ends_printing_and_is_told_at_the_end() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let output = Box::new(move |_: &[u8]| Err(full().into()));
        let null = Path::new("/dev/null");
        let mut printer = Printer::new(Print::Factorizations, false, false, null, "", output);
        printer.written(line(0).as_bytes());
        printer.written(line(1).as_bytes());
        assert!(printer.finish().is_err());
    }
}
