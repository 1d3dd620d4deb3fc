//! The units that the broker has confirmed.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rangemap::RangeSet;

use super::{
    FolderError,
    files::{file_error, open_lines, replace},
};

/// Lines in which a journal may say what fewer could, before it is written anew.
const IDLE_LINES: usize = 100_000;

/// Takes a line of a journal into the units that the broker has. The last word on a unit counts; lines
/// that are none say nothing.
pub fn note_line(confirmed: &mut RangeSet<u64>, line: &str) {
    let (is_confirmed, units) = match line.strip_prefix('-') {
        Some(units) => (false, units),
        None => (true, line),
    };
    let units = match units.split_once("..") {
        Some((first, end)) => first.parse().ok().zip(end.parse().ok()),
        None => units
            .parse()
            .ok()
            .and_then(|unit: u64| Some((unit, unit.checked_add(1)?))),
    };
    match units {
        Some((first, end)) if first < end && is_confirmed => confirmed.insert(first..end),
        Some((first, end)) if first < end => confirmed.remove(first..end),
        _ => {}
    }
}

/// The units of the journal at `path` that the broker has. One that is much longer than it needs to be is
/// written anew first, as ranges: a killed process leaves the old one or the new one.
///
/// # Errors
/// The file cannot be read or written, or is no text.
pub(super) fn read(path: &Path) -> Result<(File, RangeSet<u64>), FolderError> {
    let (mut confirmed, mut lines, mut damage) = (RangeSet::new(), 0, None);
    let each = |line: &[u8]| {
        lines += 1;
        match str::from_utf8(line) {
            Ok(line) => note_line(&mut confirmed, line.trim_end()),
            Err(error) => damage = Some(error.to_string()),
        }
    };
    let mut file = open_lines(path, each).map_err(file_error("open", path))?;
    if let Some(reason) = damage {
        let path = path.to_owned();
        return Err(FolderError::Damaged { path, reason });
    }
    if lines > confirmed.len() + IDLE_LINES {
        let ranges = confirmed.iter();
        let text: String = ranges
            .map(|units| format!("{}..{}\n", units.start, units.end))
            .collect();
        replace(path, text.as_bytes()).map_err(file_error("write", path))?;
        file = open_lines(path, |_| {}).map_err(file_error("open", path))?;
    }
    Ok((file, confirmed))
}

/// The journal of the units that the broker has confirmed; clones share it.
///
/// One side publishes and writes down what was confirmed, while the other finds that answers were lost or wrong, so that units are
/// to be published again. A confirmation may come after that of a publication from before: it must not be written, or `resume` would
/// wait for an answer that has been and gone. So each publication has a number, and only those count that were begun since.
#[derive(Debug, Clone)]
pub(crate) struct Journal(Arc<Mutex<Pages>>);

#[derive(Debug)]
struct Pages {
    file: File,
    path: PathBuf,
    /// Number of the next publication.
    next: u64,
    /// First publication that counts; none does while answers are lost.
    since: Option<u64>,
    /// The same for units that are to be done again.
    again: HashMap<u64, u64>,
}

/// That a unit was published once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Publication {
    /// The unit.
    pub unit: u64,
    number: u64,
}

impl Pages {
    fn counts(&self, publication: &Publication) -> bool {
        let again = self.again.get(&publication.unit).copied();
        self.since
            .is_some_and(|since| publication.number >= since.max(again.unwrap_or_default()))
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        self.file.write_all(text.as_bytes())
    }
}

impl Journal {
    pub(super) fn new(file: File, path: PathBuf) -> Self {
        Self(Arc::new(Mutex::new(Pages {
            file,
            path,
            next: 0,
            since: Some(0),
            again: HashMap::new(),
        })))
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        // Every critical section leaves it whole, whatever thread panics elsewhere.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A unit is about to be published.
    #[must_use]
    pub(crate) fn begin(&self, unit: u64) -> Publication {
        let mut pages = self.pages();
        let number = pages.next;
        pages.next += 1;
        Publication { unit, number }
    }

    /// The broker has confirmed these publications: adds their units, but for those that are to be published again. They are safe
    /// from the death of this process then; a power cut may cost the last of them, whose jobs are published a second time then.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn add(&self, publications: &[Publication]) -> Result<(), FolderError> {
        let mut pages = self.pages();
        let text: String = publications
            .iter()
            .filter(|publication| pages.counts(publication))
            .map(|publication| format!("{}\n", publication.unit))
            .collect();
        pages
            .write(&text)
            .map_err(|error| file_error("write", &pages.path)(error))
    }

    /// Takes units out that are to be done again, before the answers that were wrong are acknowledged: a process that dies
    /// before they are published again leaves them to `resume`, and so does a power cut.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn retract(&self, units: &[u64]) -> Result<(), FolderError> {
        let mut pages = self.pages();
        let next = pages.next;
        pages.again.extend(units.iter().map(|unit| (*unit, next)));
        let text: String = units.iter().map(|unit| format!("-{unit}\n")).collect();
        pages
            .write(&text)
            .and_then(|()| pages.file.sync_data())
            .map_err(|error| file_error("write", &pages.path)(error))
    }

    /// Answers are lost: forgets all units, before anything else could make believe that they are still on their way. Nothing
    /// counts until [`Journal::reopen`].
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn forget(&self) -> Result<(), FolderError> {
        let mut pages = self.pages();
        pages.since = None;
        pages
            .file
            .set_len(0)
            .and_then(|()| pages.file.sync_data())
            .map_err(|error| file_error("write", &pages.path)(error))
    }

    /// Answers to what is published from now on arrive. `true` if they did not before: units without one are to be published
    /// again.
    #[must_use]
    pub(crate) fn reopen(&self) -> bool {
        let mut pages = self.pages();
        let was_open = pages.since.is_some();
        if !was_open {
            pages.since = Some(pages.next);
        }
        !was_open
    }
}
