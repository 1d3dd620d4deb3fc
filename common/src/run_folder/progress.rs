//! Progress of the runs in a folder.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{find::names, is_cancelled};
use crate::{
    message::{JobKind, RunId},
    text::json_error,
};

/// Longest manifest that is read, in bytes. Manifests of early versions contain the integers of the
/// run.
const LONGEST_MANIFEST: u64 = 64 << 20;

/// Progress of a run according to its folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunProgress {
    /// Name of the run.
    pub run: RunId,
    /// Kind of its jobs; `None` if the manifest cannot be read.
    pub kind: Option<JobKind>,
    /// Bits of its jobs; 0 if each integer has its own size.
    pub bits: u32,
    /// Number of jobs.
    pub jobs: u64,
    /// Number of jobs with a line in the results, whatever their outcome. `None` if the results do
    /// not go to a regular file, or the file cannot be read.
    pub done: Option<u64>,
    /// Number of results whose outcome is not `ok`.
    pub not_ok: u64,
    /// Path of the results.
    pub output: PathBuf,
    /// State of the run.
    #[serde(flatten)]
    pub state: RunState,
}

/// The state of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", content = "reason", rename_all = "kebab-case")]
pub enum RunState {
    /// A producer is at work on it.
    Running,
    /// Every job has its result.
    Complete,
    /// Jobs have no result and no producer works on the run: it can be resumed.
    Unfinished,
    /// The run was cancelled and cannot be resumed.
    Cancelled,
    /// The folder cannot be read, for this reason.
    Damaged(String),
}

/// The fields of a manifest that are read; every version has them.
#[derive(Debug, Deserialize)]
struct Head {
    kind: JobKind,
    #[serde(default)]
    bits: u32,
    count: u64,
    output: PathBuf,
}

/// The facts in a run's folder that determine its state.
#[derive(Debug, Clone, Copy)]
struct Signs {
    is_cancelled: bool,
    is_locked: bool,
    jobs: u64,
    done: Option<u64>,
}

fn state_of(signs: Signs) -> RunState {
    let is_complete = signs.done.is_some_and(|done| done >= signs.jobs);
    if is_complete && !signs.is_locked {
        // This includes a run that was cancelled after its last result.
        RunState::Complete
    } else if signs.is_cancelled {
        RunState::Cancelled
    } else if signs.is_locked {
        RunState::Running
    } else {
        RunState::Unfinished
    }
}

/// The runs in a folder, newest first. Each folder is read when the iterator reaches it.
///
/// # Errors
/// The folder cannot be read.
pub fn list_runs(
    runs_dir: &Path,
) -> io::Result<impl ExactSizeIterator<Item = RunProgress> + use<>> {
    std::fs::read_dir(runs_dir)?;
    let runs_dir = runs_dir.to_owned();
    let names: Vec<_> = names(&runs_dir).into_iter().rev().collect();
    Ok(names.into_iter().map(move |run| look_at(&runs_dir, run)))
}

fn look_at(runs_dir: &Path, run: RunId) -> RunProgress {
    let folder = runs_dir.join(run.as_str());
    let head = match read_head(&folder.join("manifest.json")) {
        Ok(head) => head,
        Err(reason) => {
            return RunProgress {
                run,
                kind: None,
                bits: 0,
                jobs: 0,
                done: None,
                not_ok: 0,
                output: folder.join("results.jsonl"),
                state: RunState::Damaged(format!("manifest.json: {reason}")),
            };
        }
    };
    // Checked before the results are counted: if a producer ends in between, the run is complete.
    let is_locked = is_locked(&folder.join("lock"));
    let counts = count_results(&head.output);
    let done = counts.map(|(done, _)| done);
    let state = state_of(Signs {
        is_cancelled: is_cancelled(&folder),
        is_locked,
        jobs: head.count,
        done,
    });
    RunProgress {
        run,
        kind: Some(head.kind),
        bits: head.bits,
        jobs: head.count,
        done,
        not_ok: counts.map_or(0, |(_, not_ok)| not_ok),
        output: head.output,
        state,
    }
}

fn read_head(path: &Path) -> Result<Head, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let size = file.metadata().map_err(|error| error.to_string())?.len();
    if size > LONGEST_MANIFEST {
        return Err(format!("{size} bytes (at most {LONGEST_MANIFEST})"));
    }
    serde_json::from_reader(BufReader::new(file)).map_err(|error| json_error(&error))
}

