//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use primepool_common::cli::duration;

use crate::{
    baseline::Loop,
    number_list::{Numbers, numbers},
    record::Kind,
    system::System,
};

const EXAMPLES: &str = "\
Examples:
  experiment run --nodes 1..6 --workers 1,2 --cpus-per-node 0.25
                                            six machines of a quarter core on this one
  experiment run --nodes 1 --workers 1,2,3,4,6
                                            how many workers one machine is best with
  experiment run --nodes 1..3 --launcher docker --cpus-per-node 0.5
  experiment run --nodes 1..3 --hosts a,b,c --launcher 'ssh {host} consumer --amqp-url-file -'
  experiment run --nodes 1 --workers 1,2 --kind factor --bits 128
  experiment run --resume runs/experiment-20261124-101500
  experiment compare --repeat 5             beside Ray, Celery and Dask

The broker is that of PRIMEPOOL_AMQP_URL. `make experiment` starts a broker of its own and makes the
report; infra/local/experiment.sh report DIR makes the report at any time.

Exit status: 0 done, 1 some measurements failed, 2 wrong usage, 3 the broker cannot be reached, 130
interrupted.";

/// Measures how the pool scales with workers and nodes, and beside other pools
#[derive(Debug, Parser)]
#[command(name = "experiment", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Commands of `experiment`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measure every pair of numbers of nodes and workers
    Run(Box<RunArgs>),
    /// Measure Primepool, Ray, Celery and Dask on the same work
    Compare(Box<CompareArgs>),
    /// Run the bare loop in a process of its own
    #[command(hide = true)]
    BareLoop(BareLoopArgs),
}

/// Options of `experiment run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Numbers of nodes: consumer processes
    #[arg(long, value_name = "LIST", default_value = "1", value_parser = numbers)]
    pub nodes: Numbers,

    /// Workers of each node
    #[arg(long, value_name = "LIST", default_value = "1", value_parser = numbers)]
    pub workers: Numbers,

    /// Kind of jobs: primes to find, or products of two primes to factor
    #[arg(long, value_name = "KIND", value_enum, default_value = "prime")]
    pub kind: Kind,

    /// Bits of each prime, or of each number to factor [default: 1024, with --kind factor 128]
    #[arg(long, value_name = "BITS", value_parser = clap::value_parser!(u32).range(2..=16_384))]
    pub bits: Option<u32>,

    /// Least number of jobs of a measurement; it grows until --min-time is reached
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub count: u64,

    /// Measurements of each pair
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repeat: u32,

    /// Seed of the jobs and of the order of the measurements
    #[arg(long, value_name = "N", default_value_t = 7)]
    pub seed: u64,

    /// Least time of a measurement
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = duration)]
    pub min_time: Duration,

    /// Cores of each node, enforced by a control group, such as 0.25 [default: all]
    #[arg(long, value_name = "CORES", value_parser = cores)]
    pub cpus_per_node: Option<f64>,

    /// How a node is started: process, docker, or a command that starts consumer elsewhere
    ///
    /// In a command {host}, {node} and {cpus} are filled in. With --amqp-url-file - it gets the
    /// broker's URL by standard input
    #[arg(long, value_name = "HOW", default_value = "process")]
    pub launcher: String,

    /// Values of {host} in --launcher, one per node; repetitions are allowed
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub hosts: Vec<String>,

    /// Image of --launcher docker
    #[arg(
        long,
        value_name = "IMAGE",
        default_value = "primepool",
        hide_short_help = true
    )]
    pub image: String,

    /// More options of docker run [default: --network host]
    #[arg(
        long,
        value_name = "OPTIONS",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true,
        hide_short_help = true
    )]
    pub docker_options: String,

    /// Which results the producer verifies: all, sample, none
    #[arg(long, value_name = "WHICH", default_value = "all", value_parser = ["all", "sample", "none"])]
    pub verify: String,

    /// Process id of a broker on this machine, to record its CPU time
    #[arg(long, value_name = "PID", env = "PRIMEPOOL_BROKER_PID")]
    pub broker_pid: Option<u32>,

    /// Folder for the experiment [default: runs/experiment-<time>]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,

    /// Continue the experiment in DIR
    ///
    /// Its settings hold. Failed measurements are repeated, and the ceiling if baseline.json was
    /// deleted
    #[arg(long, value_name = "DIR", conflicts_with_all = ["dir", "nodes", "workers", "kind", "bits", "count", "repeat", "seed", "min_time", "cpus_per_node", "launcher", "hosts", "image", "docker_options"])]
    pub resume: Option<PathBuf>,
}

const COMPARE_EXAMPLES: &str = "\
Examples:
  make compare                              with a private broker and the other pools installed
  experiment compare --bits 2048 --min-time 10s
  experiment compare --systems primepool,celery
  experiment compare --nodes 1..6 --cpus-per-node 0.25
                                            Primepool and Ray's cluster on 1 to 6 nodes

infra/local/setup.sh --peers makes a Python environment with the other pools.

Exit status: 0 done, 1 a system failed (the table says why), 2 wrong usage, 3 the broker cannot be
reached, 130 interrupted.";

/// Options of `experiment compare`.
#[derive(Debug, Args)]
#[command(after_help = COMPARE_EXAMPLES)]
pub struct CompareArgs {
    /// Pools to measure, each alone [default: all four; with --nodes primepool,ray]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub systems: Vec<System>,

    /// Numbers of nodes with one worker each, instead of one node with all cores; throughput only
    #[arg(long, value_name = "LIST", value_parser = numbers, requires = "cpus_per_node")]
    pub nodes: Option<Numbers>,

    /// Cores of each node, enforced by a control group
    #[arg(long, value_name = "CORES", value_parser = cores, requires = "nodes")]
    pub cpus_per_node: Option<f64>,

    /// Bits of each prime
    #[arg(long, value_name = "BITS", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(16..=16_384))]
    pub bits: u32,

    /// Number of rounds; each measures every system once, in random order
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repeat: u32,

    /// Seed of the jobs and of the order
    #[arg(long, value_name = "N", default_value_t = 7)]
    pub seed: u64,

    /// Least time of a measurement of a rate
    #[arg(long, value_name = "TIME", default_value = "4s", value_parser = duration)]
    pub min_time: Duration,

    /// Number of single tasks whose round trip is timed
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub round_trips: u32,

    /// Python interpreter of the environment with the other pools
    #[arg(
        long,
        value_name = "FILE",
        env = "PRIMEPOOL_PEERS_PYTHON",
        default_value = "python3"
    )]
    pub python: PathBuf,

    /// Process id of a broker on this machine: its memory counts for Primepool and Celery
    #[arg(long, value_name = "PID", env = "PRIMEPOOL_BROKER_PID")]
    pub broker_pid: Option<u32>,

    /// Folder for what is measured [default: runs/compare-<time>]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// Options of the bare loop.
#[derive(Debug, Args)]
pub struct BareLoopArgs {
    #[command(flatten)]
    pub(crate) what: Loop,
    /// Default: the number of cores.
    #[arg(long)]
    pub(crate) threads: Option<u32>,
    #[arg(long, value_parser = duration)]
    pub(crate) min_time: Duration,
}

fn cores(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(cores) if (0.01..=1024.0).contains(&cores) => Ok(cores),
        _ => Err(format!("{text:?} is no number of cores: write 0.25, or 2")),
    }
}
