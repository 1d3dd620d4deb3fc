//! What a session prints at its end, and its exit status.

use std::time::Duration;

use primepool_common::{
    exit::Exit,
    message::JobKind,
    output::{OutputError, notice, print},
};

use super::{failure::Failure, watch::End};
use crate::{
    run_dir::{Folder, Manifest, factorizations},
    summary::Summary,
    units::SharedUnits,
};

/// Says how to go on with a run.
fn how_to_resume(manifest: &Manifest, units: &SharedUnits) -> String {
    // Whoever starts a broker for one run (`make run`) has a command of its own for it.
    let command = std::env::var("PRIMEPOOL_RESUME_COMMAND");
    let command = command.unwrap_or_else(|_| "producer resume {run}".to_owned());
    let units = units.lock();
    format!(
        "{} of {} units are published; nothing is lost. Go on with: {}",
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
                "published; collect the results within seven days with: producer resume {}",
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

/// Factorisations that are shown; who asks for more looks into the file.
const SHOWN: u64 = 100;

/// Writes what the run gave to standard output.
pub(super) fn show(summary: &Summary, json: bool, folder: &Folder) -> Result<(), OutputError> {
    if json {
        // Plain data: it always has a JSON form.
        return print(&serde_json::to_string_pretty(summary).unwrap_or_default());
    }
    let Manifest {
        request, output, ..
    } = &folder.manifest;
    if request.kind() == JobKind::Factor
        && request.count() <= SHOWN
        && let Ok((_, text)) = folder.results()
    {
        let lines = factorizations(&text);
        if !lines.is_empty() {
            print(&format!("{}\n", lines.join("\n")))?;
        }
    }
    print(&format!("{summary}\nresults  {}", output.display()))
}
