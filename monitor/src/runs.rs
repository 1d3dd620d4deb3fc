//! `primepool runs`: lists the runs of a folder, with the command that resumes each unfinished one.

use std::path::Path;

use anyhow::anyhow;
use primepool_common::{
    exit::Exit,
    output::print,
    run_folder::{RunProgress, RunState, list_runs},
    text::reason,
};
use serde::Serialize;

use crate::{
    Failure,
    cli::RunsArgs,
    columns::{
        Align::{Left, Right},
        Table,
    },
};

/// A run and how to resume it.
#[derive(Debug, Serialize)]
struct Line {
    #[serde(flatten)]
    progress: RunProgress,
    /// The command that resumes the run, if it can be resumed.
    resume: Option<String>,
}

/// Lists the runs.
///
/// # Errors
/// The folder cannot be read, or standard output cannot be written.
pub(crate) fn run(args: &RunsArgs) -> Result<Exit, Failure> {
    let runs_dir = &args.runs.runs_dir;
    let runs = list_runs(runs_dir).map_err(|error| {
        let text = format!(
            "cannot read {}: {error}. Name the folder of all runs with --runs-dir (PRIMEPOOL_RUNS_DIR)",
            runs_dir.display()
        );
        (Exit::Usage, anyhow::Error::msg(text))
    })?;
    let all = runs.len();
    let most = if args.limit == 0 { all } else { args.limit };
    let lines: Vec<_> = runs
        .take(most)
        .map(|progress| Line {
            resume: resume(&progress, runs_dir),
            progress,
        })
        .collect();
    let text = if args.json {
        // Plain data: it always has a JSON form.
        serde_json::to_string_pretty(&lines).unwrap_or_default()
    } else if lines.is_empty() {
        format!("there is no run in {}", runs_dir.display())
    } else {
        let more = all - lines.len();
        let more = match more {
            0 => String::new(),
            more => format!("… and {more} older ones: --limit 0 lists all\n"),
        };
        format!("{}{more}", table(&lines))
    };
    print(text.trim_end()).map_err(|error| (Exit::Incomplete, anyhow!(error)))?;
    Ok(Exit::Ok)
}

/// The command that resumes a run; `None` if it cannot be resumed.
fn resume(progress: &RunProgress, runs_dir: &Path) -> Option<String> {
    let is_default = runs_dir == Path::new("runs");
    match progress.state {
        RunState::Unfinished if is_default => Some(format!("producer resume {}", progress.run)),
        RunState::Unfinished => Some(format!(
            "producer resume {}",
            quoted(&runs_dir.join(progress.run.as_str()).display().to_string())
        )),
        _ => None,
    }
}

/// Quotes a word for a POSIX shell, if it needs quotes.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '/' | '-' | '_' | '.');
    if word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn table(lines: &[Line]) -> String {
    let mut table = Table::new(&[
        ("RUN", Left),
        ("STATE", Left),
        ("KIND", Left),
        ("BITS", Right),
        ("DONE", Right),
        ("OF", Right),
        ("NOT OK", Right),
        ("", Left),
    ]);
    for line in lines {
        let run = &line.progress;
        let bits = match run.bits {
            0 => "-".to_owned(),
            bits => bits.to_string(),
        };
        table.row(vec![
            run.run.to_string(),
            state(&run.state).to_owned(),
            run.kind.map_or("-", |kind| kind.as_str()).to_owned(),
            bits,
            run.done
                .map_or_else(|| "?".to_owned(), |done| done.to_string()),
            run.jobs.to_string(),
            run.not_ok.to_string(),
            what_next(line),
        ]);
    }
    table.render()
}

fn state(state: &RunState) -> &'static str {
    match state {
        RunState::Running => "running",
        RunState::Complete => "complete",
        RunState::Unfinished => "unfinished",
        RunState::Cancelled => "cancelled",
        RunState::Damaged(_) => "damaged",
    }
}

fn what_next(line: &Line) -> String {
    match (&line.resume, &line.progress.state) {
        (Some(command), _) => command.clone(),
        (None, RunState::Damaged(why)) => reason(why),
        (None, RunState::Complete | RunState::Cancelled) => {
            line.progress.output.display().to_string()
        }
        (None, _) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use primepool_common::jobs::JobKind;

    use super::*;

    fn progress(state: RunState) -> RunProgress {
        RunProgress {
            run: "20261122-201530-9f3c01ab".parse().unwrap(),
            kind: Some(JobKind::Prime),
            bits: 64,
            jobs: 9,
            done: Some(4),
            not_ok: 1,
            output: "/r/results.jsonl".into(),
            state,
        }
    }

    #[test]
    fn only_what_is_unfinished_can_be_resumed() {
        let command = |state, dir: &str| resume(&progress(state), Path::new(dir));
        assert_eq!(
            command(RunState::Unfinished, "runs").unwrap(),
            "producer resume 20261122-201530-9f3c01ab"
        );
        assert_eq!(
            command(RunState::Unfinished, "my runs").unwrap(),
            "producer resume 'my runs/20261122-201530-9f3c01ab'"
        );
        for state in [RunState::Running, RunState::Complete, RunState::Cancelled] {
            assert_eq!(command(state, "runs"), None);
        }
    }

    #[test]
    fn a_line_says_what_comes_next() {
        let line = |state| {
            let progress = progress(state);
            let resume = resume(&progress, Path::new("runs"));
            table(&[Line { progress, resume }])
        };
        let shown = line(RunState::Unfinished);
        assert!(shown.contains("unfinished  prime    64     4   9       1  producer resume"));
        assert!(line(RunState::Complete).contains("/r/results.jsonl"));
        let damaged = line(RunState::Damaged("manifest.json: \u{1b}x".to_owned()));
        assert!(damaged.contains("manifest.json:  x"), "{damaged}");
    }
}
