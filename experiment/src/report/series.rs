//! Records by configuration: medians with what they range over, and the ceiling that they are held against.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde::Serialize;

use crate::{
    interval::Interval,
    record::{Baseline, Figures, Record, Settings},
};

/// All measurements of one pair of nodes and workers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Configuration {
    /// Nodes.
    pub nodes: u32,
    /// Workers of each node.
    pub workers: u32,
    /// The measurements, slowest first; at least one.
    pub runs: Vec<Figures>,
    /// Primes per second.
    pub throughput: Interval,
}

impl Configuration {
    /// The measurements by pair, in the order of nodes, then workers. Of two records of the same measurement the later counts.
    #[must_use]
    pub(crate) fn all(records: &[Record]) -> Vec<Self> {
        let mut pairs: Vec<(u32, u32)> = records
            .iter()
            .map(|record| (record.nodes, record.workers))
            .collect();
        pairs.sort_unstable();
        pairs.dedup();
        pairs
            .into_iter()
            .filter_map(|(nodes, workers)| {
                let mut runs: Vec<Figures> = latest(records)
                    .into_iter()
                    .filter(|record| (record.nodes, record.workers) == (nodes, workers))
                    .filter_map(Record::figures)
                    .cloned()
                    .collect();
                runs.sort_by(|a, b| a.primes_per_s.total_cmp(&b.primes_per_s));
                let throughput = Interval::of(runs.iter().map(|run| run.primes_per_s))?;
                Some(Self {
                    nodes,
                    workers,
                    runs,
                    throughput,
                })
            })
            .collect()
    }

    /// Workers of all nodes.
    #[must_use]
    pub(crate) fn total_workers(&self) -> u32 {
        self.nodes.saturating_mul(self.workers)
    }

    /// The measurement with the median throughput; of an even number the slower of the two in the middle.
    #[must_use]
    pub(crate) fn median_run(&self) -> &Figures {
        &self.runs[(self.runs.len() - 1) / 2]
    }

    /// A figure over the measurements.
    #[must_use]
    pub(crate) fn interval(&self, figure: impl Fn(&Figures) -> f64) -> Interval {
        Interval::of(self.runs.iter().map(figure)).unwrap_or(Interval {
            median: 0.0,
            least: 0.0,
            most: 0.0,
        })
    }

    /// For people: `4 nodes × 2 workers`.
    #[must_use]
    pub(crate) fn name(&self) -> String {
        format!(
            "{} × {}",
            count(self.nodes, "node"),
            count(self.workers, "worker")
        )
    }

    /// The folder of its pictures.
    #[must_use]
    pub(crate) fn folder(&self) -> String {
        format!("runs/nodes_{}_workers_{}", self.nodes, self.workers)
    }
}

/// `1 node`, `2 nodes`.
#[must_use]
pub(crate) fn count(number: u32, of: &str) -> String {
    format!("{number} {of}{}", if number == 1 { "" } else { "s" })
}

/// The last record of each measurement, in the order in which they were taken.
#[must_use]
pub(crate) fn latest(records: &[Record]) -> Vec<&Record> {
    records
        .iter()
        .enumerate()
        .filter(|(index, record)| {
            !records[index + 1..]
                .iter()
                .any(|later| later.key() == record.key())
        })
        .map(|(_, record)| record)
        .collect()
}

/// The distinct values, ascending.
pub(crate) fn distinct(values: impl IntoIterator<Item = u32>) -> Vec<u32> {
    let mut values: Vec<u32> = values.into_iter().collect();
    values.sort_unstable();
    values.dedup();
    values
}

/// What the cores that a configuration may use could do at most.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Ceiling {
    /// Primes per second of one core.
    pub per_core: f64,
    /// The same where so many nodes are busy at once, as far as that was measured.
    pub per_core_together: BTreeMap<u32, f64>,
    /// Where that comes from, for people.
    pub source: String,
    /// Whether it was measured without the pool.
    pub is_baseline: bool,
    /// Cores that one node may use, if they are limited or those of a machine of its own.
    pub cpus_per_node: Option<f64>,
    /// Cores of the machine that all nodes share; no limit if each has its own.
    pub machine_cores: f64,
}

