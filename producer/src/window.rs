//! How many units a run keeps outstanding, so that runs share the pool.
//!
//! The windows of all runs together are about two units for each worker: one that it works on and
//! one that waits for it. Each run has a share in proportion to its weight, and at least one unit.
//! So a newly published unit waits for little more than one unit of each run, however large the
//! runs are.

use std::time::Duration;

use primepool_common::pool::units_a_worker;

/// Number of workers assumed while the pool is empty, so that the first worker has work at once.
const EXPECTED_WORKERS: u32 = 32;

/// Largest window, in units: the broker could not confirm more units in time.
const MOST: f64 = 20_000.0;

/// The number of units that a run keeps outstanding. `workers`: number of workers that take its
/// jobs; `unit`: time that a worker needs for a unit; `share` of `all_shares`: the run's weight and
/// the sum of the weights of all runs that have units to publish, including this run.
#[must_use]
pub(crate) fn window(workers: u32, unit: Duration, share: u32, all_shares: u64) -> usize {
    let workers = if workers == 0 {
        EXPECTED_WORKERS
    } else {
        workers
    };
    let depth = units_a_worker(unit);
    let part = f64::from(share) / (all_shares.max(share.into()) as f64).max(1.0);
    let units = f64::from(workers) * depth * part;
    units.min(MOST).ceil().max(1.0) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const UNIT: Duration = Duration::from_millis(200);

    #[test]
    fn windows_share_the_workers() {
        assert_eq!(window(2, UNIT, 1, 1), 5);
        assert_eq!(window(2, UNIT, 1, 2), 3);
        assert_eq!(window(2, UNIT, 3, 4), 4);
        assert_eq!(window(2, UNIT, 1, 1000), 1, "at least one");
        assert_eq!(window(100, UNIT, 1, 1), 250);
        assert!(window(0, UNIT, 1, 1) >= 64, "work for the first consumers");
        let short = window(2, Duration::from_micros(20), 1, 1);
        assert!((2000..20_001).contains(&short), "{short}");
        assert_eq!(window(u32::MAX, Duration::ZERO, 1, 1), 20_000);
    }

    /// A run in the simulation.
    struct Run {
        share: u32,
        starts_ms: u64,
        /// Milliseconds of a worker of speed 1 for each unit.
        unit_ms: u64,
        left: u64,
        outstanding: usize,
        first_begun_ms: Option<u64>,
        worked_ms: f64,
        ended_ms: Option<u64>,
    }

    struct Worker {
        speed: f64,
        until_ms: u64,
        run: Option<usize>,
        leaves_ms: u64,
    }

    /// Simulates runs that share one FIFO queue, with the windows that each run would choose.
    /// Returns the total milliseconds in which a worker was idle although a run had units left.
    fn simulate(runs: &mut [Run], workers: &mut [Worker], until_ms: u64) -> u64 {
        let mut queue: VecDeque<usize> = VecDeque::new();
        let mut idle_ms = 0;
        for now in 0..until_ms {
            let there = workers
                .iter()
                .filter(|worker| worker.leaves_ms > now)
                .count() as u32;
            for worker in workers.iter_mut() {
                if let Some(run) = worker.run
                    && worker.until_ms <= now
                {
                    worker.run = None;
                    runs[run].outstanding -= 1;
                    if runs[run].left == 0 && runs[run].outstanding == 0 {
                        runs[run].ended_ms = Some(now);
                    }
                } else if let Some(run) = worker.run
                    && worker.leaves_ms == now
                {
                    // The worker dies: the broker redelivers its unit to another.
                    worker.run = None;
                    queue.push_front(run);
                }
            }
            let wants = |run: &Run| run.starts_ms <= now && run.left > 0;
            let shares: u64 = runs
                .iter()
                .filter(|run| wants(run))
                .map(|run| u64::from(run.share))
                .sum();
            for (at, run) in runs.iter_mut().enumerate() {
                let unit = Duration::from_millis(run.unit_ms);
                while wants(run) && run.outstanding < window(there, unit, run.share, shares) {
                    run.left -= 1;
                    run.outstanding += 1;
                    queue.push_back(at);
                }
            }
            for worker in workers.iter_mut() {
                if worker.run.is_some() || worker.leaves_ms <= now {
                    continue;
                }
                let Some(at) = queue.pop_front() else {
                    idle_ms += u64::from(runs.iter().any(&wants));
                    continue;
                };
                let run = &mut runs[at];
                let took = (run.unit_ms as f64 / worker.speed).ceil().max(1.0);
                run.first_begun_ms.get_or_insert(now);
                run.worked_ms += run.unit_ms as f64;
                worker.run = Some(at);
                worker.until_ms = now + took as u64;
            }
        }
        idle_ms
    }

    fn run(share: u32, starts_ms: u64, unit_ms: u64, left: u64) -> Run {
        Run {
            share,
            starts_ms,
            unit_ms,
            left,
            outstanding: 0,
            first_begun_ms: None,
            worked_ms: 0.0,
            ended_ms: None,
        }
    }

    fn worker(speed: f64, leaves_ms: u64) -> Worker {
        Worker {
            speed,
            until_ms: 0,
            run: None,
            leaves_ms,
        }
    }

    #[test]
    fn equal_runs_end_together_and_a_small_one_is_served_at_once() {
        let mut runs = [
            run(1, 0, 100, 200),
            run(1, 0, 100, 200),
            run(1, 3000, 100, 1),
        ];
        let mut workers = [worker(1.0, u64::MAX), worker(1.0, u64::MAX)];
        assert_eq!(simulate(&mut runs, &mut workers, 30_000), 0);
        let ended = |at: usize| runs[at].ended_ms.unwrap_or(u64::MAX) as f64;
        assert!(
            (ended(0) / ended(1) - 1.0).abs() < 0.1,
            "{} {}",
            ended(0),
            ended(1)
        );
        // One unit of 100 ms for each of three runs.
        let waited = runs[2].first_begun_ms.map(|begun| begun - 3000);
        assert!(waited.is_some_and(|waited| waited <= 300), "{waited:?}");
    }

    #[test]
    fn a_share_is_a_weight() {
        let mut runs = [run(3, 0, 100, 100_000), run(1, 0, 100, 100_000)];
        let mut workers: Vec<_> = (0..8).map(|_| worker(1.0, u64::MAX)).collect();
        simulate(&mut runs, &mut workers, 20_000);
        let ratio = runs[0].worked_ms / runs[1].worked_ms;
        assert!((2.4..4.2).contains(&ratio), "{ratio}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn no_run_starves_and_no_worker_idles(
            shares in prop::collection::vec((1_u32..5, 0_u64..3000, 20_u64..200), 1..6),
            speeds in prop::collection::vec((0.3_f64..3.0, prop::bool::ANY), 1..8),
        ) {
            let mut runs: Vec<_> = shares
                .iter()
                .map(|&(share, starts, unit)| run(share, starts, unit, 1_000_000))
                .collect();
            // Some workers die during the run, but never the first.
            let mut workers: Vec<_> = speeds
                .iter()
                .enumerate()
                .map(|(at, &(speed, dies))| {
                    worker(speed, if dies && at > 0 { 2000 * at as u64 } else { u64::MAX })
                })
                .collect();
            let idle_ms = simulate(&mut runs, &mut workers, 20_000);
            prop_assert_eq!(idle_ms, 0);
            // Even the slowest worker alone begins a unit of each run in turn.
            for run in &runs {
                prop_assert!(run.first_begun_ms.is_some());
                let waited = run.first_begun_ms.unwrap_or(u64::MAX) - run.starts_ms;
                prop_assert!(waited < 12_000, "{}", waited);
            }
        }
    }
}
