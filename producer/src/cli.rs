//! The command line.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, Parser, Subcommand, builder::BoolishValueParser};
use primepool_common::{
    broker::BrokerArgs,
    cli::{CompletionsArgs, KernelArgs, RunsDirArgs, duration, duration_within, job_kind},
    jobs::JobFields,
    logging::LogArgs,
    message::{FactorJobs, HexInteger, JobKind, Method, RunId, Work},
    metrics::InfluxArgs,
    pool::MOST_SHARE,
    run_folder::find_run,
};
use primepool_engine::{Kernel, MAX_BITS};
use primepool_factor::spread::{DEFAULT_EFFORT, EFFORTS};

use crate::request::{
    FactoringAims, IntegerSource, MAX_COUNT, Request, Semiprimes, UnitSize, Verify,
};

const BRIEF: &str = "\
Examples:
  producer --count 100 --bits 1024                  a hundred primes of 1024 bits
  producer --count 1e6 --bits 512 --detach          publish and leave; collect later with resume
  producer factor 1000000016000000063 0xdeadbeef    their prime factors

All options, their environment variables and more examples: producer --help";

const EXAMPLES: &str = "\
Examples:
  producer --count 100 --bits 1024                   a hundred primes of 1024 bits
  producer --count 10 --bits 512 --kind safe-prime   p and (p-1)/2 are both prime
  producer --kind next-prime --after 1000000 --after 0xffff
  producer --count 1000 --bits 256 --seed 7          the same thousand primes every time
  producer --count 1e6 --bits 512 --detach           publish and leave; collect later with resume
  producer resume 20261122-201530-9f3c01ab           continue a run, whatever ended it
  producer factor 1000000016000000063 0xdeadbeef     their prime factors
  producer cancel 20261122-201530-9f3c01ab           stop a run for good
  producer completions bash                          a completion script for the shell

Each run has a folder, runs/<run>/, with results.jsonl (a line for each job), summary.json and
metrics.lp (InfluxDB line protocol).

Ctrl-C stops publishing, reports what is done and says how to resume. A second Ctrl-C ends the
program at once. Nothing is lost either way.

Exit status: 0 all jobs ok, 1 some jobs not ok or not done, 2 wrong usage, 3 the broker cannot be
reached or refuses, 130 interrupted.";

/// Publishes jobs to the broker; collects, verifies and reports their results
#[derive(Debug, Parser)]
#[command(
    name = "producer",
    version,
    after_help = BRIEF,
    after_long_help = EXAMPLES,
    args_conflicts_with_subcommands = true,
    max_term_width = 100
)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    /// Number of primes, such as 1000 or 1e6
    #[arg(long, env = "PRIMEPOOL_COUNT", value_name = "N", default_value = "100", value_parser = count)]
    count: u64,

    /// Bits of each prime; the top one is set
    #[arg(long, env = "PRIMEPOOL_BITS", value_name = "BITS", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(2..=i64::from(MAX_BITS)))]
    bits: u32,

    /// Kind: prime, safe-prime, or next-prime (above --after)
    #[arg(
        long,
        env = "PRIMEPOOL_KIND",
        value_name = "KIND",
        default_value = "prime",
        value_parser = job_kind(&[JobKind::Factor])
    )]
    kind: JobKind,

    /// How random primes are chosen: incremental, uniform, or provable
    ///
    /// incremental: the first prime from a random start on; fast, but primes after long gaps are
    /// likelier. uniform: every prime is equally likely. provable: each prime comes with a
    /// certificate, which the producer checks
    #[arg(
        long,
        env = "PRIMEPOOL_METHOD",
        value_name = "METHOD",
        default_value = "incremental",
        hide_short_help = true
    )]
    method: Method,

    /// With --kind next-prime: integer to start above, decimal or 0x…; repeatable
    #[arg(long, value_name = "INTEGER", value_parser = HexInteger::parse_human, allow_hyphen_values = true)]
    after: Vec<HexInteger>,

    /// With --kind next-prime: a file of integers to start above, one per line; - is standard input
    #[arg(
        long,
        env = "PRIMEPOOL_AFTER_FILE",
        value_name = "FILE",
        hide_short_help = true
    )]
    after_file: Option<PathBuf>,

    /// With --kind next-prime: prove each prime p by the factors of p - 1
    ///
    /// It succeeds where composites among them have at most 200 bits. Results say which primes
    /// remain probable
    #[arg(
        long,
        env = "PRIMEPOOL_PROVE",
        value_parser = BoolishValueParser::new(),
        hide_short_help = true
    )]
    prove: bool,

    /// Make the run repeatable; not for keys
    ///
    /// Job i draws from the random stream (SEED, i). Without a seed the operating system's
    /// generator is used, as a key needs
    #[arg(long, env = "PRIMEPOOL_SEED", value_name = "SEED")]
    seed: Option<u64>,

    #[command(flatten)]
    new_run: NewRun,

    #[command(flatten)]
    common: Common,

    /// What to log.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Options of new runs of all kinds.
