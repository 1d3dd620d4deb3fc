//! The same work on Primepool, Ray, Celery and Dask, side by side: `experiment compare`.
//!
//! ```text
//!   rounds: all systems in a random order, one at a time
//!     ├── primepool: consumer and producer, as users run them
//!     ├── driver: a Python program for each other pool (experiment/peers)
//!     └── the two ceilings: a bare loop of the engine, and one of gmpy2
//!   processes: the processes of the system that runs, and their memory
//!   figures ──▶ compare.json, from which experiment/report makes tables, pictures and a page
//! ```

pub(crate) mod driver;
pub(crate) mod figures;
pub(crate) mod primepool;
pub(crate) mod processes;

use crate::system::System;
use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Error, Result, bail};
use primepool_common::{
    broker::BrokerError, clock::unix_time, exit::Exit, message::JobKind, output::print,
};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

use self::{
    figures::{Comparison, Figures, Rate, Record, Settings},
    processes::Watch,
};
use crate::{
    baseline::{self, Loop},
    cli, machine,
    process::{Stop, programs},
    queue::JobsQueue,
    record::{self, Kind, Outcome},
    share::Share,
    sweep::shuffle,
    terminal::{complain, new_folder},
};

pub(crate) fn compare(args: &cli::CompareArgs, stop: &Stop) -> Result<Exit, (Exit, Error)> {
    let wrong = |error| (Exit::Usage, error);
    let systems = systems(args).map_err(wrong)?;
    let dir = folder(args).map_err(wrong)?;
    rounds(args, &systems, &dir, stop).map_err(|error| match stop.asked() {
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
    // An absolute path means the same to every program that is started.
    fs::canonicalize(&dir).with_context(|| dir.display().to_string())
}

/// The order of the measurements: shuffled in each round, so that machine drift favours no system.
fn order(systems: &[(System, u32)], rounds: u32, seed: u64) -> Vec<(u32, System, u32)> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut order = Vec::new();
    for round in 0..rounds {
        let mut systems = systems.to_vec();
        shuffle(&mut systems, &mut random);
        order.extend(
            systems
                .into_iter()
                .map(|(system, nodes)| (round, system, nodes)),
        );
    }
    order
}

/// Systems and numbers of nodes to measure: pools on the whole machine and both ceilings, or some
/// pools on each number of nodes.
fn systems(args: &cli::CompareArgs) -> Result<Vec<(System, u32)>> {
    let on_nodes = [System::Primepool, System::Ray];
    let mut systems = match (args.systems.is_empty(), &args.nodes) {
        (false, _) => args.systems.clone(),
        (true, Some(_)) => on_nodes.to_vec(),
        (true, None) => vec![System::Primepool, System::Ray, System::Celery, System::Dask],
    };
    let numbers = match &args.nodes {
        Some(numbers) => {
            if let Some(other) = systems.iter().find(|system| !on_nodes.contains(system)) {
                bail!("{other:?} is not measured on nodes: leave it out of --systems");
            }
            numbers.0.clone()
        }
        None => {
            systems.extend([System::Engine, System::Gmpy2]);
            vec![1]
        }
    };
    systems.sort_unstable();
    systems.dedup();
    let on = |system| numbers.iter().map(move |&nodes| (system, nodes));
    Ok(systems.into_iter().flat_map(on).collect())
}

fn rounds(
    args: &cli::CompareArgs,
    systems: &[(System, u32)],
    dir: &Path,
    stop: &Stop,
) -> Result<Exit> {
    let programs = programs()?;
    let queue = JobsQueue::from_environment(JobKind::Prime)?;
    queue.is_free()?;
    let mut comparison = Comparison {
        settings: Settings {
            bits: args.bits,
            seed: args.seed,
            repeat: args.repeat,
            min_time_s: args.min_time.as_secs_f64(),
            round_trips: args.round_trips,
            cores: machine::cores(),
            cpus_per_node: args.cpus_per_node,
            broker_is_counted: args.broker_pid.is_some(),
            started_ms: u64::try_from(unix_time().as_millis()).unwrap_or(u64::MAX),
        },
        machine: machine::here(),
        records: Vec::new(),
    };
    driver::write_programs(dir)?;
    let measurer = Measurer {
        args,
        dir,
        programs: &programs,
        queue: &queue,
        stop,
    };
    for (round, system, nodes) in order(systems, args.repeat, args.seed) {
        let outcome = measurer.measure(round, (system, nodes), &comparison.settings);
        if stop.asked() {
            bail!(
                "interrupted: everything that was started has ended, nothing was written but {}",
                dir.display()
            );
        }
        let record = Record {
            round,
            system,
            nodes,
            outcome: Outcome::of(outcome),
        };
        complain(&record.line());
        comparison.records.push(record);
    }
    record::write(dir, Comparison::FILE, &comparison)?;
    print(&format!("measured: {}", dir.display()))?;
    let has_failed = |record: &Record| record.outcome.has_failed();
    Ok(if comparison.records.iter().any(has_failed) {
        Exit::Incomplete
    } else {
        Exit::Ok
    })
}

struct Measurer<'a> {
    args: &'a cli::CompareArgs,
    dir: &'a Path,
    programs: &'a Path,
    queue: &'a JobsQueue,
    stop: &'a Stop,
}

