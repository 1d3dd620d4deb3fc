//! The ceiling: the jobs of a seeded run in a bare loop of the engine, without a broker, on the cores that a node may use.

use std::{
    collections::BTreeMap,
    process::{Child, Stdio},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use primepool_engine::{Cancel, Engine, Form, Kernel, Stream, estimate};

use crate::{
    process::within,
    record::{Baseline, Settings},
    share::Share,
};

/// Primes per second of `threads` threads that take the jobs of a seeded run in turns, for about so long.
///
/// # Errors
/// The engine does not do primes of this size.
pub fn bare_loop(bits: u32, seed: u64, threads: u32, time: Duration) -> Result<f64> {
    // As many at a time as a unit holds, so that a kernel that works on several jobs at once is not held back.
    let each = estimate::seconds(Form::Prime, bits, Kernel::choose().ok());
    let batch = ((0.2 / each) as u64).clamp(1, 50_000);
    let (next, done, start) = (AtomicU64::new(0), AtomicU64::new(0), Instant::now());
    let work = || -> Result<f64> {
        let mut engine = Engine::default();
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

/// Measures the ceiling of an experiment, each repetition for `time`: on the share of one node and on those of as many at once as
/// the experiment has, or on all cores.
///
/// # Errors
/// The share cannot be given, or the loop fails.
pub fn measure(settings: &Settings, time: Duration) -> Result<Baseline> {
    let mut baseline = Baseline {
        bits: settings.bits,
        seed: settings.seed,
        cores: settings
            .cpus_per_node
            .unwrap_or(f64::from(settings.machine.cores)),
        threads: settings
            .cpus_per_node
            .map_or(settings.machine.cores, |cores| cores.ceil() as u32),
        primes_per_s: Vec::new(),
        together: BTreeMap::new(),
    };
    // In turns, so that drift of the machine does not look like an effect.
    for _ in 0..settings.repeat {
        let one = together(settings, baseline.threads, 1, time)?;
        baseline.primes_per_s.push(one);
        let several = settings.nodes.iter().filter(|&&nodes| nodes > 1);
        for &nodes in several.filter(|_| settings.cpus_per_node.is_some()) {
            let rate = together(settings, baseline.threads, nodes, time)?;
            baseline.together.entry(nodes).or_default().push(rate);
        }
    }
    Ok(baseline)
}

/// Primes per second of so many loops at once, each in a process with a share of its own.
fn together(settings: &Settings, threads: u32, loops: u32, time: Duration) -> Result<f64> {
    let own = std::env::current_exe().context("cannot find out where this program is")?;
    let start = || -> Result<(Child, Option<Share>)> {
        let share = settings.cpus_per_node.map(Share::new).transpose()?;
        let child = within(share.as_ref(), &own)
            .args(["bare-loop", "--bits", &settings.bits.to_string()])
            .args(["--seed", &settings.seed.to_string()])
            .args(["--threads", &threads.to_string()])
            .args(["--min-time", &format!("{}ms", time.as_millis())])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the bare loop")?;
        Ok((child, share))
    };
    let started = (0..loops).map(|_| start()).collect::<Result<Vec<_>>>()?;
    let mut sum = 0.0;
    for (child, _share) in started {
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let Ok(rate) = text.trim().parse::<f64>() else {
            bail!("the bare loop ended with {}", output.status);
        };
        sum += rate;
    }
    Ok(sum)
}
