//! The same work on Primepool, Ray, Celery and Dask, side by side: `experiment compare`.
//!
//! ```text
//!   rounds: all systems in an order of chance, one at a time
//!     ├── primepool: consumer and producer, as users run them
//!     ├── driver: a Python program for each of the others (experiment/peers), settings in, figures out
//!     └── the two ceilings: a bare loop of the engine, and one of gmpy2
//!   processes: who belongs to the system that runs, and its memory
//!   figures: medians, and ratios within a round ──▶ table, bars, page
//! ```

pub(crate) mod bars;
pub(crate) mod driver;
pub(crate) mod figures;
pub(crate) mod page;
pub(crate) mod primepool;
pub(crate) mod processes;
pub(crate) mod table;

use crate::system::System;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Error, Result, bail};
use primepool_common::{broker::BrokerError, clock::unix_time, exit::Exit, output::print};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

use self::{
    figures::{Comparison, Figures, Outcome, Rate, Record, Settings},
    processes::Watch,
};
use crate::{
    baseline, cli, machine,
    process::{Stop, programs},
    queue::JobsQueue,
    record,
    report::png::Painter,
    terminal::{complain, new_folder},
};

/// `experiment compare`.
///
/// # Errors
/// What went wrong, for people, and the exit status that says so.
pub(crate) fn compare(args: &cli::CompareArgs, stop: &Stop) -> Result<Exit, (Exit, Error)> {
    let dir = folder(args).map_err(|error| (Exit::Usage, error))?;
    rounds(args, &dir, stop).map_err(|error| match stop.asked() {
        true => (Exit::Interrupted, error),
        false if error.is::<BrokerError>() => (Exit::Unreachable, error),
        false => (Exit::Incomplete, error),
    })
}

fn folder(args: &cli::CompareArgs) -> Result<PathBuf> {
    let dir = args.dir.clone().unwrap_or_else(|| new_folder("compare"));
    if dir.join(Comparison::FILE).exists() {
        bail!(
            "{} holds a comparison already: name another folder in --dir",
            dir.display()
        );
    }
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    // Relative paths would mean something else to the programs that are started.
    fs::canonicalize(&dir).with_context(|| dir.display().to_string())
}

/// Systems in the order in which they are measured: shuffled in each round, so that drift of the machine favours nobody.
fn order(systems: &[System], rounds: u32, seed: u64) -> Vec<(u32, System)> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut order = Vec::new();
    for round in 0..rounds {
        let mut systems = systems.to_vec();
        // Fisher and Yates.
        for last in (1..systems.len()).rev() {
            systems.swap(last, (random.next_u64() % (last as u64 + 1)) as usize);
        }
        order.extend(systems.into_iter().map(|system| (round, system)));
    }
    order
}

fn rounds(args: &cli::CompareArgs, dir: &Path, stop: &Stop) -> Result<Exit> {
    let programs = programs()?;
    let queue = JobsQueue::from_environment()?;
    queue.is_free()?;
    let mut systems: Vec<System> = args.systems.clone();
    systems.push(System::Engine);
    systems.push(System::Gmpy2);
    systems.sort_unstable();
    systems.dedup();
    let mut comparison = Comparison {
        settings: Settings {
            bits: args.bits,
            seed: args.seed,
            repeat: args.repeat,
            min_time_s: args.min_time.as_secs_f64(),
            round_trips: args.round_trips,
            cores: machine::cores(),
            broker_is_counted: args.broker_pid.is_some(),
            started_ms: u64::try_from(unix_time().as_millis()).unwrap_or(u64::MAX),
        },
        machine: machine::here(),
        records: Vec::new(),
        medians: BTreeMap::new(),
        ratios: BTreeMap::new(),
    };
    driver::write_programs(dir)?;
    let run = Run {
        args,
        dir,
        programs: &programs,
        queue: &queue,
        stop,
    };
    for (round, system) in order(&systems, args.repeat, args.seed) {
        let outcome = run.measure(round, system, &comparison.settings);
        if stop.asked() {
            bail!(
                "interrupted: everything that was started has ended, nothing was written but {}",
                dir.display()
            );
        }
        let record = Record {
            round,
            system,
            outcome: match outcome {
                Ok(figures) => Outcome::Measured(Box::new(figures)),
                Err(error) => Outcome::Failed(format!("{error:#}")),
            },
        };
        complain(&record.line());
        comparison.records.push(record);
    }
    comparison.summarise();
    record::write(dir, Comparison::FILE, &comparison)?;
    let svg = bars::picture(&comparison);
    let table = table::markdown(&comparison);
    let png = Painter::new().png(&svg)?;
    let page = page::html(&comparison, &svg);
    let files: [(&str, &[u8]); 4] = [
        ("compare.svg", svg.as_bytes()),
        ("compare.png", &png),
        ("compare.md", table.as_bytes()),
        ("compare.html", page.as_bytes()),
    ];
    for (name, bytes) in files {
        let path = dir.join(name);
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if args.json {
        print(&serde_json::to_string_pretty(&comparison)?)?;
    } else {
        print(&table)?;
        print(&format!("page: {}", dir.join("compare.html").display()))?;
    }
    Ok(match comparison.failures().next() {
        None => Exit::Ok,
        Some(_) => Exit::Incomplete,
    })
}

/// What measurements need.
struct Run<'a> {
    args: &'a cli::CompareArgs,
    dir: &'a Path,
    programs: &'a Path,
    queue: &'a JobsQueue,
    stop: &'a Stop,
}

impl Run<'_> {
    fn measure(&self, round: u32, system: System, settings: &Settings) -> Result<Figures> {
        let uses_broker = matches!(system, System::Primepool | System::Celery);
        let folder = driver::folder()?;
        let watch = Watch::start(self.args.broker_pid.filter(|_| uses_broker));
        let figures = match system {
            System::Primepool => {
                let dir = self.dir.join(format!("primepool-{round}"));
                primepool::measure(settings, &dir, self.programs, self.queue, self.stop)
            }
            System::Engine => engine_loop(settings, self.args.min_time),
            _ => driver::measure(
                system,
                settings,
                &self.args.python,
                (self.dir, folder.path()),
                round,
                self.queue.address(),
                self.stop,
            ),
        };
        let peak = watch.end();
        drop(folder); // now that nobody writes to it any more
        let mut figures = figures?;
        if !system.is_ceiling() {
            figures.memory = peak;
        }
        Ok(figures)
    }
}

/// The ceiling of Primepool.
fn engine_loop(settings: &Settings, time: std::time::Duration) -> Result<Figures> {
    let per_s = baseline::bare_loop(settings.bits, settings.seed, settings.cores, time)?;
    let seconds = time.as_secs_f64();
    Ok(Figures {
        how: "the engine in a loop, one thread a core, as many jobs at a time as a unit holds"
            .into(),
        primes: Rate {
            tasks: (per_s * seconds) as u64,
            seconds,
            per_s,
            how: String::new(),
        },
        ..Figures::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_has_every_system_once() {
        let systems = [System::Primepool, System::Ray, System::Dask, System::Gmpy2];
        let order = order(&systems, 20, 7);
        assert_eq!(order.len(), 80);
        for round in order.chunks(4) {
            let mut there: Vec<_> = round.iter().map(|one| one.1).collect();
            assert!(round.iter().all(|one| one.0 == round[0].0));
            there.sort_unstable();
            assert_eq!(there, systems);
        }
        let firsts = order.chunks(4).map(|round| round[0].1);
        let firsts: std::collections::BTreeSet<_> = firsts.collect();
        assert_eq!(firsts.len(), 4, "somebody never comes first");
    }
}
