//! The ceiling: the jobs of a seeded run in a bare loop of the engine, without a broker, on the cores that a node may use.

use std::{
    path::Path,
    process::Stdio,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use primepool_engine::{Cancel, Engine, Form, Kernel, Stream, estimate};

use crate::{process::within, record::Baseline, share::Share};

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

/// Measures the ceiling `repeat` times, each time for `time`: on a share of so many cores, or on all of them.
///
/// # Errors
/// The share cannot be given, or the loop fails.
pub fn measure(
    bits: u32,
    seed: u64,
    cores: (Option<f64>, u32),
    repeat: u32,
    time: Duration,
) -> Result<Baseline> {
    let (share_of, machine) = cores;
    let threads = share_of.map_or(machine, |cores| cores.ceil() as u32);
    let mut rates = Vec::new();
    for _ in 0..repeat {
        let share = share_of.map(Share::new).transpose()?;
        let own = std::env::current_exe().context("cannot find out where this program is")?;
        let output = within(share.as_ref(), Path::new(&own))
            .args(["bare-loop", "--bits", &bits.to_string()])
            .args(["--seed", &seed.to_string()])
            .args(["--threads", &threads.to_string()])
            .args(["--min-time", &format!("{}ms", time.as_millis())])
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .context("cannot start the bare loop")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let Ok(rate) = text.trim().parse() else {
            bail!("the bare loop ended with {}", output.status);
        };
        rates.push(rate);
    }
    Ok(Baseline {
        bits,
        seed,
        cores: share_of.unwrap_or(f64::from(machine)),
        threads,
        primes_per_s: rates,
    })
}
