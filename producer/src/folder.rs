//! A run's folder: what was asked for, what the broker has confirmed, what has come back.
//!
//! | file | what it holds |
//! |---|---|
//! | `manifest.json` | what was asked for and how it is packed: every unit can be made again from it |
//! | `published` | the numbers of the units that the broker has confirmed, a line each; with a `-` when one is to be done again. The last word counts |
//! | `results.jsonl` | a line for each job that has ended (`--output` puts it elsewhere) |
//! | `metrics.lp` | the run's metrics, in InfluxDB's line protocol |
//! | `summary.json` | the figures of the last session |
//! | `factor-<job>.jsonl` | what is known of an integer that the whole pool is at work on, see [`crate::factoring`]; gone when it has its result |
//! | `groups` | how many groups of units were made for such integers |
//! | `cancelled` | there once the run was cancelled; empty |
//! | `lock` | held by the producer that works on the run |

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufRead, BufReader, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use primepool_common::{
    message::{MAX_BODY_BYTES, RunId},
    text::json_error,
};
use serde::{Deserialize, Serialize};

use crate::plan::{Ask, Packing};

/// Format of the manifest.
const VERSION: u32 = 1;

/// What is needed to make a run's units again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Format of this file.
    pub version: u32,
    /// The run.
    pub run: RunId,
    /// The jobs.
    #[serde(flatten)]
    pub ask: Ask,
    /// How they are packed.
    pub packing: Packing,
    /// AMQP priority of the units.
    pub priority: u8,
    /// The results, as an absolute path.
    pub output: PathBuf,
}

impl Manifest {
    /// Reads one: nothing of it is worked with that could not have been written.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &[u8], run: &RunId) -> Result<Self, String> {
        let manifest: Self = serde_json::from_slice(text).map_err(|error| json_error(&error))?;
        if manifest.version != VERSION {
            return Err(format!(
                "it is of version {}, this build reads version {VERSION}",
                manifest.version
            ));
        }
        if manifest.run != *run {
            return Err(format!("it is that of run {}", manifest.run));
        }
        if manifest.priority > 9 {
            return Err(format!("priority {} (0 to 9)", manifest.priority));
        }
        manifest.ask.validate(&manifest.packing)?;
        Ok(manifest)
    }

    /// Most bytes of an answer to one of the run's units: digits and columns of its jobs, or why each was not done, and two
    /// samples.
    #[must_use]
    pub fn largest_answer(&self) -> usize {
        if self.ask.is_spread() {
            // Relations of the sieve.
            return MAX_BODY_BYTES;
        }
        let job = self.ask.answer_bytes() + ANSWER_JOB_BYTES;
        let jobs = self.packing.most.saturating_mul(job);
        usize::try_from(jobs.saturating_add(ANSWER_HEAD_BYTES))
            .unwrap_or(usize::MAX)
            .min(MAX_BODY_BYTES)
    }
}

/// Bytes of an answer that come with each job, besides its result; most are for a reason why it failed.
const ANSWER_JOB_BYTES: u64 = 512;

/// Bytes of an answer without jobs.
const ANSWER_HEAD_BYTES: u64 = 64 << 10;

/// What went wrong with the folder; the text names the file.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A file could not be used.
    #[error("cannot {what} {}: {error}", path.display())]
    File {
        /// What was to be done.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// There is no such run.
    #[error("there is no run {run} in {}: name one of its folders, or say with --runs-dir where it is", runs.display())]
    Unknown {
        /// The run.
        run: RunId,
        /// The folder that was looked in.
        runs: PathBuf,
    },
    /// A file does not hold what it should.
    #[error(
        "{} is damaged: {reason}. Put back a copy of it if there is one; without it the run cannot go on, but the results that \
         are there stay good: ask for the rest in a new run",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The file for the results is there already.
    #[error("{} exists already: name another file with --output, or move that one away", .0.display())]
    OutputExists(PathBuf),
    /// The run was cancelled.
    #[error("run {run} was cancelled, and its jobs are no longer worked on. What it had found is in {}; start a new run for more", results.display())]
    Cancelled {
        /// The run.
        run: RunId,
        /// Its results.
        results: PathBuf,
    },
    /// Another producer is at work on this run.
    #[error("another producer is at work on run {0}: wait for it, or end it")]
    Busy(RunId),
}

pub(crate) fn file_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.to_owned();
    move |error| FolderError::File { what, path, error }
}

/// The folder of one run, held by this process.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// What was asked for.
    pub manifest: Manifest,
    _lock: File,
}