impl Measurer<'_> {
    fn measure(
        &self,
        round: u32,
        (system, nodes): (System, u32),
        settings: &Settings,
    ) -> Result<Figures> {
        // When these are dropped, `watch.end()` has ended all processes in them.
        let share = |_| settings.cpus_per_node.map(Share::new).transpose();
        let shares: Vec<Option<Share>> = match system {
            System::Ray => (0..nodes).map(share).collect::<Result<_, _>>()?,
            _ => Vec::new(),
        };
        let groups: Vec<PathBuf> = shares.iter().flatten().map(Share::procs).collect();
        let uses_broker = matches!(system, System::Primepool | System::Celery);
        let folder = driver::folder()?;
        let watch = Watch::start(self.args.broker_pid.filter(|_| uses_broker));
        let figures = match system {
            System::Primepool => {
                let dir = self.dir.join(format!("primepool-{round}-{nodes}"));
                primepool::measure(settings, nodes, &dir, self.programs, self.queue, self.stop)
            }
            System::Engine => engine_loop(settings, self.args.min_time),
            _ => driver::measure(
                system,
                settings,
                &self.args.python,
                (self.dir, folder.path()),
                (round, &groups),
                self.queue.address(),
                self.stop,
            ),
        };
        let peak = watch.end();
        drop(folder); // no process writes to it any more
        let mut figures = figures?;
        if !system.is_ceiling() {
            figures.memory = peak;
        }
        Ok(figures)
    }
}

/// Measures the ceiling of Primepool.
fn engine_loop(settings: &Settings, time: std::time::Duration) -> Result<Figures> {
    let what = Loop {
        kind: Kind::Prime,
        bits: settings.bits,
        seed: settings.seed,
    };
    let per_s = baseline::bare_loop(what, settings.cores, time)?;
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
        let systems =
            [System::Primepool, System::Ray, System::Dask, System::Gmpy2].map(|system| (system, 1));
        let order = order(&systems, 20, 7);
        assert_eq!(order.len(), 80);
        for round in order.chunks(4) {
            let mut there: Vec<_> = round.iter().map(|one| (one.1, one.2)).collect();
            assert!(round.iter().all(|one| one.0 == round[0].0));
            there.sort_unstable();
            assert_eq!(there, systems);
        }
        let firsts = order.chunks(4).map(|round| round[0].1);
        let firsts: std::collections::BTreeSet<_> = firsts.collect();
        assert_eq!(firsts.len(), 4, "a system never comes first");
    }
}
