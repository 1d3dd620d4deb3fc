//! `primepool status`: prints the state of the pool.

mod text;

use std::io::{IsTerminal, stdout};

use anyhow::anyhow;
use primepool_common::{
    broker::Endpoint,
    exit::Exit,
    output::{OutputError, print_while_read},
    shutdown::StopSignals,
};
use tokio::time::{MissedTickBehavior, interval};

use crate::{Failure, cli::StatusArgs, observer::Observer, report::Report, unreachable};

/// Moves the cursor to the upper left corner and clears the terminal.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

/// Prints the state of the pool, once or until a signal.
///
/// # Errors
/// The broker cannot be reached or refuses, or standard output cannot be written.
pub(crate) async fn run(endpoint: Endpoint, args: &StatusArgs) -> Result<Exit, Failure> {
    let mut signals = StopSignals::listen().map_err(|error| (Exit::Incomplete, anyhow!(error)))?;
    let shown = async {
        let mut observer = Observer::connect(endpoint).await.map_err(unreachable)?;
        if args.watch {
            return watch(&mut observer, args).await;
        }
        let report = observer.report().await.map_err(unreachable)?;
        show(&report, args).map_err(|error| (Exit::Incomplete, anyhow!(error)))?;
        Ok(Exit::Ok)
    };
    tokio::select! {
        shown = shown => shown,
        _ = signals.next() => Ok(Exit::Interrupted),
    }
}

async fn watch(observer: &mut Observer, args: &StatusArgs) -> Result<Exit, Failure> {
    let mut tick = interval(args.interval);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let report = observer.next_report(&mut tick, |_| {}).await;
        let is_read = show(&report.map_err(unreachable)?, args);
        if !is_read.map_err(|error| (Exit::Incomplete, anyhow!(error)))? {
            return Ok(Exit::Ok);
        }
    }
}

/// Prints a report. Returns `false` if nothing reads standard output any more.
fn show(report: &Report, args: &StatusArgs) -> Result<bool, OutputError> {
    // Plain data: it always has a JSON form.
    let text = match (args.json, args.watch) {
        (true, false) => serde_json::to_string_pretty(report).unwrap_or_default(),
        (true, true) => serde_json::to_string(report).unwrap_or_default(),
        (false, false) => text::screen(report).trim_end().to_owned(),
        (false, true) if stdout().is_terminal() => format!("{CLEAR}{}", text::screen(report)),
        (false, true) => text::screen(report),
    };
    print_while_read(&text)
}
