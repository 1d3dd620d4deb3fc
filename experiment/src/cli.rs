//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use primepool_common::cli::duration;

use crate::{
    baseline::Loop,
    record::Kind,
    span::{Numbers, numbers},
    system::System,
};

const EXAMPLES: &str = "\
Examples:
  experiment run --nodes 1..6 --workers 1,2 --cpus-per-node 0.25    six machines of a quarter core on this one
  experiment run --nodes 1 --workers 1,2,3,4,6 --repeat 5           how many workers one machine is best with
  experiment run --nodes 1..3 --launcher docker --cpus-per-node 0.5 containers of the image that docker compose builds
  experiment run --nodes 1..3 --hosts a,b,c --launcher 'ssh {host} consumer --amqp-url-file -'      machines of their own
  experiment run --resume runs/experiment-20261124-101500           go on with one that was interrupted
  experiment run --nodes 1 --workers 1,2 --kind factor --bits 128   the same for factoring
  experiment compare --repeat 5                                     beside Ray, Celery and Dask, in one run

The broker is that of PRIMEPOOL_AMQP_URL; make experiment starts one of its own, and makes the report afterwards, as
infra/local/experiment.sh report DIR does at any time.

Exit status: 0 done, 1 some measurements failed, 2 wrong usage, 130 interrupted.";

/// Measures how the pool scales with workers and with nodes, and says why.
#[derive(Debug, Parser)]
#[command(name = "experiment", version, after_help = EXAMPLES, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What `experiment` does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measure every pair of numbers of nodes and workers
    Run(Box<RunArgs>),
    /// Measure Primepool, Ray, Celery and Dask side by side, on the same work
    Compare(Box<CompareArgs>),
    /// The bare loop, in a process of its own
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

    /// What the jobs are: primes to find, or products of two primes to factor
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

    /// Cores that each node may use, by a control group, such as 0.25 [default: all]
    #[arg(long, value_name = "CORES", value_parser = cores)]
    pub cpus_per_node: Option<f64>,

    /// What a node is: process, docker (a container), or a command that starts consumer on another machine. In a command {host}, {node}
    /// and {cpus} are filled in; the broker's address comes by standard input where it says --amqp-url-file -
    #[arg(long, value_name = "HOW", default_value = "process")]
    pub launcher: String,

    /// Machines for {host} of the --launcher, one a node; one may be named twice
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub hosts: Vec<String>,

    /// Image of --launcher docker
    #[arg(long, value_name = "IMAGE", default_value = "primepool")]
    pub image: String,

    /// More options of docker run [default: --network host]
    #[arg(
        long,
        value_name = "OPTIONS",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub docker_options: String,

    /// Which results the producer verifies: all, sample, none
    #[arg(long, value_name = "WHICH", default_value = "all", value_parser = ["all", "sample", "none"])]
    pub verify: String,

    /// Process of the broker, if it runs on this machine: its CPU time is recorded
    #[arg(long, value_name = "PID", env = "PRIMEPOOL_BROKER_PID")]
    pub broker_pid: Option<u32>,

    /// Folder for the experiment [default: runs/experiment-<time>]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,

    /// Go on with the experiment in DIR, with its settings; measurements that failed are taken again,
    /// and the ceiling if baseline.json was deleted
    #[arg(long, value_name = "DIR", conflicts_with_all = ["dir", "nodes", "workers", "kind", "bits", "count", "repeat", "seed", "min_time", "cpus_per_node", "launcher", "hosts", "image", "docker_options"])]
    pub resume: Option<PathBuf>,
}

const COMPARE_EXAMPLES: &str = "\
Examples:
  make compare                                          the broker and the other pools are seen to
  experiment compare --bits 2048 --min-time 10s
  experiment compare --systems primepool,celery
  experiment compare --nodes 1..6 --cpus-per-node 0.25              Primepool and Ray's own cluster on 1 to 6 nodes of this machine

Python with the other pools in it is made by infra/local/setup.sh --peers.

Exit status: 0 done, 1 a system failed (the table says why), 2 wrong usage, 3 broker unreachable, 130 interrupted.";

/// Options of `experiment compare`.
#[derive(Debug, Args)]
#[command(after_help = COMPARE_EXAMPLES)]
pub struct CompareArgs {
    /// The pools to measure, each alone; with them always a bare loop of the engine and one of gmpy2 [default: primepool,ray,celery,dask; with
    /// --nodes primepool,ray, which are the two that it can do]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub systems: Vec<System>,

    /// Numbers of nodes, each with one worker, in place of one node with the whole machine: throughput only
    #[arg(long, value_name = "LIST", value_parser = numbers, requires = "cpus_per_node")]
    pub nodes: Option<Numbers>,

    /// Cores that each node may use, by a control group
    #[arg(long, value_name = "CORES", value_parser = cores, requires = "nodes")]
    pub cpus_per_node: Option<f64>,

    /// Bits of each prime
    #[arg(long, value_name = "BITS", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(16..=16_384))]
    pub bits: u32,

    /// Rounds; in each every system is measured once, in an order of chance
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repeat: u32,

    /// Seed of the jobs and of the order
    #[arg(long, value_name = "N", default_value_t = 7)]
    pub seed: u64,

    /// Least time of a measurement of a rate
    #[arg(long, value_name = "TIME", default_value = "4s", value_parser = duration)]
    pub min_time: Duration,

    /// Single tasks that are timed there and back, one after another
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub round_trips: u32,

    /// Python that has the other pools, as infra/local/setup.sh --peers makes it
    #[arg(
        long,
        value_name = "FILE",
        env = "PRIMEPOOL_PEERS_PYTHON",
        default_value = "python3"
    )]
    pub python: PathBuf,

    /// Process of the broker, if it runs on this machine: its memory counts as that of Primepool and Celery
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
    /// As many as there are cores without it.
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
