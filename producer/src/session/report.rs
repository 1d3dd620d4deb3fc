//! The report that a session prints at its end, and its exit status.

use std::{path::Path, time::Duration};

use primepool_common::{
    exit::Exit,
    message::JobKind,
    output::{OutputError, notice, print},
};

use super::{failure::Failure, watch::End};
use crate::{cli::RunOptions, run_dir::Manifest, summary::Summary, units::SharedUnits};

/// The message that says how to resume a run.
fn how_to_resume(manifest: &Manifest, units: &SharedUnits) -> String {
    // `make run`, which starts a broker for one run, has its own command to resume.
    let command = std::env::var("PRIMEPOOL_RESUME_COMMAND");
    let command = command.unwrap_or_else(|_| "producer resume {run}".to_owned());
    let units = units.lock();
    format!(
        "the results so far are kept, {} of {} units are published. Go on with: {}",
        units.confirmed(),
        units.count(),
        command.replace("{run}", manifest.run.as_str())
    )
}

pub(super) fn conclude(
    end: End,
    summary: &Summary,
    manifest: &Manifest,
    units: &SharedUnits,
) -> Result<Exit, Failure> {
    let resume = how_to_resume(manifest, units);
    match end {
        End::Complete if summary.is_complete() => Ok(Exit::Ok),
        End::Complete => Ok(Exit::Incomplete),
        End::Interrupted(signal) => {
            notice(&format!("{signal}: {resume}"));
            Ok(Exit::Interrupted)
        }
        End::Cancelled => Ok(tell_cancelled(manifest)),
        End::TimedOut(after) => {
            let after = humane(after);
            notice(&format!("not done after {after} (--timeout): {resume}"));
            Ok(Exit::Incomplete)
        }
        End::Failed((exit, error)) => Err((exit, error.context(resume))),
    }
}

fn tell_cancelled(manifest: &Manifest) -> Exit {
    notice(&format!(
        "run {} was cancelled: its other jobs are no longer worked on",
        manifest.run
    ));
    Exit::Incomplete
}

pub(super) fn conclude_detached(
    end: End,
    manifest: &Manifest,
    units: &SharedUnits,
) -> Result<Exit, Failure> {
    match end {
        End::Complete => {
            let collect = format!(
                "published (before RabbitMQ 4, other runs wait behind its units); collect the results \
                 within seven days with: producer resume {}",
                manifest.run
            );
            notice(&collect);
            print(manifest.run.as_str())
                .map_err(|error| (Exit::Incomplete, anyhow::Error::new(error).context(collect)))?;
            Ok(Exit::Ok)
        }
        End::Interrupted(signal) => {
            notice(&format!("{signal}: {}", how_to_resume(manifest, units)));
            Ok(Exit::Interrupted)
        }
        End::Cancelled => Ok(tell_cancelled(manifest)),
        End::TimedOut(_) => Ok(Exit::Incomplete),
        End::Failed((exit, error)) => Err((exit, error.context(how_to_resume(manifest, units)))),
    }
}

fn humane(duration: Duration) -> String {
    primepool_common::cli::show_duration(duration)
}

/// Writes the summary to standard output, or to standard error if the results went there.
/// `omitted`: number of lines of results that were not printed to a terminal.
pub(super) fn show(
    summary: &Summary,
    options: &RunOptions,
    omitted: u64,
    output: &Path,
) -> Result<(), OutputError> {
    if options.json {
        // Serialising plain data cannot fail.
        return print(&serde_json::to_string_pretty(summary).unwrap_or_default());
    }
    let more = match omitted {
        0 => String::new(),
        lines => format!("… and {lines} more\n\n"),
    };
    let text = format!("{more}{summary}\nresults  {}", output.display());
    if options.prints_rows {
        notice(&text);
        return Ok(());
    }
    // An empty line separates the factorisations from the summary.
    let gap = if summary.kind == JobKind::Factor.as_str() && omitted == 0 {
        "\n"
    } else {
        ""
    };
    print(&format!("{gap}{text}"))
}