#[derive(Debug, Clone, Args)]
struct NewRun {
    /// Time limit of a job; a job that takes longer has failed
    ///
    /// The jobs of a unit share the time; with --unit-size 1 each has its own
    #[arg(
        long,
        env = "PRIMEPOOL_DEADLINE",
        value_name = "TIME",
        value_parser = deadline,
        hide_short_help = true
    )]
    deadline: Option<Duration>,

    /// Jobs in one message; auto: 50 to 200 ms of work, less towards the end of the run
    #[arg(
        long,
        hide_short_help = true,
        env = "PRIMEPOOL_UNIT_SIZE",
        value_name = "N|auto",
        default_value = "auto"
    )]
    unit_size: UnitSize,

    /// AMQP priority of the jobs [default: 5, with --detach 0]
    ///
    /// RabbitMQ 4 and later serve priorities of 5 and more twice as often as the others
    #[arg(
        long,
        env = "PRIMEPOOL_PRIORITY",
        value_name = "0-9",
        value_parser = clap::value_parser!(u8).range(0..=9),
        hide_short_help = true
    )]
    priority: Option<u8>,

    /// Write results to FILE instead of the run's results.jsonl; - prints them
    ///
    /// The file must not exist. With - the summary goes to standard error
    #[arg(long, env = "PRIMEPOOL_OUTPUT", value_name = "FILE")]
    output: Option<PathBuf>,

    /// Publish the jobs and leave; collect the results later with resume
    ///
    /// The broker keeps them for seven days
    #[arg(long)]
    detach: bool,
}

/// AMQP priority of the units of a run whose producer stays. A detached run publishes everything at
/// once, so its units have a lower priority where the broker supports priorities.
const ATTACHED_PRIORITY: u8 = 5;

impl NewRun {
    fn run_source(&self, request: Request, integers: Option<IntegerSource>) -> RunSource {
        let limit = self.deadline.map(|limit| limit.as_millis() as u64);
        RunSource::New {
            request: Request {
                deadline_ms: limit,
                ..request
            },
            integers: integers.map(Box::new),
            unit_size: self.unit_size,
            priority: self
                .priority
                .unwrap_or(if self.detach { 0 } else { ATTACHED_PRIORITY }),
            output: self.output.clone().filter(|output| !is_dash(output)),
            detach: self.detach,
        }
    }
}

/// Options of a new run and of `resume` alike.
#[derive(Debug, Clone, Args)]
struct Common {
    /// Results to check for primality: all, strict, sample, none
    #[arg(long, env = "PRIMEPOOL_VERIFY", value_enum, default_value_t = Verify::All)]
    verify: Verify,

    /// Give up after this time, report what is done and say how to resume
    #[arg(
        long,
        env = "PRIMEPOOL_TIMEOUT",
        value_name = "TIME",
        value_parser = duration,
        hide_short_help = true
    )]
    timeout: Option<Duration>,

    /// Weight of this run among the runs that share the pool
    ///
    /// A run of weight 2 gets twice the workers of a run of weight 1
    #[arg(
        long,
        env = "PRIMEPOOL_SHARE",
        value_name = "N",
        default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_SHARE)),
        hide_short_help = true
    )]
    share: u32,

    /// Do not announce the user and the host of this run to the pool
    #[arg(
        long,
        env = "PRIMEPOOL_ANONYMOUS",
        value_parser = BoolishValueParser::new(),
        hide_short_help = true
    )]
    anonymous: bool,

    #[command(flatten)]
    kernel: KernelArgs,

    /// Print results as they arrive instead of in the order of the input
    #[arg(
        long,
        env = "PRIMEPOOL_UNORDERED",
        value_parser = BoolishValueParser::new(),
        hide_short_help = true
    )]
    unordered: bool,

    /// Print the summary as JSON
    #[arg(long, env = "PRIMEPOOL_JSON", value_parser = BoolishValueParser::new())]
    json: bool,

    #[command(flatten)]
    runs: RunsDirArgs,

    #[command(flatten)]
    broker: BrokerArgs,

    #[command(flatten)]
    influx: InfluxArgs,
}