impl Folder {
    /// Makes the folder of a new run. `output`: where the results go in place of `results.jsonl`; it must not exist.
    ///
    /// # Errors
    /// A file cannot be made.
    pub fn create(
        runs: &Path,
        run: RunId,
        ask: Ask,
        packing: Packing,
        priority: u8,
        output: Option<&Path>,
    ) -> Result<Self, FolderError> {
        let path = runs.join(run.as_str());
        let output = output.map_or_else(|| path.join("results.jsonl"), Path::to_owned);
        let output = std::path::absolute(&output).map_err(file_error("find", &output))?;
        // Refused before anything is made: results are never added to another run's.
        if fs::metadata(&output).is_ok_and(|file| file.is_file()) {
            return Err(FolderError::OutputExists(output));
        }
        if !output.starts_with(std::path::absolute(&path).map_err(file_error("find", &path))?) {
            open_lines(&output).map_err(file_error("write to", &output))?;
        }
        fs::create_dir_all(&path).map_err(file_error("make", &path))?;
        let lock = lock(&path, &run)?;
        let manifest = Manifest {
            version: VERSION,
            run,
            ask,
            packing,
            priority,
            output,
        };
        let file = path.join("manifest.json");
        write_whole(&file, &manifest).map_err(file_error("write", &file))?;
        Ok(Self {
            path,
            manifest,
            _lock: lock,
        })
    }

    /// Opens the folder of a run.
    ///
    /// # Errors
    /// There is none, it is damaged, or another process holds it.
    pub fn open(runs: &Path, run: &RunId) -> Result<Self, FolderError> {
        let path = runs.join(run.as_str());
        let file = path.join("manifest.json");
        let text = match fs::read(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(FolderError::Unknown {
                    run: run.clone(),
                    runs: runs.to_owned(),
                });
            }
            read => read.map_err(file_error("read", &file))?,
        };
        let manifest = Manifest::read(&text, run).map_err(|reason| FolderError::Damaged {
            path: file.clone(),
            reason,
        })?;
        if path.join(CANCELLED).exists() {
            return Err(FolderError::Cancelled {
                run: run.clone(),
                results: manifest.output,
            });
        }
        let lock = lock(&path, run)?;
        Ok(Self {
            path,
            manifest,
            _lock: lock,
        })
    }

    /// A file of the folder.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the journal of confirmed units; also gives those that are in it. To be opened once: clones share it.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn journal(&self) -> Result<(Journal, HashSet<u64>), FolderError> {
        let path = self.file("published");
        let (file, text) = open_lines(&path).map_err(file_error("open", &path))?;
        Ok((Journal::new(file, path), confirmed(&text)))
    }

    /// Opens the results; also gives what is in them, as text.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn results(&self) -> Result<(File, String), FolderError> {
        let path = &self.manifest.output;
        open_lines(path).map_err(file_error("open", path))
    }

    /// Writes the summary.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_summary(&self, summary: &impl Serialize) -> Result<(), FolderError> {
        let path = self.file("summary.json");
        write_whole(&path, summary).map_err(file_error("write", &path))
    }
}

/// Name of the file that says that a run was cancelled.
const CANCELLED: &str = "cancelled";

/// Notes that a run was cancelled, if its folder is here; whether it is.
///
/// # Errors
/// The file cannot be written.
pub fn mark_cancelled(runs: &Path, run: &RunId) -> Result<bool, FolderError> {
    let folder = runs.join(run.as_str());
    if !folder.join("manifest.json").exists() {
        return Ok(false);
    }
    let file = folder.join(CANCELLED);
    File::create(&file).map_err(file_error("write", &file))?;
    Ok(true)
}

fn lock(folder: &Path, run: &RunId) -> Result<File, FolderError> {
    let path = folder.join("lock");
    let file = File::create(&path).map_err(file_error("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(FolderError::Busy(run.clone())),
        Err(TryLockError::Error(error)) => Err(file_error("lock", &path)(error)),
    }
}

/// Opens a file of lines for appending and reads it. A last line without its end, which a killed process left, is cut off.
fn open_lines(path: &Path) -> io::Result<(File, String)> {
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .open(path)?;
    if !file.metadata()?.is_file() {
        // A device or a pipe: nothing to read back.
        return Ok((file, String::new()));
    }
    let mut bytes = Vec::new();
    read_lines(&mut file, |line| bytes.extend_from_slice(line))?;
    let text = String::from_utf8(bytes)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok((file, text))
}

/// Hands out the lines of a file, each with its end, and leaves it ready for more of them: a last line without its end is cut off.
pub(crate) fn read_lines(file: &mut File, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let mut lines = BufReader::new(&mut *file);
    let (mut line, mut whole) = (Vec::new(), 0);
    loop {
        line.clear();
        lines.read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            break;
        }
        each(&line);
        whole += line.len() as u64;
    }
    if !line.is_empty() {
        file.set_len(whole)?;
    }
    file.seek(SeekFrom::End(0))?;
    Ok(())
}

