//! The command line.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, builder::BoolishValueParser};
use primepool_common::{
    broker::BrokerArgs,
    cli::{CompletionsArgs, RunsDirArgs, duration_within},
    logging::LogArgs,
    message::RunId,
};

use crate::dead::{LetterSelection, letter_id};

const EXAMPLES: &str = "\
Examples:
  primepool status                                  nodes, runs, queues, dead letters, alarms
  primepool status --watch                          the same every two seconds
  primepool status --json | jq .alarms
  primepool top                                     live, with keys
  primepool dashboard                               a web page, http://127.0.0.1:8265/
  primepool dead list                               dead letters: units that no consumer can do
  primepool dead requeue 5c1e                       put one back into its queue
  primepool cancel 20261122-201530-9f3c01ab         stop a run for good
  primepool check runs/20261122-201530-9f3c01ab     are its results right, and proven?
  primepool runs                                    runs in ./runs, and how to resume them

The broker's URL is given as to consumers and producers. Its user for people is `operator`
(infra/rabbitmq).

Exit status: 0 done, 1 not done, 2 wrong usage, 3 the broker cannot be reached or refuses, 130
interrupted.";

/// Shows the state of the pool, handles dead letters and cancels runs
#[derive(Debug, Parser)]
#[command(name = "primepool", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// What to log.
    #[command(flatten)]
    pub log: LogArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show nodes, runs, queues, dead letters and alarms
    Status(StatusArgs),
    /// Show the pool live: throughput, workers, runs, queues
    Top(TopArgs),
    /// Serve a read-only web page: the pool live, and its last hour
    Dashboard(DashboardArgs),
    /// List, show, requeue or drop dead letters: units that no consumer can do
    #[command(subcommand, after_help = DEAD_EXAMPLES)]
    Dead(DeadCommand),
    /// Stop a run for good: consumers drop its units, its producer reports what is done
    Cancel(CancelArgs),
    /// Check a file of results of any program: what is proven, probable, wrong
    Check(CheckArgs),
    /// List the runs of --runs-dir, newest first, with their state and how to resume them
    Runs(RunsArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
}

const CHECK_EXAMPLES: &str = "\
Examples:
  primepool check runs/20261122-201530-9f3c01ab/results.jsonl
  primepool check --proven primes.jsonl             fails also where a prime is only probable
  jq -c '{prime, certificate}' primes.jsonl | primepool check -

The file has one JSON object per line, with prime, or with n and factors. The fields bits, after,
composites and certificate are checked where they are present. docs/CERTIFICATES.md has the format
and a check in Python.

Exit status: 0 all lines hold, 1 a line is wrong (with --proven: or not proven), 2 the file cannot
be read.";

#[derive(Debug, Args)]
#[command(after_help = CHECK_EXAMPLES)]
pub(crate) struct CheckArgs {
    /// File of results, or folder of a run; - is standard input
    pub(crate) file: PathBuf,

    /// Fail if a prime is not proven
    #[arg(long)]
    pub(crate) proven: bool,

    /// Require safe primes: (p - 1)/2 must be prime too
    #[arg(long)]
    pub(crate) safe: bool,

    /// Print JSON
    #[arg(long, env = "PRIMEPOOL_JSON", value_parser = BoolishValueParser::new())]
    pub(crate) json: bool,
}

const CANCEL_EXAMPLES: &str = "\
Examples:
  primepool cancel 20261122-201530-9f3c01ab
  primepool cancel runs/20261122-201530-9f3c01ab    also marks the folder, so that it is not resumed

A cancelled run cannot be resumed. Its results so far stay. `primepool status` shows the names of
the active runs.";

#[derive(Debug, Args)]
#[command(after_help = CANCEL_EXAMPLES)]
pub(crate) struct CancelArgs {
    /// Name of the run, the start of a name in --runs-dir, or its folder
    pub(crate) run: String,

    #[command(flatten)]
    pub(crate) runs: RunsDirArgs,

    #[command(flatten)]
    pub(crate) broker: BrokerArgs,
}

const RUNS_EXAMPLES: &str = "\
Examples:
  primepool runs
  primepool runs --runs-dir /srv/primepool/runs --limit 0
  primepool runs --json | jq -r '.[].resume // empty'    the commands that resume unfinished runs

States: running (a producer is at work), complete, unfinished (can be resumed), cancelled, damaged.";

#[derive(Debug, Args)]
#[command(after_help = RUNS_EXAMPLES)]
pub(crate) struct RunsArgs {
    /// Number of runs to list, 0 for all
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) limit: usize,

    /// Print JSON
    #[arg(long, env = "PRIMEPOOL_JSON", value_parser = BoolishValueParser::new())]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) runs: RunsDirArgs,
}

const TOP_EXAMPLES: &str = "\
Examples:
  primepool top
  primepool top --management-url http://head.example:15672
                                      with unacknowledged units and the broker's alarms

Keys: q quits; s sorts the runs by name, jobs per second or time left; the arrows select a run; c
cancels it after a question. The throughput is the sum of what all consumers announce.";

#[derive(Debug, Args)]
#[command(after_help = TOP_EXAMPLES)]
pub(crate) struct TopArgs {
    /// Time between two samples
    #[arg(
        long,
        env = "PRIMEPOOL_INTERVAL",
        value_name = "TIME",
        default_value = "2s",
        value_parser = interval
    )]
    pub(crate) interval: Duration,

    #[command(flatten)]
    pub(crate) broker: BrokerArgs,
}