/// Commands of `producer` besides starting a run.
#[derive(Debug, Subcommand)]
enum Command {
    /// Find the prime factors of integers
    Factor(FactorArgs),
    /// Continue a run, whatever ended it
    Resume(ResumeArgs),
    /// Stop a run for good, wherever its producer is
    ///
    /// Consumers drop its units, those at work within a second. Its producer reports what is done
    /// and ends
    Cancel(CancelArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
}

#[derive(Debug, Args)]
#[command(after_help = FACTOR_BRIEF, after_long_help = FACTOR_EXAMPLES)]
struct FactorArgs {
    /// Integers, decimal or 0x…; negative hexadecimal integers after --
    #[arg(value_name = "N", value_parser = HexInteger::parse_human, allow_negative_numbers = true)]
    numbers: Vec<HexInteger>,

    /// File of integers, one per line; # begins a comment, - is standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// Factor K random products of two primes of equal size, to measure
    #[arg(long, value_name = "K", requires = "bits", value_parser = semiprime_count)]
    count: Option<u64>,

    /// With --count: bits of each product
    #[arg(long, value_name = "BITS", requires = "count", value_parser = clap::value_parser!(u32).range(6..=i64::from(MAX_BITS)))]
    bits: Option<u32>,

    /// With --count: make the products repeatable
    #[arg(long, value_name = "SEED", requires = "count")]
    seed: Option<u64>,

    /// Digits of factors to search for in a composite of more than 400 bits, 15 to 40
    ///
    /// Such a composite is too large for the sieve, so elliptic curves search for its factors. Five
    /// more digits take eight times as long
    #[arg(
        long,
        env = "PRIMEPOOL_EFFORT",
        value_name = "DIGITS",
        default_value_t = DEFAULT_EFFORT,
        value_parser = clap::value_parser!(u32).range(efforts())
    )]
    effort: u32,

    /// Prove each prime factor p above 2^64 by the factors of p - 1
    ///
    /// It succeeds where composites among them have at most 200 bits. Results say which factors
    /// remain probable
    #[arg(long, env = "PRIMEPOOL_PROVE", value_parser = BoolishValueParser::new())]
    prove: bool,

    #[command(flatten)]
    new_run: NewRun,

    #[command(flatten)]
    common: Common,
}

/// [`EFFORTS`] as the range type that clap needs.
fn efforts() -> std::ops::RangeInclusive<i64> {
    i64::from(*EFFORTS.start())..=i64::from(*EFFORTS.end())
}

const FACTOR_BRIEF: &str = "\
Examples:
  producer factor 1000000016000000063 0xdeadbeefcafe -360
  producer factor --file numbers.txt --output factors.jsonl";

const FACTOR_EXAMPLES: &str = "\
Examples:
  producer factor 1000000016000000063 0xdeadbeefcafe -360
  producer factor --file numbers.txt --output factors.jsonl
  producer factor --count 20 --bits 160     random products of two primes of 80 bits, to measure

All consumers together work on an integer with a composite divisor of more than 200 bits.

Each result is printed and written to runs/<run>/results.jsonl. Factors below 2^64 are proven
primes; larger factors have passed the Baillie-PSW test. A composite that a deadline or its size
left unfactored is printed in brackets, and its job counts as not done.";

/// Largest number of random products that can be requested.
const MAX_SEMIPRIMES: u64 = 1_000_000;

#[derive(Debug, Args)]
struct CancelArgs {
    /// Name of the run, the start of the name, or its folder; it cannot be resumed afterwards
    run: String,

    #[command(flatten)]
    runs: RunsDirArgs,

    #[command(flatten)]
    broker: BrokerArgs,
}

#[derive(Debug, Args)]
struct ResumeArgs {
    /// Name of the run, the start of the name, or its folder [default: the latest in --runs-dir]
    run: Option<String>,

    /// Publish all jobs without a result again, for a broker that lost its data
    #[arg(long)]
    republish: bool,

    #[command(flatten)]
    common: Common,
}

/// The options of a new or resumed run, from either form of the command line.
#[derive(Debug)]
pub struct RunOptions {
    /// Whether to start a new run or to resume one, with its options.
    pub source: RunSource,
    /// Which results are checked for primality.
    pub verify: Verify,
    /// Arithmetic kernel for verification; consumers are expected to use the same.
    pub kernel: Kernel,
    /// Weight of the run among those that share the pool.
    pub share: u32,
    /// Whether the user and the host are withheld from the pool.
    pub is_anonymous: bool,
    /// Time after which the producer gives up; `None` is no limit.
    pub timeout: Option<Duration>,
    /// Whether the summary is printed as JSON.
    pub json: bool,
    /// Whether the lines of all results go to standard output (`--output -`).
    pub prints_rows: bool,
    /// Whether results are printed in the order of their arrival.
    pub is_unordered: bool,
    /// Folder of the runs' folders.
    pub runs_dir: PathBuf,
    /// Metrics server that receives the metrics besides the file of the run.
    pub influx: InfluxArgs,
}

