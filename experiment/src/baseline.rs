//! The ceiling: the jobs of a seeded run in a bare loop of the engine, without a broker, on the cores that a node may use.

use std::{
    collections::BTreeMap,
    process::{Child, Stdio},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use primepool_engine::{Cancel, Engine, Form, Stream, estimate};
use serde::{Deserialize, Serialize};

use crate::{
    launcher::Place,
    machine,
    record::{Baseline, Settings},
    share::Share,
};

/// Primes per second of `threads` threads that take the jobs of a seeded run in turns, for about so long.
///
/// # Errors
/// The engine does not do primes of this size.
pub(crate) fn bare_loop(bits: u32, seed: u64, threads: u32, time: Duration) -> Result<f64> {
    // As many at a time as a unit holds, so that a kernel that works on several jobs at once is not held back.
    let kernel = machine::kernel()?;
    let each = estimate::seconds(Form::Prime, bits, Some(kernel));
    let batch = ((0.2 / each) as u64).clamp(1, 50_000);
    let (next, done, start) = (AtomicU64::new(0), AtomicU64::new(0), Instant::now());
    let work = || -> Result<f64> {
        let mut engine = Engine::with_kernel(kernel)?;
        while start.elapsed() < time {
            let first = next.fetch_add(batch, Relaxed);
            let mut streams: Vec<_> = (first..first + batch)
                .map(|job| Stream::seeded(seed, job))
                .collect();
            let mut found = |_, found| drop(std::hint::black_box(found));
            engine.primes(Form::Prime, bits, &mut streams, &Cancel::new(), &mut found)?;
            done.fetch_add(batch, Relaxed);
        }
        Ok(start.elapsed().as_secs_f64())
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
    /// Primes per second of all threads.
    pub primes_per_s: f64,
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
        primes_per_s: Vec::new(),
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
        baseline.primes_per_s.push(one.primes_per_s);
        let several = settings.nodes.iter().filter(|&&nodes| nodes > 1);
        for &nodes in several.filter(|&&nodes| is_apart(nodes)) {
            let all = together(settings, nodes, time)?;
            let rates = baseline.together.entry(nodes).or_default();
            rates.push(all.primes_per_s);
        }
    }
    Ok(baseline)
}

/// So many loops at once, each where a node of its own would be: the rate of all, and the threads of the first.
fn together(settings: &Settings, loops: u32, time: Duration) -> Result<Measured> {
    let own = std::env::current_exe().context("cannot find out where this program is")?;
    let mut args = vec![
        "bare-loop".to_owned(),
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
            Some(all) => all.primes_per_s += one.primes_per_s,
        }
    }
    all.context("no loop was asked for")
}