const DASHBOARD_EXAMPLES: &str = "\
Examples:
  primepool dashboard                         http://127.0.0.1:8265/ on this machine
  primepool dashboard --listen 127.0.0.1:0    any free port; the address is printed
  openssl rand -hex 16 >token
  primepool dashboard --listen 0.0.0.0:8265 --token-file token
                                              for other machines: open
                                              http://HOST:8265/?token=TOKEN once

The page keeps one hour in memory; Grafana is for history. There is no TLS: in networks that you do
not trust, use a proxy that has it, or `ssh -L 8265:127.0.0.1:8265 HOST`.";

#[derive(Debug, Args)]
#[command(after_help = DASHBOARD_EXAMPLES)]
pub(crate) struct DashboardArgs {
    /// Address to listen on; any address but loopback needs a token
    #[arg(
        long,
        env = "PRIMEPOOL_DASHBOARD_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:8265"
    )]
    pub(crate) listen: SocketAddr,

    /// Host name in browsers' requests, if it is neither an address nor localhost; repeatable
    #[arg(
        long = "host",
        env = "PRIMEPOOL_DASHBOARD_HOST",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub(crate) hosts: Vec<String>,

    /// File with the token for browsers; it takes precedence over PRIMEPOOL_DASHBOARD_TOKEN
    #[arg(long, env = "PRIMEPOOL_DASHBOARD_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,

    /// Time between two samples
    #[arg(
        long,
        env = "PRIMEPOOL_INTERVAL",
        value_name = "TIME",
        default_value = "2s",
        value_parser = interval
    )]
    pub(crate) interval: Duration,

    #[command(flatten)]
    pub(crate) broker: BrokerArgs,
}

const DEAD_EXAMPLES: &str = "\
Examples:
  primepool dead list
  primepool dead show 5c1e                          all that is known of one letter, by its id
  primepool dead requeue 5c1e09                     back into its queue: a consumer tries again
  primepool dead requeue --run 20261122-201530-9f3c01ab
  primepool dead drop --all                         delete them for good

After `drop`, `producer resume RUN --republish` publishes the units of a run again. The integers in
a unit are never shown.";

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadCommand {
    /// List dead letters with their reasons, in the order of the queue
    List {
        /// Number of letters to list, 0 for all
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u32,

        /// Print JSON
        #[arg(long, env = "PRIMEPOOL_JSON", value_parser = BoolishValueParser::new())]
        json: bool,

        #[command(flatten)]
        broker: BrokerArgs,
    },
    /// Show all that is known of one letter
    Show {
        /// Its id, or the start of it
        #[arg(value_parser = letter_id)]
        id: String,

        /// Print JSON
        #[arg(long, env = "PRIMEPOOL_JSON", value_parser = BoolishValueParser::new())]
        json: bool,

        #[command(flatten)]
        broker: BrokerArgs,
    },
    /// Put letters back into the queues of their kinds, once the reason is gone
    Requeue(ChosenLetters),
    /// Delete letters for good
    Drop(ChosenLetters),
}

impl DeadCommand {
    pub(crate) fn broker(&self) -> &BrokerArgs {
        match self {
            Self::List { broker, .. } | Self::Show { broker, .. } => broker,
            Self::Requeue(chosen) | Self::Drop(chosen) => &chosen.broker,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ChosenLetters {
    /// Ids, or starts of ids
    #[arg(
        value_name = "ID",
        value_parser = letter_id,
        required_unless_present_any = ["run", "all"],
        conflicts_with_all = ["run", "all"]
    )]
    ids: Vec<String>,

    /// All letters of this run
    #[arg(long, value_name = "RUN", conflicts_with = "all")]
    run: Option<RunId>,

    /// All letters
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    broker: BrokerArgs,
}

impl ChosenLetters {
    pub(crate) fn selection(&self) -> LetterSelection {
        match &self.run {
            Some(run) => LetterSelection::Run(run.clone()),
            None if self.all => LetterSelection::All,
            None => LetterSelection::Ids(self.ids.clone()),
        }
    }
}

const STATUS_EXAMPLES: &str = "\
Examples:
  primepool status
  primepool status --management-url http://head.example:15672    with rates and alarms
  primepool status --watch --interval 10s
  primepool status --watch --json >pool.jsonl                    an object a line

Nodes and runs are listed if they announced themselves in the last seconds. Times are times of
arrival here.";

#[derive(Debug, Args)]
#[command(after_help = STATUS_EXAMPLES)]
pub(crate) struct StatusArgs {
    /// Repeat until Ctrl-C
    #[arg(long)]
    pub(crate) watch: bool,

    /// With --watch: time between two reports
    #[arg(
        long,
        env = "PRIMEPOOL_INTERVAL",
        value_name = "TIME",
        default_value = "2s",
        value_parser = interval
    )]
    pub(crate) interval: Duration,

    /// Print a JSON object; with --watch one per line
    #[arg(long, env = "PRIMEPOOL_JSON", value_parser = BoolishValueParser::new())]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) broker: BrokerArgs,
}

/// Reads an interval that is short enough to be of use and does not keep the broker busy.
fn interval(text: &str) -> Result<Duration, String> {
    let allowed = Duration::from_millis(500)..=Duration::from_secs(3600);
    duration_within(text, allowed, "give a time from 500ms to 1h")
}