/// A new run or the continuation of an earlier one.
#[derive(Debug)]
pub enum RunSource {
    /// Start a run.
    New {
        /// The jobs, without their integers, which are read later.
        request: Request,
        /// Source of the integers, if the jobs need any.
        integers: Option<Box<IntegerSource>>,
        /// Number of jobs in a unit.
        unit_size: UnitSize,
        /// AMQP priority of the units.
        priority: u8,
        /// Path of the results file, if it is not in the run's folder.
        output: Option<PathBuf>,
        /// Whether to leave after publishing.
        detach: bool,
    },
    /// Resume a run.
    Resume {
        /// Identifier of the run.
        run: RunId,
        /// Whether to publish again the units that the broker had confirmed.
        republish: bool,
    },
}

/// The task that the command line requests.
pub(crate) enum Task {
    /// Start or resume a run.
    Run(Box<RunOptions>),
    /// Cancel a run; it cannot be resumed.
    Cancel {
        /// Identifier of the run.
        run: RunId,
        /// Folder of the runs' folders.
        runs_dir: PathBuf,
    },
}

impl Cli {
    fn common(&self) -> &Common {
        match &self.command {
            Some(Command::Factor(factor)) => &factor.common,
            Some(Command::Resume(resume)) => &resume.common,
            Some(Command::Cancel(_) | Command::Completions(_)) | None => &self.common,
        }
    }

    /// The request for a completion script.
    pub(crate) fn completions(&self) -> Option<CompletionsArgs> {
        match self.command {
            Some(Command::Completions(completions)) => Some(completions),
            _ => None,
        }
    }

    /// Connection options of the broker.
    pub(crate) fn broker(&self) -> &BrokerArgs {
        match &self.command {
            Some(Command::Cancel(cancel)) => &cancel.broker,
            _ => &self.common().broker,
        }
    }

    /// Converts the options into a task.
    ///
    /// # Errors
    /// The same as those of [`Cli::run_options`].
    pub(crate) fn task(&self) -> Result<Task, String> {
        Ok(match &self.command {
            Some(Command::Cancel(cancel)) => {
                let found = find_run(&cancel.runs.runs_dir, Some(&cancel.run))?;
                Task::Cancel {
                    run: found.run,
                    runs_dir: found.runs_dir,
                }
            }
            _ => Task::Run(Box::new(self.run_options()?)),
        })
    }

    /// Checks that the options are consistent.
    ///
    /// # Errors
    /// Returns a message for the user that says which options conflict.
    pub fn check(&self) -> Result<(), String> {
        self.task().map(drop)
    }

    /// Converts the command line into the options of a run.
    ///
    /// # Errors
    /// The options conflict, or there is no such run.
    fn run_options(&self) -> Result<RunOptions, String> {
        let common = self.common();
        let mut runs_dir = common.runs.runs_dir.clone();
        let source = match &self.command {
            Some(Command::Resume(resume)) => {
                let found = find_run(&runs_dir, resume.run.as_deref())?;
                runs_dir = found.runs_dir;
                RunSource::Resume {
                    run: found.run,
                    republish: resume.republish,
                }
            }
            Some(Command::Factor(factor)) => factor
                .new_run
                .run_source(factor.request()?, Some(factor.integers())),
            Some(Command::Cancel(_) | Command::Completions(_)) | None => {
                self.new_run.run_source(self.request()?, self.integers())
            }
        };
        let new_run = match &self.command {
            Some(Command::Factor(factor)) => Some(&factor.new_run),
            Some(Command::Resume(_) | Command::Cancel(_) | Command::Completions(_)) => None,
            None => Some(&self.new_run),
        };
        let prints_rows = new_run.is_some_and(|new| new.output.as_deref().is_some_and(is_dash));
        if prints_rows && (common.json || new_run.is_some_and(|new| new.detach)) {
            return Err("--output - needs standard output, as --json and --detach do".to_owned());
        }
        Ok(RunOptions {
            source,
            verify: common.verify,
            kernel: common.kernel.kernel,
            share: common.share,
            is_anonymous: common.anonymous,
            timeout: common.timeout,
            json: common.json,
            prints_rows,
            is_unordered: common.unordered,
            runs_dir,
            influx: common.influx.clone(),
        })
    }

