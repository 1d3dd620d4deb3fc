//! An experiment as the report sees it: its configurations, their ceiling, and how they scale.

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::{
    series::{self, Ceiling, Configuration, distinct, latest},
    source::{Recorded, Source},
    usl::{self, Fit},
};
use crate::record::{Baseline, Outcome, Record, Settings};

/// A node must add this share of what one node does, or the knee is reached.
const KNEE: f64 = 0.8;

/// What a folder holds, sorted.
#[derive(Debug, Clone)]
pub(crate) struct Study {
    /// What was asked for.
    pub settings: Settings,
    /// All records in their order.
    pub records: Vec<Record>,
    /// By nodes, then workers; at least one.
    pub configurations: Vec<Configuration>,
    /// What they are held against.
    pub ceiling: Ceiling,
    /// One for each number of workers per node, then one for each number of nodes.
    pub scalings: Vec<Scaling>,
}

/// What grows while the other is held fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Over {
    /// Nodes, with so many workers each.
    Nodes {
        /// Workers of each node.
        workers: u32,
    },
    /// The workers of so many nodes.
    Workers {
        /// Nodes.
        nodes: u32,
    },
}

/// How throughput grows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Scaling {
    /// With what.
    #[serde(flatten)]
    pub over: Over,
    /// Different sizes that were measured.
    pub sizes: Vec<u32>,
    /// The law through all measurements; none with fewer than [`usl::FEWEST`] sizes.
    pub fit: Option<Fit>,
    /// Where one more adds too little; none if that is not reached or there is one size only.
    pub knee: Option<Knee>,
}

/// The first size after which one more adds less than 80 % of what one does at the smallest size.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Knee {
    /// That size.
    pub at: u32,
    /// The size measured next.
    pub next: u32,
    /// Primes per second that one more adds between the two.
    pub adds: f64,
    /// Primes per second of one at the smallest size.
    pub ideal: f64,
}

impl Over {
    /// Size of a configuration; none if it does not belong here.
    #[must_use]
    pub(crate) fn size(self, configuration: &Configuration) -> Option<u32> {
        match self {
            Self::Nodes { workers } => {
                (configuration.workers == workers).then_some(configuration.nodes)
            }
            Self::Workers { nodes } => {
                (configuration.nodes == nodes).then(|| configuration.total_workers())
            }
        }
    }

    /// What is held fixed, for people.
    #[must_use]
    pub(crate) fn fixed(self) -> String {
        match self {
            Self::Nodes { workers } => format!("{} per node", series::count(workers, "worker")),
            Self::Workers { nodes } => series::count(nodes, "node"),
        }
    }

    /// What grows, for people.
    #[must_use]
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Nodes { .. } => "node",
            Self::Workers { .. } => "worker",
        }
    }
}

impl Scaling {
    fn new(over: Over, configurations: &[Configuration]) -> Self {
        let members = members(over, configurations);
        let points: Vec<(f64, f64)> = members
            .iter()
            .flat_map(|(size, one)| {
                one.runs
                    .iter()
                    .map(|run| (f64::from(*size), run.primes_per_s))
            })
            .collect();
        Self {
            over,
            sizes: members.iter().map(|member| member.0).collect(),
            fit: usl::fit(&points),
            knee: knee(&members),
        }
    }
}

fn members(over: Over, configurations: &[Configuration]) -> Vec<(u32, &Configuration)> {
    configurations
        .iter()
        .filter_map(|one| Some((over.size(one)?, one)))
        .collect()
}

fn knee(members: &[(u32, &Configuration)]) -> Option<Knee> {
    let (size, first) = members.first()?;
    let ideal = first.throughput.median / f64::from(*size);
    members.windows(2).find_map(|pair| {
        let [(at, before), (next, after)] = pair else {
            return None;
        };
        let adds = (after.throughput.median - before.throughput.median) / f64::from(next - at);
        (adds < KNEE * ideal).then_some(Knee {
            at: *at,
            next: *next,
            adds,
            ideal,
        })
    })
}

