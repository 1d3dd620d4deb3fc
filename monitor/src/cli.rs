//! The command line.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, builder::BoolishValueParser};
use primepool_common::{
    broker::BrokerArgs,
    cli::{RunsDirArgs, duration_within},
    logging::LogArgs,
    message::RunId,
};

use crate::dead::{Choice, letter_id};

const EXAMPLES: &str = "\
Examples:
  primepool status                                  nodes, runs, queues, dead letters, alarms
  primepool status --watch                          the same every two seconds
  primepool status --json | jq .alarms
  primepool top                                     live, with keys
  primepool dashboard                               the same as a web page, http://127.0.0.1:8265/
  primepool dead list                               messages that no consumer can work on
  primepool dead requeue 5c1e                       back into its queue
  primepool cancel 20261122-201530-9f3c01ab         stop a run for good
  primepool check runs/20261122-201530-9f3c01ab     are its results right, and proven?
  primepool runs                                    the runs in ./runs, and how to resume them

The address of the broker is that of consumers and producers; give the user `operator` of infra/rabbitmq to people.

Exit status: 0 done, 1 not done, 2 wrong usage, 3 broker unreachable or refusing, 130 interrupted.";

/// Shows what is in the pool, and handles what needs an operator.
#[derive(Debug, Parser)]
#[command(name = "primepool", version, after_help = EXAMPLES, max_term_width = 110)]
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
    /// Show the pool live: throughput, workers, runs, queues; keys sort, and cancel a run
    Top(TopArgs),
    /// Serve the pool as a web page that only shows: live, and over the last hour
    Dashboard(DashboardArgs),
    /// List, show, requeue or drop dead letters: messages that no consumer can work on
    #[command(subcommand, after_help = DEAD_EXAMPLES)]
    Dead(DeadCommand),
    /// Stop a run for good, wherever its producer is: consumers drop its units, and the producer reports what is done
    Cancel(CancelArgs),
    /// Check a file of results, of this pool or of another program: what is proven, probable, wrong
    Check(CheckArgs),
    /// List the runs of --runs-dir, newest first, with their state and how to go on
    Runs(RunsArgs),
}

const CHECK_EXAMPLES: &str = "\
Examples:
  primepool check runs/20261122-201530-9f3c01ab/results.jsonl
  primepool check --proven primes.jsonl             fails also where a prime is only probable
  jq -c '{prime, certificate}' primes.jsonl | primepool check -

One JSON object a line, with prime, or with n and factors; bits, after, composites and certificate
are checked where they are there. docs/CERTIFICATES.md has the format, and a check in Python.

Exit status: 0 everything holds, 1 a line is wrong (with --proven: or not proven), 2 the file cannot
be read.";

#[derive(Debug, Args)]
#[command(after_help = CHECK_EXAMPLES)]
pub(crate) struct CheckArgs {
    /// A file of results, or the folder of a run; - is standard input
    pub(crate) file: PathBuf,

    /// Fail where a prime is not proven
    #[arg(long)]
    pub(crate) proven: bool,

    /// Ask for safe primes: (p - 1)/2 is to be prime too
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

A cancelled run cannot be resumed. Its results so far stay. `primepool status` shows the names of the runs at work.";

#[derive(Debug, Args)]
#[command(after_help = CANCEL_EXAMPLES)]
pub(crate) struct CancelArgs {
    /// The run: its name, the start of the name of one in --runs-dir, or its folder
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
  primepool runs --json | jq -r '.[].resume // empty'    the commands that go on with what is not done

States: running (a producer is at work), complete, unfinished (can be resumed), cancelled, damaged.";

#[derive(Debug, Args)]
#[command(after_help = RUNS_EXAMPLES)]
pub(crate) struct RunsArgs {
    /// Runs to list, 0 for all
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
  primepool top --management-url http://head.example:15672    with unacknowledged units and the broker's alarms

Keys: q quits, s sorts the runs by name, jobs per second or time left, the arrows select a run, c cancels it after a
question. The throughput is that of all consumers together, as they announce it.";

#[derive(Debug, Args)]
#[command(after_help = TOP_EXAMPLES)]
pub(crate) struct TopArgs {
    /// Time between two looks
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
                                              for all: open http://HOST:8265/?token=TOKEN once

It keeps an hour, in memory; Grafana is for history. There is no TLS: beyond networks that you
trust, use a proxy that has it, or `ssh -L 8265:127.0.0.1:8265 HOST`.";

#[derive(Debug, Args)]
#[command(after_help = DASHBOARD_EXAMPLES)]
pub(crate) struct DashboardArgs {
    /// Where to listen. Other machines than this one need a token
    #[arg(
        long,
        env = "PRIMEPOOL_DASHBOARD_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:8265"
    )]
    pub(crate) listen: SocketAddr,

    /// Name by which browsers ask for it, if it is neither an address nor localhost; may be given again
    #[arg(
        long = "host",
        env = "PRIMEPOOL_DASHBOARD_HOST",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub(crate) hosts: Vec<String>,

    /// File with the token that browsers have to show; it goes before the variable PRIMEPOOL_DASHBOARD_TOKEN
    #[arg(long, env = "PRIMEPOOL_DASHBOARD_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,

    /// Time between two looks
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
  primepool dead show 5c1e                          what is known of the letter whose id starts so
  primepool dead requeue 5c1e09                     back into its queue: a consumer tries again
  primepool dead requeue --run 20261122-201530-9f3c01ab
  primepool dead drop --all                         delete them for good

After `drop`, `producer resume RUN --republish` makes the units of a run anew. The integers that a unit
asks for are never shown.";

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadCommand {
    /// List them with their reasons, in the order of the queue
    List {
        /// Letters to list, 0 for all
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u32,

        /// Print JSON
        #[arg(long, env = "PRIMEPOOL_JSON", value_parser = BoolishValueParser::new())]
        json: bool,

        #[command(flatten)]
        broker: BrokerArgs,
    },
    /// Show all that is known of one
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
    /// Put units back into the queues of their kinds, once the reason is gone
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
    pub(crate) fn choice(&self) -> Choice {
        match &self.run {
            Some(run) => Choice::Run(run.clone()),
            None if self.all => Choice::All,
            None => Choice::Ids(self.ids.clone()),
        }
    }
}

const STATUS_EXAMPLES: &str = "\
Examples:
  primepool status
  primepool status --management-url http://head.example:15672    with rates and the broker's alarms
  primepool status --watch --interval 10s
  primepool status --watch --json >pool.jsonl                    an object a line

Nodes and runs are those that announced themselves in the last seconds. Times are those at which announcements arrived here.";

#[derive(Debug, Args)]
#[command(after_help = STATUS_EXAMPLES)]
pub(crate) struct StatusArgs {
    /// Show it again and again until Ctrl-C
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

    /// Print JSON: one object, or with --watch one a line
    #[arg(long, env = "PRIMEPOOL_JSON", value_parser = BoolishValueParser::new())]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) broker: BrokerArgs,
}

/// Short enough to be of use, long enough that the broker is not kept busy.
fn interval(text: &str) -> Result<Duration, String> {
    let allowed = Duration::from_millis(500)..=Duration::from_secs(3600);
    duration_within(text, allowed, "give a time from 500ms to 1h")
}
