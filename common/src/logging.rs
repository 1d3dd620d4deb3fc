//! Logs: to standard error, so that standard output carries results only.

use std::io::IsTerminal;

use clap::{Args, ValueEnum};
use tracing::Level;
use tracing_subscriber::{
    Layer,
    filter::{Targets, filter_fn},
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// `--log` and `--log-format`, of all programs.
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// Log level: error, warn, info, debug, trace, or a filter such as
    /// "warn,primepool_consumer=debug"
    #[arg(
        long = "log",
        env = "PRIMEPOOL_LOG",
        value_name = "FILTER",
        default_value = "info",
        global = true,
        hide_short_help = true,
        help_heading = "Logging"
    )]
    pub filter: String,

    /// Format of log lines: text, or json (an object a line, for log collectors)
    #[arg(
        long = "log-format",
        env = "PRIMEPOOL_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text",
        hide_possible_values = true,
        global = true,
        hide_short_help = true,
        help_heading = "Logging"
    )]
    pub format: LogFormat,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line: `timestamp`, `level`, `message`, the fields of the event, and
    /// `spans` with theirs.
    Json,
}

impl LogArgs {
    /// Reads the filter. lapin's own errors are left out unless the filter names lapin: the session
    /// that owns the connection reports each of them once.
    ///
    /// # Errors
    /// The filter cannot be parsed; the message names it.
    pub fn filter(&self) -> Result<Targets, String> {
        format!("lapin=off,{}", self.filter)
            .parse()
            .map_err(|error| format!("--log {:?} is not a log filter: {error}", self.filter))
    }
}

/// Starts logging to `writer`, whose output goes to standard error. Trace events of lapin are never
/// logged: they contain raw frames, including the login with its password.
///
/// # Errors
/// The filter cannot be parsed; the message names it.
pub fn init<W>(args: &LogArgs, writer: W) -> Result<(), String>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = args.filter()?;
    let no_frames =
        filter_fn(|event| *event.level() != Level::TRACE || !event.target().starts_with("lapin"));
    let lines = fmt::layer()
        .with_writer(writer)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    let lines = match args.format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .boxed(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(no_frames)
        .with(lines)
        .init();
    Ok(())
}
