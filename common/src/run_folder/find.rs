//! Finds the run that a user names.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::message::RunId;

/// A run and the folder that contains its folder.
#[derive(Debug, PartialEq, Eq)]
pub struct FoundRun {
    /// The folder of all runs.
    pub runs_dir: PathBuf,
    /// Name of the run.
    pub run: RunId,
}

/// Most matching runs that an error lists.
const NAMED: usize = 5;

/// The run that `given` names: a full name, the start of exactly one run's name in `runs_dir`, or
/// the path of a run's folder. Without `given`, the latest run. A full name without a folder is
/// accepted: the run may belong to another machine.
///
/// # Errors
/// There is no run, several runs match, or the text is not a run name.
pub fn find_run(runs_dir: &Path, given: Option<&str>) -> Result<FoundRun, String> {
    let Some(given) = given else {
        return latest(runs_dir);
    };
    if given.contains('/') {
        let path = Path::new(given);
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        return Ok(FoundRun {
            runs_dir: parent.unwrap_or(Path::new(".")).to_owned(),
            run: name.parse().map_err(|error| format!("{given}: {error}"))?,
        });
    }
    let run: RunId = given.parse().map_err(|error| format!("{error}"))?;
    let found = |run| {
        let runs_dir = runs_dir.to_owned();
        Ok(FoundRun { runs_dir, run })
    };
    let names = names(runs_dir);
    if names.contains(&run) {
        return found(run);
    }
    let mut matches = names
        .into_iter()
        .filter(|name| name.as_str().starts_with(given));
    match (matches.next(), matches.next()) {
        (None, _) => found(run),
        (Some(only), None) => found(only),
        (Some(first), Some(second)) => {
            let mut several = vec![first, second];
            several.extend(matches);
            let more = several.len().saturating_sub(NAMED);
            let named: Vec<_> = several.iter().take(NAMED).map(RunId::as_str).collect();
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            Err(format!(
                "{given} is the start of several runs in {}: {}{more}",
                runs_dir.display(),
                named.join(", ")
            ))
        }
    }
}

fn latest(runs_dir: &Path) -> Result<FoundRun, String> {
    // Run names begin with the time.
    let run = names(runs_dir).pop_last();
    let runs_dir = runs_dir.to_owned();
    match run {
        Some(run) => Ok(FoundRun { runs_dir, run }),
        None => Err(format!(
            "there is no run in {}: name its folder, or the folder of all runs with --runs-dir",
            runs_dir.display()
        )),
    }
}

/// Names of the runs in a folder, sorted.
pub(super) fn names(runs_dir: &Path) -> BTreeSet<RunId> {
    let entries = fs::read_dir(runs_dir).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.path().join("manifest.json").exists())
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_run_is_found_by_what_a_user_writes() {
        let dir = tempfile::tempdir().unwrap();
        let runs = dir.path().join("runs");
        let find = |given| find_run(&runs, given).map(|found| found.run.to_string());
        assert!(find(None).unwrap_err().contains("--runs-dir"));
        for name in ["20261122-201530-9f3c01ab", "20261123-080000-00000000", "x"] {
            fs::create_dir_all(runs.join(name)).unwrap();
        }
        for name in ["20261122-201530-9f3c01ab", "20261123-080000-00000000"] {
            fs::write(runs.join(name).join("manifest.json"), "{}").unwrap();
        }
        let ok = |given| find(Some(given)).unwrap();
        assert_eq!(find(None).unwrap(), "20261123-080000-00000000");
        assert_eq!(ok("20261122"), "20261122-201530-9f3c01ab");
        assert_eq!(ok("20261123-080000-00000000"), "20261123-080000-00000000");
        assert_eq!(ok("2025"), "2025", "it may be of another machine");
        let error = find(Some("2026")).unwrap_err();
        assert!(error.contains("201530-9f3c01ab, 20261123"), "{error}");
        assert!(find(Some("a b")).unwrap_err().contains("run id"));
        // A path as completed by the Tab key.
        for path in [
            "runs/20261122-201530-9f3c01ab/",
            "/a/b/20261122-201530-9f3c01ab",
        ] {
            let found = find_run(Path::new("elsewhere"), Some(path)).unwrap();
            assert_eq!(found.run.as_str(), "20261122-201530-9f3c01ab");
            assert_eq!(found.runs_dir, Path::new(path).parent().unwrap());
        }
    }
}