/// Whether a producer holds the lock. This takes a shared lock for a moment, which is compatible
/// with that of another reader.
fn is_locked(path: &Path) -> bool {
    let Ok(file) = File::open(path) else {
        return false;
    };
    matches!(
        file.try_lock_shared(),
        Err(std::fs::TryLockError::WouldBlock)
    )
}

/// Number of results in a file, and how many of them are not `ok`. An incomplete last line, left by
/// a killed producer, does not count.
fn count_results(path: &Path) -> Option<(u64, u64)> {
    let file = match File::open(path) {
        // No result has arrived yet.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Some((0, 0)),
        opened => opened.ok()?,
    };
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    count_lines(BufReader::with_capacity(1 << 16, file)).ok()
}

fn count_lines(mut lines: impl BufRead) -> io::Result<(u64, u64)> {
    let (mut line, mut done, mut not_ok) = (Vec::new(), 0, 0);
    loop {
        line.clear();
        lines.read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            return Ok((done, not_ok));
        }
        done += 1;
        not_ok += u64::from(!is_ok(&line));
    }
}

/// Whether a line of the results belongs to a job that ended successfully. Inside a text value the
/// quotes would be escaped.
fn is_ok(line: &[u8]) -> bool {
    const OK: &[u8] = br#""outcome":"ok""#;
    line.windows(OK.len()).any(|window| window == OK)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    #[test]
    fn a_state_follows_from_what_the_folder_holds() {
        let state = |is_cancelled, is_locked, done| {
            state_of(Signs {
                is_cancelled,
                is_locked,
                jobs: 5,
                done,
            })
        };
        assert_eq!(state(true, true, Some(4)), RunState::Cancelled);
        assert_eq!(state(true, false, Some(4)), RunState::Cancelled);
        assert_eq!(state(true, false, Some(5)), RunState::Complete);
        assert_eq!(state(false, true, Some(5)), RunState::Running);
        assert_eq!(state(false, false, Some(5)), RunState::Complete);
        assert_eq!(state(false, false, Some(4)), RunState::Unfinished);
        assert_eq!(state(false, false, None), RunState::Unfinished);
    }

    #[test]
    fn runs_are_listed_newest_first() {
        let dir = tempfile::tempdir().unwrap();
        assert!(list_runs(&dir.path().join("none")).is_err());
        for (name, results) in [
            ("20261122-201530-9f3c01ab", ""),
            (
                "20261123-080000-00000000",
                "{\"job\":0,\"outcome\":\"ok\"}\n\
                 {\"job\":1,\"outcome\":\"failed\",\"reason\":\"\\\"outcome\\\":\\\"ok\\\"\"}\n{\"jo",
            ),
        ] {
            let folder = dir.path().join(name);
            fs::create_dir(&folder).unwrap();
            let output = folder.join("results.jsonl");
            let manifest = format!(
                r#"{{"version":2,"kind":"prime","bits":64,"count":2,"output":{output:?}}}"#
            );
            fs::write(folder.join("manifest.json"), manifest).unwrap();
            fs::write(output, results).unwrap();
        }
        let old = dir.path().join("20261122-201530-9f3c01ab");
        let lock = File::create(old.join("lock")).unwrap();
        lock.lock().unwrap();
        let broken = dir.path().join("20261121-000000-00000000");
        fs::create_dir(&broken).unwrap();
        fs::write(broken.join("manifest.json"), "{}").unwrap();
        let runs: Vec<_> = list_runs(dir.path()).unwrap().collect();
        let seen: Vec<_> = runs
            .iter()
            .map(|run| (run.done, run.not_ok, &run.state))
            .collect();
        assert_eq!(seen[0], (Some(2), 1, &RunState::Complete));
        assert_eq!(seen[1], (Some(0), 0, &RunState::Running));
        assert!(matches!(seen[2].2, RunState::Damaged(reason) if reason.contains("kind")));
        drop(lock);
        let runs: Vec<_> = list_runs(dir.path()).unwrap().collect();
        assert_eq!(runs[1].state, RunState::Unfinished);
        let json = serde_json::to_value(&runs[0]).unwrap();
        assert_eq!(
            (&json["state"], &json["kind"]),
            (&"complete".into(), &"prime".into())
        );
    }
}
