//! The ceiling: the jobs of a seeded run in a bare loop, without a broker, on the cores of a node.

use std::{
    collections::BTreeMap,
    hint::black_box,
    ops::Range,
    process::{Child, Stdio},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Error, Result, bail};
use clap::Args;
use primepool_common::message::HexInteger;
use primepool_engine::{Cancel, Engine, Form, Stream, estimate};
use primepool_factor::{Factorizer, Limits, expected_seconds};
use primepool_producer::request::Semiprimes;
use serde::{Deserialize, Serialize};

use crate::{
    launcher::NodeSpec,
    machine,
    record::{Baseline, Kind, Settings},
    share::Share,
};

/// Seconds of work in a batch, as in a unit.
const UNIT_S: f64 = 0.2;

/// Largest number of semiprimes generated for a loop that factors.
const MOST_PRODUCTS: u64 = 50_000;

/// What a bare loop does.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Loop {
    #[arg(long, value_enum)]
    pub(crate) kind: Kind,
    #[arg(long)]
    pub(crate) bits: u32,
    #[arg(long)]
    pub(crate) seed: u64,
}

/// Jobs per second of `threads` threads that share the jobs of a seeded run, for about `time`.
pub(crate) fn bare_loop(what: Loop, threads: u32, time: Duration) -> Result<f64> {
    let Loop { kind, bits, seed } = what;
    let kernel = machine::kernel()?;
    match kind {
        Kind::Prime => {
            let each = estimate::seconds(Form::Prime, bits, Some(kernel));
            rate(threads, time, each, || {
                let mut engine = Engine::with_kernel(kernel)?;
                Ok(move |jobs: Range<u64>| {
                    let mut streams: Vec<_> = jobs.map(|job| Stream::seeded(seed, job)).collect();
                    let mut found = |_, found| drop(black_box(found));
                    engine.primes(Form::Prime, bits, &mut streams, &Cancel::new(), &mut found)?;
                    Ok(())
                })
            })
        }
        Kind::Factor => {
            let each = expected_seconds(bits);
            let count = time.as_secs_f64() * f64::from(threads) / each;
            let all = Semiprimes {
                count: (count as u64).clamp(16, MOST_PRODUCTS),
                bits,
                seed: Some(seed),
            };
            let mut products = Vec::new();
            let keep = |n: HexInteger| {
                products.push(n.0);
                Ok(())
            };
            all.make(keep).map_err(Error::msg)?;
            rate(threads, time, each, || {
                let mut factorizer = Factorizer::with_kernel(kernel);
                let products = &products;
                Ok(move |jobs: Range<u64>| {
                    // If there are too few of them, they are used again.
                    let product = |job| products[(job % products.len() as u64) as usize].clone();
                    let numbers: Vec<_> = jobs.map(product).collect();
                    let mut found = |_, found| drop(black_box(found));
                    let (limits, cancel) = (Limits::default(), Cancel::new());
                    factorizer.factor_many(&numbers, &limits, &cancel, &mut |_| (), &mut found)?;
                    Ok(())
                })
            })
        }
    }
}

/// Jobs per second of threads that each call their own result of `worker` with batches of jobs. A
/// batch is as long as a unit, as some kernels are faster with several jobs at once.
fn rate<W: FnMut(Range<u64>) -> Result<()>>(
    threads: u32,
    time: Duration,
    seconds_each: f64,
    worker: impl Fn() -> Result<W> + Sync,
) -> Result<f64> {
    let batch = ((UNIT_S / seconds_each) as u64).clamp(1, 50_000);
    let (next, done, start) = (AtomicU64::new(0), AtomicU64::new(0), Instant::now());
    let work = || -> Result<f64> {
        let mut work = worker()?;
        // At least one batch, however short the time.
        loop {
            let first = next.fetch_add(batch, Relaxed);
            work(first..first + batch)?;
            done.fetch_add(batch, Relaxed);
            if start.elapsed() >= time {
                return Ok(start.elapsed().as_secs_f64());
            }
        }
    };
    let ends = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|_| bail!("a thread ended early"))
            })
            .collect::<Result<Vec<f64>>>()
    })?;
    // Each thread ends after a batch of its own: the mean of these times stands for all.
    let mean = ends.iter().sum::<f64>() / ends.len() as f64;
    Ok(done.load(Relaxed) as f64 / mean)
}

/// The output of `experiment bare-loop`: the rate of all its threads.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub jobs_per_s: f64,
    pub threads: u32,
}

/// Measures the ceiling of an experiment with bare loops that take `time` each: one loop, in place
/// of one node; then as many at once as nodes, if that leaves each its own share or machine.
pub(crate) fn measure(settings: &Settings, time: Duration) -> Result<Baseline> {
    let mut baseline = Baseline {
        bits: settings.bits,
        seed: settings.seed,
        cores: 0.0,
        threads: 0,
        jobs_per_s: Vec::new(),
        together: BTreeMap::new(),
    };
    // Loops that compete for cores are no ceiling.
    let machine = f64::from(settings.machine.cores);
    let is_apart = |nodes: u32| match settings.cpus_per_node {
        _ if settings.launcher.is_elsewhere() => true,
        Some(cores) => cores * f64::from(nodes) <= machine,
        None => false,
    };
    // All numbers of nodes in turns, so that drift of the machine does not look like an effect.
    for _ in 0..settings.repeat {
        let one = run_loops_at_once(settings, 1, time)?;
        baseline.threads = one.threads;
        baseline.cores = settings.cpus_per_node.unwrap_or(f64::from(one.threads));
        baseline.jobs_per_s.push(one.jobs_per_s);
        let several = settings.nodes.iter().filter(|&&nodes| nodes > 1);
        for &nodes in several.filter(|&&nodes| is_apart(nodes)) {
            let all = run_loops_at_once(settings, nodes, time)?;
            let rates = baseline.together.entry(nodes).or_default();
            rates.push(all.jobs_per_s);
        }
    }
    Ok(baseline)
}

/// Runs `loops` loops at once, each in place of a node, and adds their rates.
fn run_loops_at_once(settings: &Settings, loops: u32, time: Duration) -> Result<Measured> {
    let own = std::env::current_exe().context("cannot find out where this program is")?;
    let mut args = vec![
        "bare-loop".to_owned(),
        format!("--kind={}", settings.kind.as_str()),
        format!("--bits={}", settings.bits),
        format!("--seed={}", settings.seed),
        format!("--min-time={}ms", time.as_millis()),
    ];
    if let Some(cores) = settings.cpus_per_node {
        args.push(format!("--threads={}", cores.ceil()));
    }
    let start = |number: u32| -> Result<(Child, Option<Share>)> {
        let name = format!("node-{number}");
        let node = NodeSpec {
            number,
            name: &name,
            cores: settings.cpus_per_node,
        };
        let mut prepared = settings.launcher.experiment(&own, node, &args)?;
        let child = prepared
            .command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the bare loop")?;
        Ok((child, prepared.share))
    };
    let started = (1..=loops).map(start).collect::<Result<Vec<_>>>()?;
    let mut all: Option<Measured> = None;
    for (child, _share) in started {
        let output = child.wait_with_output()?;
        let Ok(one) = serde_json::from_slice::<Measured>(&output.stdout) else {
            bail!("the bare loop ended with {}", output.status);
        };
        match &mut all {
            None => all = Some(one),
            Some(all) => all.jobs_per_s += one.jobs_per_s,
        }
    }
    all.context("no loop was asked for")
}
