//! The ceiling: the jobs of a seeded run in a bare loop, without a broker, on the cores that a node may use.

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
    launcher::Place,
    machine,
    record::{Baseline, Kind, Settings},
    share::Share,
};

/// Seconds of work that a unit holds.
const UNIT_S: f64 = 0.2;

/// Most integers that are made for a loop that factors.
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

/// Jobs per second of `threads` threads that take the jobs of a seeded run in turns, for about so long.
///
/// # Errors
/// The engine does not do primes of this size.
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
                    // Should they not suffice, they come again.
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

/// Jobs per second of threads that each do with jobs what one that `worker` gives does. It gets as many at a time as a unit holds, so that
/// a kernel that works on several jobs at once is not held back.
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
        // One batch at least, however short the time.
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
    // Each thread ends after a batch of its own; the mean of their ends is that of all.
    let mean = ends.iter().sum::<f64>() / ends.len() as f64;
    Ok(done.load(Relaxed) as f64 / mean)
}

/// What the bare loop prints when it is a process of its own.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Jobs per second of all threads.
    pub jobs_per_s: f64,
    /// Threads that it had.
    pub threads: u32,
}

/// Measures the ceiling of an experiment, each repetition for `time`: where one node would be and where as many at once as the
/// experiment has would be, if each has a share or a machine of its own and there is room for all; else on all cores.
///
/// # Errors
/// A share cannot be given, or the loop cannot be started or fails.
pub(crate) fn measure(settings: &Settings, time: Duration) -> Result<Baseline> {
    let mut baseline = Baseline {
        bits: settings.bits,
        seed: settings.seed,
        cores: 0.0,
        threads: 0,
        jobs_per_s: Vec::new(),
        together: BTreeMap::new(),
    };
    // Loops that crowd each other out are no ceiling.
    let machine = f64::from(settings.machine.cores);
    let is_apart = |nodes: u32| match settings.cpus_per_node {
        _ if settings.launcher.is_elsewhere() => true,
        Some(cores) => cores * f64::from(nodes) <= machine,
        None => false,
    };
    // In turns, so that drift of the machine does not look like an effect.
    for _ in 0..settings.repeat {
        let one = together(settings, 1, time)?;
        baseline.threads = one.threads;
        baseline.cores = settings.cpus_per_node.unwrap_or(f64::from(one.threads));
        baseline.jobs_per_s.push(one.jobs_per_s);
        let several = settings.nodes.iter().filter(|&&nodes| nodes > 1);
        for &nodes in several.filter(|&&nodes| is_apart(nodes)) {
            let all = together(settings, nodes, time)?;
            let rates = baseline.together.entry(nodes).or_default();
            rates.push(all.jobs_per_s);
        }
    }
    Ok(baseline)
}

/// So many loops at once, each where a node of its own would be: the rate of all, and the threads of the first.
fn together(settings: &Settings, loops: u32, time: Duration) -> Result<Measured> {
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
        let place = Place {
            number,
            name: &name,
            cores: settings.cpus_per_node,
        };
        let mut ready = settings.launcher.experiment(&own, place, &args)?;
        let child = ready
            .command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the bare loop")?;
        Ok((child, ready.share))
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
