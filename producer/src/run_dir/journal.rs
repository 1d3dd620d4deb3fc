//! The journal: the units whose publication the broker has confirmed.

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

/// Number of superfluous lines above which a journal is rewritten when it is opened.
const IDLE_LINES: usize = 100_000;

/// Applies a line of a journal to the set of confirmed units. The last line about a unit counts;
/// invalid lines are ignored.
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

/// Reads the confirmed units from the journal at `path`. A journal that is much longer than
/// necessary is first rewritten as ranges; a killed process leaves either the old or the new file.
///
/// # Errors
/// The file cannot be read or written, or is not valid UTF-8.
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

/// The journal of confirmed units; clones share it.
///
/// The publisher records confirmations here, while the collector may find that answers were lost or
/// wrong, so that units must be published again. The confirmation of an earlier publication may
/// arrive after that; it must not be recorded, or `resume` would wait for an answer that was
/// consumed already. Therefore each publication has a number, and only publications that began
/// after that moment count.
#[derive(Debug, Clone)]
pub(crate) struct Journal(Arc<Mutex<JournalState>>);

#[derive(Debug)]
struct JournalState {
    file: File,
    path: PathBuf,
    /// Number of the next publication.
    next: u64,
    /// First publication that counts; `None` while answers are being lost, when no publication
    /// counts.
    counts_from: Option<u64>,
    /// First publication that counts, for each unit that must be done again.
    unit_counts_from: HashMap<u64, u64>,
}

/// One publication of a unit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Publication {
    /// Number of the unit.
    pub unit: u64,
    number: u64,
}

impl JournalState {
    fn counts(&self, publication: &Publication) -> bool {
        let unit_counts_from = self.unit_counts_from.get(&publication.unit).copied();
        self.counts_from.is_some_and(|first| {
            publication.number >= first.max(unit_counts_from.unwrap_or_default())
        })
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        self.file.write_all(text.as_bytes())
    }
}

impl Journal {
    pub(super) fn new(file: File, path: PathBuf) -> Self {
        Self(Arc::new(Mutex::new(JournalState {
            file,
            path,
            next: 0,
            counts_from: Some(0),
            unit_counts_from: HashMap::new(),
        })))
    }

    fn state(&self) -> MutexGuard<'_, JournalState> {
        // Every critical section leaves the data consistent, even if another thread panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers the publication of a unit; call it before the unit is sent.
    #[must_use]
    pub(crate) fn begin(&self, unit: u64) -> Publication {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        Publication { unit, number }
    }

    /// Records that the broker has confirmed these publications, except for units that must be
    /// published again. The record survives the death of this process; a power cut may lose the
    /// last entries, and their jobs are then published a second time.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn add(&self, publications: &[Publication]) -> Result<(), FolderError> {
        let mut state = self.state();
        let text: String = publications
            .iter()
            .filter(|publication| state.counts(publication))
            .map(|publication| format!("{}\n", publication.unit))
            .collect();
        state
            .write(&text)
            .map_err(|error| file_error("write", &state.path)(error))
    }

    /// Removes units that must be done again. This happens before the wrong answers are
    /// acknowledged: if the process dies or the power fails before the units are published again,
    /// `resume` publishes them.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn retract(&self, units: &[u64]) -> Result<(), FolderError> {
        let mut state = self.state();
        let next = state.next;
        state
            .unit_counts_from
            .extend(units.iter().map(|unit| (*unit, next)));
        let text: String = units.iter().map(|unit| format!("-{unit}\n")).collect();
        state
            .write(&text)
            .and_then(|()| state.file.sync_data())
            .map_err(|error| file_error("write", &state.path)(error))
    }

    /// Forgets all units, because answers are being lost and no unit may count as on its way. No
    /// publication counts until [`Journal::reopen`].
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn forget(&self) -> Result<(), FolderError> {
        let mut state = self.state();
        state.counts_from = None;
        state
            .file
            .set_len(0)
            .and_then(|()| state.file.sync_data())
            .map_err(|error| file_error("write", &state.path)(error))
    }

    /// Publications from now on count, since their answers can arrive. Returns `true` if the
    /// journal was not open before: then units without an answer must be published again.
    #[must_use]
    pub(crate) fn reopen(&self) -> bool {
        let mut state = self.state();
        let was_open = state.counts_from.is_some();
        if !was_open {
            state.counts_from = Some(state.next);
        }
        !was_open
    }
}