    fn request(&self) -> Result<Request, String> {
        let has_integers = !self.after.is_empty() || self.after_file.is_some();
        if self.kind == JobKind::NextPrime && !has_integers {
            return Err("--kind next-prime needs --after INTEGER or --after-file FILE".to_owned());
        }
        if self.kind == JobKind::Factor {
            return Err("factors are asked for with: producer factor N…".to_owned());
        }
        if self.kind != JobKind::NextPrime && has_integers {
            return Err("--after and --after-file need --kind next-prime".to_owned());
        }
        if self.kind == JobKind::NextPrime && self.method != Method::Incremental {
            return Err(format!(
                "--method {} needs --kind prime or safe-prime: a next prime is not chosen{}",
                self.method,
                if self.method == Method::Provable {
                    "; --prove proves it"
                } else {
                    ""
                }
            ));
        }
        if self.kind != JobKind::NextPrime && self.prove {
            return Err(
                "--prove needs --kind next-prime: for random primes give --method provable"
                    .to_owned(),
            );
        }
        let fields = JobFields {
            bits: Some(self.bits),
            count: Some(self.count),
            method: self.method,
            prove: self.prove || self.method == Method::Provable,
            after: Some(Vec::new()),
            ..JobFields::default()
        };
        let work = Work::read(self.kind, fields).map_err(|error| error.to_string())?;
        work.jobs().validate()?;
        let is_random = matches!(self.kind, JobKind::Prime | JobKind::SafePrime);
        Ok(Request {
            seed: self.seed,
            verified: is_random && !work.jobs().proves() && self.common.verify.is_complete(),
            ..Request::new(work)
        })
    }

    fn integers(&self) -> Option<IntegerSource> {
        (self.kind == JobKind::NextPrime).then(|| IntegerSource {
            listed: self.after.clone(),
            file: self.after_file.clone(),
            option: "--after-file",
            semiprimes: None,
        })
    }
}

fn semiprime_count(text: &str) -> Result<u64, String> {
    let number = count(text)?;
    let fits = number <= MAX_SEMIPRIMES;
    fits.then_some(number)
        .ok_or_else(|| format!("{number} is not in 1..={MAX_SEMIPRIMES}"))
}

/// Whether a path stands for standard input or output.
fn is_dash(path: &Path) -> bool {
    path == Path::new("-")
}

/// Reads a number of jobs, such as `1000`, `1_000` or `1e6`.
fn count(text: &str) -> Result<u64, String> {
    let allowed = 1..=MAX_COUNT;
    let digits = text.replace('_', "");
    let number = match digits.split_once(['e', 'E']) {
        None => digits.parse().ok(),
        Some((mantissa, exponent)) => {
            let power = exponent
                .parse()
                .ok()
                .and_then(|power| 10_u64.checked_pow(power));
            mantissa
                .parse()
                .ok()
                .zip(power)
                .and_then(|(m, p): (u64, _)| m.checked_mul(p))
        }
    };
    let number: u64 =
        number.ok_or_else(|| format!("{text:?} is not a number of jobs: write 1000 or 1e6"))?;
    allowed
        .contains(&number)
        .then_some(number)
        .ok_or_else(|| format!("{number} is not in 1..={MAX_COUNT}"))
}

impl FactorArgs {
    fn integers(&self) -> IntegerSource {
        IntegerSource {
            listed: self.numbers.clone(),
            file: self.file.clone(),
            option: "--file",
            semiprimes: self.semiprimes(),
        }
    }

    fn semiprimes(&self) -> Option<Semiprimes> {
        let (count, bits) = self.count.zip(self.bits)?;
        let seed = self.seed;
        Some(Semiprimes { count, bits, seed })
    }

    fn request(&self) -> Result<Request, String> {
        let is_balanced = self.numbers.is_empty() && self.file.is_none();
        if is_balanced && self.semiprimes().is_none() {
            return Err(
                "say which integers: `producer factor N…`, --file FILE, or --count K --bits B"
                    .to_owned(),
            );
        }
        let work = Work::Factor(FactorJobs {
            numbers: Vec::new().into(),
            leave_above: None,
            share: None,
            prove: self.prove,
        });
        Ok(Request {
            aims: FactoringAims {
                is_balanced,
                effort: self.effort,
            },
            ..Request::new(work)
        })
    }
}

/// Reads a deadline: at most a year, so that milliseconds fit into 64 bits, and at least 10 ms,
/// since the worker polls it.
fn deadline(text: &str) -> Result<Duration, String> {
    let allowed = Duration::from_millis(10)..=Duration::from_secs(365 * 24 * 3600);
    duration_within(text, allowed, "give a time from 10ms to 365d")
}