impl Study {
    /// Reads an experiment.
    ///
    /// # Errors
    /// It has no settings or no measurement that succeeded, or cannot be read.
    pub(crate) fn read(source: &Source) -> Result<Self> {
        let Recorded {
            settings,
            records,
            baseline,
        } = source.recorded()?;
        Self::new(settings, records, baseline.as_ref()).with_context(|| source.describe())
    }

    /// From what was recorded.
    ///
    /// # Errors
    /// No measurement succeeded, or the baseline holds no rate.
    pub(crate) fn new(
        settings: Settings,
        records: Vec<Record>,
        baseline: Option<&Baseline>,
    ) -> Result<Self> {
        let configurations = Configuration::all(&records);
        if configurations.is_empty() {
            let reason = records
                .iter()
                .rev()
                .find_map(failure)
                .unwrap_or("no reason is given");
            bail!(
                "no measurement succeeded: mend what failed and run `experiment run` again; the last reason: {reason}"
            );
        }
        let ceiling = Ceiling::new(&settings, baseline, &configurations)?;
        let over_nodes = distinct(configurations.iter().map(|one| one.workers))
            .into_iter()
            .map(|workers| Over::Nodes { workers });
        let over_workers = distinct(configurations.iter().map(|one| one.nodes))
            .into_iter()
            .map(|nodes| Over::Workers { nodes });
        let scalings = over_nodes
            .chain(over_workers)
            .map(|over| Scaling::new(over, &configurations))
            .collect();
        Ok(Self {
            settings,
            records,
            configurations,
            ceiling,
            scalings,
        })
    }

    /// The configurations that belong to a scaling, smallest first.
    #[must_use]
    pub(crate) fn members(&self, over: Over) -> Vec<(u32, &Configuration)> {
        members(over, &self.configurations)
    }

    /// The fastest configuration.
    #[must_use]
    pub(crate) fn best(&self) -> &Configuration {
        series::best(&self.configurations).unwrap_or(&self.configurations[0])
    }

    /// The configuration with the fewest workers.
    #[must_use]
    pub(crate) fn smallest(&self) -> &Configuration {
        series::smallest(&self.configurations).unwrap_or(&self.configurations[0])
    }

    /// The configuration with the most workers.
    #[must_use]
    pub(crate) fn largest(&self) -> &Configuration {
        self.configurations
            .iter()
            .max_by_key(|one| (one.total_workers(), one.nodes))
            .unwrap_or(&self.configurations[0])
    }

    /// The scaling over nodes with the workers of the fastest configuration.
    #[must_use]
    pub(crate) fn main_scaling(&self) -> &Scaling {
        let over = Over::Nodes {
            workers: self.best().workers,
        };
        self.scalings
            .iter()
            .find(|one| one.over == over)
            .unwrap_or(&self.scalings[0])
    }

    /// The scalings over nodes.
    pub(crate) fn over_nodes(&self) -> impl Iterator<Item = &Scaling> {
        self.scalings
            .iter()
            .filter(|one| matches!(one.over, Over::Nodes { .. }))
    }

    /// Measurements that failed and were not repeated with success: what, and why.
    #[must_use]
    pub(crate) fn failures(&self) -> Vec<(&Record, &str)> {
        latest(&self.records)
            .into_iter()
            .filter_map(|record| Some((record, failure(record)?)))
            .collect()
    }

    /// How many measurements there are to a point: `3`, or `1 to 3`.
    #[must_use]
    pub(crate) fn repeats(&self) -> String {
        let runs = || self.configurations.iter().map(|one| one.runs.len());
        match (runs().min().unwrap_or(0), runs().max().unwrap_or(0)) {
            (least, most) if least == most => least.to_string(),
            (least, most) => format!("{least} to {most}"),
        }
    }
}

fn failure(record: &Record) -> Option<&str> {
    match &record.outcome {
        Outcome::Failed(reason) => Some(reason),
        Outcome::Measured(_) => None,
    }
}