/// Writes a file so that it is there whole or not at all, also after a power cut.
pub(crate) fn write_whole(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    serde_json::to_writer_pretty(&mut file, value)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&new, path)
}

/// The units of a journal that the broker has: those whose last line says so.
#[must_use]
pub fn confirmed(journal: &str) -> HashSet<u64> {
    let mut confirmed = HashSet::new();
    for line in journal.lines() {
        if let Some(unit) = line.strip_prefix('-') {
            if let Ok(unit) = unit.parse::<u64>() {
                confirmed.remove(&unit);
            }
        } else if let Ok(unit) = line.parse() {
            confirmed.insert(unit);
        }
    }
    confirmed
}

/// The journal of the units that the broker has confirmed; clones share it.
///
/// One side publishes and writes down what was confirmed, while the other finds that answers were lost or wrong, so that units are
/// to be published again. A confirmation may come after that of a publication from before: it must not be written, or `resume` would
/// wait for an answer that has been and gone. So each publication has a number, and only those count that were begun since.
#[derive(Debug, Clone)]
pub struct Journal(Arc<Mutex<Pages>>);

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
pub struct Publication {
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
    fn new(file: File, path: PathBuf) -> Self {
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
    pub fn begin(&self, unit: u64) -> Publication {
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
    pub fn add(&self, publications: &[Publication]) -> Result<(), FolderError> {
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
    pub fn retract(&self, units: &[u64]) -> Result<(), FolderError> {
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
    pub fn forget(&self) -> Result<(), FolderError> {
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
    pub fn reopen(&self) -> bool {
        let mut pages = self.pages();
        let was_open = pages.since.is_some();
        if !was_open {
            pages.since = Some(pages.next);
        }
        !was_open
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use primepool_common::message::{JobKind, Method};

    use super::*;

    fn create(runs: &Path, output: Option<&Path>) -> Result<Folder, FolderError> {
        let ask = Ask {
            kind: JobKind::Prime,
            bits: 64,
            count: 9,
            method: Method::Uniform,
            seed: Some(3),
            deadline_ms: None,
            after: vec![],
            numbers: vec![],
            is_balanced: false,
        };
        let packing = Packing {
            most: 4,
            least: 1,
            workers: 4,
        };
        Folder::create(runs, "r1".parse().unwrap(), ask, packing, 0, output)
    }

    #[test]
    fn a_run_can_be_opened_again() {
        let runs = tempfile::tempdir().unwrap();
        let folder = create(runs.path(), None).unwrap();
        let (journal, _) = folder.journal().unwrap();
        journal.add(&publish(&journal, &[0, 2])).unwrap();
        let manifest = folder.manifest.clone();
        let run = manifest.run.clone();
        let busy = Folder::open(runs.path(), &run).unwrap_err();
        assert!(matches!(busy, FolderError::Busy(_)), "{busy}");
        drop(folder);
        let again = Folder::open(runs.path(), &run).unwrap();
        assert_eq!(again.manifest, manifest);
        assert_eq!(again.journal().unwrap().1, HashSet::from([0, 2]));
    }

    fn publish(journal: &Journal, units: &[u64]) -> Vec<Publication> {
        units.iter().map(|unit| journal.begin(*unit)).collect()
    }

    #[test]
    fn a_unit_to_be_done_again_is_not_published() {
        let runs = tempfile::tempdir().unwrap();
        let folder = create(runs.path(), None).unwrap();
        let (journal, _) = folder.journal().unwrap();
        let written = || folder.journal().unwrap().1;
        journal.add(&publish(&journal, &[0, 1, 2])).unwrap();
        journal.retract(&[1]).unwrap();
        assert_eq!(written(), HashSet::from([0, 2]));
        journal.add(&publish(&journal, &[1])).unwrap();
        assert_eq!(written(), HashSet::from([0, 1, 2]));
        // An answer may be read before the confirmations of its unit, which may have been published twice.
        let before = publish(&journal, &[3, 4, 3]);
        journal.retract(&[3]).unwrap();
        journal.add(&before).unwrap();
        assert_eq!(written(), HashSet::from([0, 1, 2, 4]));
        let twice = publish(&journal, &[3, 3]);
        journal.add(&twice).unwrap();
        assert_eq!(written(), HashSet::from([0, 1, 2, 3, 4]));
        journal.retract(&[3]).unwrap();
        journal.add(&twice[1..]).unwrap();
        assert_eq!(written(), HashSet::from([0, 1, 2, 4]));
    }

    #[test]
    fn what_was_published_before_answers_were_lost_does_not_count() {
        let runs = tempfile::tempdir().unwrap();
        let folder = create(runs.path(), None).unwrap();
        let (journal, _) = folder.journal().unwrap();
        let written = || folder.journal().unwrap().1;
        assert!(!journal.reopen(), "nothing was lost");
        journal.add(&publish(&journal, &[0])).unwrap();
        let before = publish(&journal, &[1, 2]);
        journal.forget().unwrap();
        assert_eq!(written(), HashSet::new());
        journal.add(&before[..1]).unwrap();
        // There is no queue yet for the answer to this one.
        let meanwhile = publish(&journal, &[3]);
        journal.add(&meanwhile).unwrap();
        assert!(journal.reopen());
        journal.add(&before).unwrap();
        journal.add(&meanwhile).unwrap();
        assert_eq!(written(), HashSet::new());
        journal.add(&publish(&journal, &[2])).unwrap();
        assert_eq!(written(), HashSet::from([2]));
        assert!(!journal.reopen(), "told once");
    }

    #[test]
    fn half_a_line_is_cut_off() {
        let runs = tempfile::tempdir().unwrap();
        let folder = create(runs.path(), None).unwrap();
        fs::write(folder.file("results.jsonl"), "{\"a\":1}\n{\"b\":").unwrap();
        let (mut file, text) = folder.results().unwrap();
        assert_eq!(text, "{\"a\":1}\n");
        file.write_all(b"{\"c\":3}\n").unwrap();
        let whole = fs::read_to_string(folder.file("results.jsonl")).unwrap();
        assert_eq!(whole, "{\"a\":1}\n{\"c\":3}\n");
    }

    #[test]
    fn never_writes_over_somebodys_file() {
        let runs = tempfile::tempdir().unwrap();
        let output = runs.path().join("mine.jsonl");
        fs::write(&output, "precious").unwrap();
        assert!(create(runs.path(), Some(&output)).is_err());
        assert_eq!(fs::read_to_string(&output).unwrap(), "precious");
    }

    #[test]
    fn a_damaged_manifest_is_refused_with_what_to_do() {
        let runs = tempfile::tempdir().unwrap();
        let folder = create(runs.path(), None).unwrap();
        let file = folder.file("manifest.json");
        let run = folder.manifest.run.clone();
        drop(folder);
        let whole = fs::read_to_string(&file).unwrap();
        for (good, bad) in [
            ("\"workers\": 4", "\"workers\": 0"),
            ("\"least\": 1", "\"least\": 0"),
            ("\"least\": 1", "\"least\": 5"),
            ("\"most\": 4", "\"most\": 18446744073709551615"),
            ("\"count\": 9", "\"count\": 18446744073709551615"),
            ("\"count\": 9", "\"count\": 0"),
            ("\"bits\": 64", "\"bits\": 1"),
            ("\"bits\": 64", "\"bits\": 4294967295"),
            ("\"kind\": \"prime\"", "\"kind\": \"next-prime\""),
            ("\"priority\": 0", "\"priority\": 10"),
            ("\"version\": 1", "\"version\": 2"),
            ("\"run\": \"r1\"", "\"run\": \"r2\""),
            ("}", ""),
        ] {
            assert!(whole.contains(good), "{good}");
            fs::write(&file, whole.replacen(good, bad, 1)).unwrap();
            let error = Folder::open(runs.path(), &run).unwrap_err();
            assert!(matches!(error, FolderError::Damaged { .. }), "{error}");
            let text = error.to_string();
            assert!(
                text.contains("manifest.json") && text.contains("new run"),
                "{text}"
            );
        }
        fs::write(&file, whole).unwrap();
        assert!(Folder::open(runs.path(), &run).is_ok());
    }

    #[test]
    fn an_unknown_run_is_named() {
        let runs = tempfile::tempdir().unwrap();
        let error = Folder::open(runs.path(), &"r9".parse().unwrap()).unwrap_err();
        assert!(error.to_string().contains("r9"), "{error}");
    }
}
