//! `primepool cancel`: stops a run for good, on whichever machine its producer runs.

use std::path::Path;

use anyhow::anyhow;
use primepool_common::{
    broker::{Endpoint, cancel_run},
    exit::Exit,
    message::RunId,
    output::print,
    run_folder::{find_run, mark_cancelled},
};

use crate::Failure;

/// Cancels the run `given`: the name of a run, the start of the name of one in `runs_dir`, or the
/// path of a run folder. If the folder is on this machine, it is marked, so that the run cannot be
/// resumed.
///
/// # Errors
/// `given` is not the name of a run, or is the start of several names; the broker cannot be reached
/// or refuses; or the folder cannot be written.
pub(crate) async fn run(endpoint: Endpoint, given: &str, runs_dir: &Path) -> Result<Exit, Failure> {
    let found = find_run(runs_dir, Some(given))
        .map_err(|error| (Exit::Usage, anyhow::Error::msg(error)))?;
    let name = format!("primepool cancel {}", found.run);
    let has_queue = cancel_run(&endpoint, &found.run, &name)
        .await
        .map_err(|error| (Exit::Unreachable, anyhow!(error)))?;
    let is_here = mark_cancelled(&found.runs_dir, &found.run)
        .map_err(|error| (Exit::Incomplete, anyhow!(error)))?;
    print(&outcome(&found.run, has_queue, is_here))
        .map_err(|error| (Exit::Incomplete, anyhow!(error)))?;
    Ok(Exit::Ok)
}

fn outcome(run: &RunId, has_queue: bool, is_here: bool) -> String {
    if has_queue || is_here {
        return format!("run {run} is cancelled: consumers drop its units, and its producer ends");
    }
    format!(
        "run {run} has no queue of results on this broker: it was over, or the name is wrong \
         (`primepool status` shows the names). Units of it that turn up are dropped"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_run_that_is_nowhere_is_told_apart() {
        let run = "r1".parse().unwrap();
        for (has_queue, is_here) in [(true, false), (false, true)] {
            assert!(outcome(&run, has_queue, is_here).contains("r1 is cancelled"));
        }
        assert!(outcome(&run, false, false).contains("name is wrong"));
    }
}
