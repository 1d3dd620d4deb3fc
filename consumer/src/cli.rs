//! The command line.

use std::{fs, num::NonZero, path::PathBuf, thread, time::Duration};

use clap::{Args, Parser, Subcommand};
use primepool_common::{
    broker::BrokerArgs,
    cli::{CompletionsArgs, KernelArgs, duration, duration_within, job_kind},
    logging::LogArgs,
    message::{JobKind, is_node_name},
    metrics::InfluxArgs,
    pool::MOST_WORKERS,
};
use primepool_engine::{Kernel, MAX_BITS};

const BRIEF: &str = "\
Examples:
  consumer                                            all cores, the broker of this machine
  consumer --concurrency 2 --amqp-url-file FILE       two workers, a broker elsewhere
  consumer health --health-file /run/consumer.health  for a container's health check

All options, their environment variables and more examples: consumer --help";

const EXAMPLES: &str = "\
Examples:
  consumer                                            all cores, the broker of this machine
  consumer --concurrency 2 --prefetch 4               two workers, up to four units at hand
  consumer --kinds prime,next-prime                   leave safe primes and factors to others
  ssh HOST consumer --amqp-url-file - --end-with-stdin
                                                      on another machine; reads the URL from here
  PRIMEPOOL_AMQP_URL=amqps://node:…@head.example:5671/primes consumer --tls-ca ca.pem
  consumer health --health-file /run/consumer.health  for a container's health check

SIGTERM or SIGINT: the consumer takes no new units, finishes those at work, requeues the others and
ends. A second signal ends it at once. Nothing is lost: the broker redelivers the units.

Exit status: 0 stopped by a signal, 1 the system refused something, 2 wrong usage, 3 the broker
refuses, 130 ended by a second signal.";

/// Takes jobs from the broker, computes and sends the results back
#[derive(Debug, Parser)]
#[command(
    name = "consumer",
    version,
    after_help = BRIEF,
    after_long_help = EXAMPLES,
    args_conflicts_with_subcommands = true,
    max_term_width = 100
)]
pub struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// Number of compute threads [default: the cores that this process may use]
    #[arg(long, env = "PRIMEPOOL_CONCURRENCY", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_WORKERS)))]
    concurrency: Option<u32>,

    /// AMQP prefetch of each kind [default: by the length of units]
    ///
    /// The default is twice --concurrency, and more of short units: as many as a worker does in 100
    /// ms
    #[arg(long, env = "PRIMEPOOL_PREFETCH", value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    prefetch: Option<u16>,

    /// Kinds of jobs to take, separated by commas [default: all]
    #[arg(
        long,
        env = "PRIMEPOOL_KINDS",
        value_name = "KIND",
        value_delimiter = ',',
        value_parser = job_kind(&[])
    )]
    kinds: Vec<JobKind>,

    /// Name of this node in results and metrics [default: the host's name]
    #[arg(long, env = "PRIMEPOOL_NODE", value_name = "NAME", value_parser = node_name)]
    node: Option<String>,

    /// Time limit for finishing units after SIGTERM; the others are requeued
    #[arg(long, env = "PRIMEPOOL_DRAIN_TIMEOUT", value_name = "TIME", default_value = "30s", value_parser = duration)]
    drain_timeout: Duration,

    /// Stop as by SIGTERM when standard input ends
    ///
    /// For a consumer that another machine starts through ssh: it ends with the connection
    #[arg(long, env = "PRIMEPOOL_END_WITH_STDIN", hide_short_help = true)]
    end_with_stdin: bool,

    /// Size of the largest numbers to accept; larger jobs are rejected
    #[arg(
        long,
        env = "PRIMEPOOL_MAX_BITS",
        value_name = "BITS",
        default_value_t = 16_384,
        value_parser = clap::value_parser!(u32).range(2..=i64::from(MAX_BITS)),
        hide_short_help = true
    )]
    max_bits: u32,

    #[command(flatten)]
    kernel: KernelArgs,

    /// File that gets the state of the consumer every second, for `consumer health`
    #[arg(long, env = "PRIMEPOOL_HEALTH_FILE", value_name = "FILE")]
    health_file: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) broker: BrokerArgs,

    #[command(flatten)]
    pub(crate) influx: InfluxArgs,

    /// Interval of this node's points
    #[arg(long, hide_short_help = true, env = "PRIMEPOOL_METRICS_INTERVAL", value_name = "TIME", default_value = "2s", value_parser = interval, help_heading = "Metrics")]
    metrics_interval: Duration,

    /// What to log.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Commands of `consumer` besides consuming.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check the consumer that writes FILE: exit status 0 if it lives and is connected
    Health(HealthArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
}