impl Ceiling {
    /// From the baseline, or from the smallest configuration if there is none of the same primes.
    ///
    /// # Errors
    /// The baseline holds no usable rate, or there are no configurations.
    pub(crate) fn new(
        settings: &Settings,
        baseline: Option<&Baseline>,
        configurations: &[Configuration],
    ) -> Result<Self> {
        // Nodes with machines of their own have the cores of the first; as many as they have workers, if that is not known.
        let own_machine = || {
            let cores = || baseline.map_or(f64::INFINITY, |baseline| baseline.cores);
            settings.launcher.is_elsewhere().then(cores)
        };
        let mut ceiling = Self {
            per_core: 0.0,
            per_core_together: BTreeMap::new(),
            source: String::new(),
            is_baseline: false,
            cpus_per_node: settings.cpus_per_node.or_else(own_machine),
            machine_cores: match settings.launcher.is_elsewhere() {
                true => f64::INFINITY,
                false => f64::from(settings.machine.cores.max(1)),
            },
        };
        match baseline {
            Some(baseline) if baseline.bits == settings.bits => {
                let usable = !baseline.primes_per_s.is_empty() && baseline.cores > 0.0;
                if !usable || baseline.per_core().is_nan() || baseline.per_core() <= 0.0 {
                    bail!(
                        "{} holds no rate: run `experiment baseline` again, or remove the file",
                        Baseline::FILE
                    );
                }
                ceiling.per_core = baseline.per_core();
                ceiling.per_core_together = baseline.per_core_together();
                ceiling.is_baseline = true;
                ceiling.source = format!(
                    "the same jobs in a bare loop without the pool: {:.2} primes/s per core, median of {} on {} cores",
                    ceiling.per_core,
                    baseline.primes_per_s.len(),
                    baseline.cores
                );
            }
            other => {
                let Some(smallest) = smallest(configurations) else {
                    bail!("there is no configuration to take the ceiling from");
                };
                ceiling.per_core =
                    smallest.throughput.median / ceiling.cores(smallest.nodes, smallest.workers);
                let why = match other {
                    Some(baseline) => format!(
                        "the baseline is of {} bits, the experiment of {}",
                        baseline.bits, settings.bits
                    ),
                    None => format!("there is no {}", Baseline::FILE),
                };
                ceiling.source = format!(
                    "the throughput of the smallest configuration ({}) scaled by cores: {:.2} primes/s per core, as {why}",
                    smallest.name(),
                    ceiling.per_core
                );
            }
        }
        Ok(ceiling)
    }

    /// Cores that so many nodes with so many workers each may really use.
    #[must_use]
    pub(crate) fn cores(&self, nodes: u32, workers: u32) -> f64 {
        self.cores_at(f64::from(nodes), f64::from(workers))
    }

    /// The same for numbers between those that exist, for lines.
    #[must_use]
    pub(crate) fn cores_at(&self, nodes: f64, workers: f64) -> f64 {
        self.allowed_cores(nodes, workers).min(self.machine_cores)
    }

    /// Cores that the workers could use if the machine had as many.
    #[must_use]
    pub(crate) fn allowed_cores(&self, nodes: f64, workers: f64) -> f64 {
        let each = self.cpus_per_node.unwrap_or(f64::INFINITY);
        nodes * each.min(workers)
    }

    /// Primes per second of one core while so many nodes are busy.
    #[must_use]
    pub(crate) fn per_core_beside(&self, nodes: u32) -> f64 {
        let measured = self.per_core_together.get(&nodes);
        measured.copied().unwrap_or(self.per_core)
    }

    /// Primes per second of a configuration that loses nothing.
    #[must_use]
    pub(crate) fn of(&self, configuration: &Configuration) -> f64 {
        self.per_core_beside(configuration.nodes)
            * self.cores(configuration.nodes, configuration.workers)
    }

    /// Throughput in per cent of the ceiling.
    #[must_use]
    pub(crate) fn efficiency_pct(&self, configuration: &Configuration) -> Interval {
        configuration
            .throughput
            .scaled(100.0 / self.of(configuration))
    }

    /// CPU time of the consumers in a run, per cent of the cores that the configuration may really use.
    #[must_use]
    pub(crate) fn busy_pct(&self, configuration: &Configuration, run: &Figures) -> f64 {
        let cores = self.cores(configuration.nodes, configuration.workers);
        100.0 * run.consumer_cpu_s / (run.elapsed_s * cores)
    }
}

/// The configuration with the fewest workers, and of these with the fewest nodes.
#[must_use]
pub(crate) fn smallest(configurations: &[Configuration]) -> Option<&Configuration> {
    configurations
        .iter()
        .min_by_key(|one| (one.total_workers(), one.nodes))
}

/// The configuration with the largest median throughput.
#[must_use]
pub(crate) fn best(configurations: &[Configuration]) -> Option<&Configuration> {
    configurations
        .iter()
        .max_by(|a, b| a.throughput.median.total_cmp(&b.throughput.median))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn medians_and_what_they_range_over() {
        let odd = Interval::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!((odd.median, odd.least, odd.most), (2.0, 1.0, 3.0));
        let even = Interval::of([4.0, 1.0, 2.0, 3.0]).unwrap();
        assert_eq!((even.median, even.least, even.most), (2.5, 1.0, 4.0));
        let finite = Interval::of([f64::NAN, 5.0]).unwrap();
        assert_eq!(finite.median, 5.0);
        assert_eq!(Interval::of([]), None);
    }

    #[test]
    fn cores_that_may_really_be_used() {
        let mut ceiling = Ceiling {
            per_core: 10.0,
            per_core_together: BTreeMap::new(),
            source: String::new(),
            is_baseline: true,
            cpus_per_node: Some(2.0),
            machine_cores: 8.0,
        };
        assert_eq!(ceiling.cores(3, 1), 3.0);
        assert_eq!(ceiling.cores(3, 4), 6.0);
        assert_eq!(ceiling.cores(9, 4), 8.0);
        ceiling.cpus_per_node = None;
        assert_eq!(ceiling.cores(3, 2), 6.0);
        assert_eq!(ceiling.cores(3, 4), 8.0);
    }
}