/// Options of `consumer health`.
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// File that the consumer writes
    #[arg(long, env = "PRIMEPOOL_HEALTH_FILE", value_name = "FILE")]
    pub health_file: PathBuf,
}

/// Settings of a consumer, with defaults filled in.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Number of worker threads.
    pub concurrency: u32,
    /// Fixed prefetch per kind of job; `None` to follow the length of units.
    pub prefetch: Option<u16>,
    /// Kinds of jobs to accept.
    pub kinds: Vec<JobKind>,
    /// Name of this node.
    pub node: String,
    /// Time limit for finishing the units at hand after a request to stop.
    pub drain_timeout: Duration,
    /// Whether to stop when standard input ends.
    pub end_with_stdin: bool,
    /// Size of the largest numbers to accept, in bits.
    pub max_bits: u32,
    /// Kernel of the engine.
    pub kernel: Kernel,
    /// Path of the health file.
    pub health_file: Option<PathBuf>,
    /// Interval between two points of the node's metrics.
    pub metrics_interval: Duration,
}

impl Cli {
    /// Checks that the options are compatible.
    ///
    /// # Errors
    /// The reason why they are not, for people.
    pub fn check(&self) -> Result<(), String> {
        self.settings().map(drop)
    }

    /// Fills in the defaults.
    ///
    /// # Errors
    /// A default cannot be determined; the error says which option to give.
    pub(crate) fn settings(&self) -> Result<Settings, String> {
        let cores = || thread::available_parallelism().map_or(1, NonZero::get);
        let concurrency = self
            .concurrency
            .unwrap_or_else(|| u32::try_from(cores()).unwrap_or(1));
        let prefetch = self.prefetch;
        if let Some(prefetch) = prefetch
            && u32::from(prefetch) < concurrency
        {
            tracing::warn!(
                prefetch,
                concurrency,
                "--prefetch is below --concurrency: some workers will have nothing to do"
            );
        }
        let kinds = if self.kinds.is_empty() {
            JobKind::ALL.to_vec()
        } else {
            let mut kinds = self.kinds.clone();
            kinds.sort_unstable();
            kinds.dedup();
            kinds
        };
        let node = match &self.node {
            Some(name) => name.clone(),
            None => {
                // sysinfo fails for a host name of the maximum length.
                let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
                let name = name.trim();
                node_name(name).map_err(|error| {
                    format!(
                        "the host's name {name:?} cannot be a node's: {error}; give --node NAME"
                    )
                })?
            }
        };
        Ok(Settings {
            concurrency,
            prefetch,
            kinds,
            node,
            drain_timeout: self.drain_timeout,
            end_with_stdin: self.end_with_stdin,
            max_bits: self.max_bits,
            kernel: self.kernel.kernel,
            health_file: self.health_file.clone(),
            metrics_interval: self.metrics_interval,
        })
    }
}

/// Reads an interval that is short enough for a curve and long enough that the samples cost
/// nothing.
fn interval(text: &str) -> Result<Duration, String> {
    let allowed = Duration::from_millis(100)..=Duration::from_secs(3600);
    duration_within(text, allowed, "give a time from 100ms to 1h")
}

fn node_name(text: &str) -> Result<String, String> {
    if is_node_name(text) {
        Ok(text.to_owned())
    } else {
        Err("a node's name has 1 to 64 letters, digits, '-', '_' or '.'".to_owned())
    }
}
