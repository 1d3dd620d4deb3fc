//! The summary in words, computed from the figures.

use serde::Serialize;

use super::{
    plot::number,
    series::{Configuration, count, distinct},
    study::{Knee, Over, Scaling, Study},
    usl,
};
use crate::record::Figures;

/// From this share on something counts as near its limit.
const NEAR: f64 = 0.85;
/// From this share of its cores on the whole machine counts as full: the rest is the system's.
const FULL: f64 = 0.9;
/// From this spread on, per mean, the nodes did different shares of the jobs.
const UNEVEN: f64 = 0.25;
/// Below this share of the best throughput, workers beyond the cores cost something.
const LOSS: f64 = 0.95;

/// What may hold a configuration back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Cause {
    /// The consumers use all the CPU time that they may.
    Cpu,
    /// Consumers, producer and broker together use all of the machine's.
    Machine,
    /// The broker is near one core.
    Broker,
    /// The producer is near one core.
    Producer,
    /// More workers than cores, which costs throughput.
    Crowding,
    /// Some nodes or workers wait while others work.
    Imbalance,
    /// None of these.
    Unknown,
}

/// What was measured of one cause.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Statement {
    /// Which.
    pub cause: Cause,
    /// Whether the figure is where it would hold the configuration back.
    pub holds: bool,
    /// How near to its limit it is, 1 at the limit; none if it was not measured.
    pub share: Option<f64>,
    /// In words, with the figure.
    pub text: String,
}

/// What holds one configuration back.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Bounds {
    /// Nodes.
    pub nodes: u32,
    /// Workers of each.
    pub workers: u32,
    /// The most likely cause.
    pub cause: Cause,
    /// In words, with the figures that speak for it.
    pub verdict: String,
    /// Of each cause.
    pub statements: Vec<Statement>,
}

/// All sentences of the summary.
#[must_use]
pub(crate) fn summary(study: &Study, bounds: &[Bounds]) -> Vec<String> {
    let mut words = vec![best(study), speed_up(study), efficiency(study)];
    words.extend(beyond_machine(study));
    words.extend(more_workers(study));
    words.extend(study.over_nodes().map(|scaling| knee(study, scaling)));
    words.push(law(study));
    words.extend(dispatch(study.largest()));
    words.extend(bounds.iter().map(|one| one.verdict.clone()));
    words.push(failures(study));
    words
}

fn best(study: &Study) -> String {
    let best = study.best();
    let rate = best.throughput;
    format!(
        "The best configuration is {}: {} primes/s (median of {}, {} to {}), {:.0} % of its ceiling of {} primes/s.",
        best.name(),
        number(rate.median),
        best.runs.len(),
        number(rate.least),
        number(rate.most),
        study.ceiling.efficiency_pct(best).median,
        number(study.ceiling.of(best)),
    )
}

fn speed_up(study: &Study) -> String {
    let (best, smallest) = (study.best(), study.smallest());
    if (best.nodes, best.workers) == (smallest.nodes, smallest.workers) {
        return format!(
            "It is also the smallest configuration that was measured, {}.",
            smallest.name()
        );
    }
    let cores = |one: &Configuration| study.ceiling.cores(one.nodes, one.workers);
    format!(
        "It is {} times as fast as the smallest, {} ({} primes/s), with {} times its workers and {} times the cores it may use.",
        number(best.throughput.median / smallest.throughput.median),
        smallest.name(),
        number(smallest.throughput.median),
        number(f64::from(best.total_workers()) / f64::from(smallest.total_workers())),
        number(cores(best) / cores(smallest)),
    )
}

fn efficiency(study: &Study) -> String {
    let parts: Vec<String> = distinct(study.configurations.iter().map(|one| one.nodes))
        .into_iter()
        .filter_map(|nodes| {
            let fastest = study
                .members(Over::Workers { nodes })
                .into_iter()
                .map(|member| member.1)
                .max_by(|a, b| a.throughput.median.total_cmp(&b.throughput.median))?;
            Some(format!(
                "{} {:.0} % (with {} each)",
                count(nodes, "node"),
                study.ceiling.efficiency_pct(fastest).median,
                count(fastest.workers, "worker"),
            ))
        })
        .collect();
    format!(
        "Efficiency of each cluster size where it is fastest: {}.",
        parts.join(", ")
    )
}

/// Which number of workers is best and what others reach, in the smallest and the largest cluster that were measured with several.
fn more_workers(study: &Study) -> Vec<String> {
    let sizes = distinct(study.configurations.iter().map(|one| one.nodes));
    let mut several = sizes.into_iter().filter_map(|nodes| {
        let members = study.members(Over::Workers { nodes });
        let configurations: Vec<&Configuration> = members.iter().map(|member| member.1).collect();
        (configurations.len() > 1).then_some(configurations)
    });
    let first = several.next();
    let sentence = |of: Vec<&Configuration>| {
        let rate = |one: &Configuration| one.throughput.median;
        let peak = of.iter().max_by(|a, b| rate(a).total_cmp(&rate(b)))?;
        let others: Vec<String> = of
            .iter()
            .filter(|one| one.workers != peak.workers)
            .map(|one| {
                let reached = 100.0 * rate(one) / rate(peak);
                format!("{} {reached:.1} %", count(one.workers, "worker"))
            })
            .collect();
        let (nodes, cores) = (peak.nodes, study.ceiling.cores(peak.nodes, u32::MAX));
        Some(format!(
            "On {} that may use {} {} the peak is at {} each; others reach of its throughput: {}.",
            count(nodes, "node"),
            number(cores),
            if cores == 1.0 { "core" } else { "cores" },
            count(peak.workers, "worker"),
            others.join(", "),
        ))
    };
    let all = first.into_iter().chain(several.next_back());
    all.filter_map(sentence).collect()
}

/// Shares that are larger than the machine, taken together.
fn beyond_machine(study: &Study) -> Option<String> {
    study.ceiling.cpus_per_node?;
    let machine = study.ceiling.machine_cores;
    let allowed = |one: &Configuration| {
        let (nodes, workers) = (f64::from(one.nodes), f64::from(one.workers));
        study.ceiling.allowed_cores(nodes, workers)
    };
    let beyond = study
        .configurations
        .iter()
        .filter(|one| allowed(one) > machine)
        .min_by_key(|one| (one.nodes, one.workers))?;
    Some(format!(
        "From {} on the nodes may use more cores together ({}) than the machine has ({machine}): their ceiling is that of the machine.",
        beyond.name(),
        number(allowed(beyond)),
    ))
}

fn knee(study: &Study, scaling: &Scaling) -> String {
    let fixed = scaling.over.fixed();
    match (scaling.knee, &*scaling.sizes) {
        (_, [] | [_]) => {
            format!("Knee with {fixed}: unknown, as one cluster size was measured only.")
        }
        (None, [.., last]) => format!(
            "Knee with {fixed}: none up to {}; each further node adds at least 80 % of what one node does at the smallest size.",
            count(*last, "node")
        ),
        (Some(knee), _) => knee_at(study, scaling, &fixed, &knee),
    }
}

fn knee_at(study: &Study, scaling: &Scaling, fixed: &str, knee: &Knee) -> String {
    let Over::Nodes { workers } = scaling.over else {
        return String::new();
    };
    let asked = f64::from(knee.next) * f64::from(workers);
    let cores = study.ceiling.machine_cores;
    let crowded = if asked > cores {
        format!(
            " {} have {} workers, the machine {} cores.",
            count(knee.next, "node"),
            asked,
            cores
        )
    } else {
        String::new()
    };
    format!(
        "Knee with {fixed}: at {}; from there to {} each further node {} {} primes/s, {:.0} % of the {} of one node at the smallest size.{crowded}",
        count(knee.at, "node"),
        count(knee.next, "node"),
        if knee.adds < 0.0 { "costs" } else { "adds" },
        number(knee.adds.abs()),
        100.0 * knee.adds / knee.ideal,
        number(knee.ideal),
    )
}

fn law(study: &Study) -> String {
    let main = study.main_scaling();
    let Some(fit) = &main.fit else {
        return format!(
            "No fit of the Universal Scalability Law with {}: it has three parameters and needs {} cluster sizes, {} measured.",
            main.over.fixed(),
            usl::FEWEST,
            if main.sizes.len() == 1 {
                "1 was".to_owned()
            } else {
                format!("{} were", main.sizes.len())
            },
        );
    };
    let measured = main.sizes.last().copied().map_or(0.0, f64::from);
    let peak = match fit.peak {
        None => "no peak: within what was measured nothing grows with the square of the nodes"
            .to_owned(),
        Some(peak) if peak > 2.0 * measured => format!(
            "predicted peak at N* = {} nodes, far beyond the {measured} that were measured",
            number(peak)
        ),
        Some(peak) => format!(
            "predicted peak at N* = {} nodes with {} primes/s",
            number(peak),
            number(fit.at(peak))
        ),
    };
    let exact = if fit.is_exact() {
        " With as many sizes as parameters R² says little."
    } else {
        ""
    };
    format!(
        "Universal Scalability Law over nodes with {}: λ = {} primes/s per node, contention σ = {}, coherence κ = {}, R² = {:.4}; {peak}.{exact}",
        main.over.fixed(),
        number(fit.lambda),
        number(fit.sigma),
        number(fit.kappa),
        fit.r_squared,
    )
}

fn failures(study: &Study) -> String {
    let failed = study.failures().len();
    let ended: usize = study.configurations.iter().map(|one| one.runs.len()).sum();
    let jobs: u64 = study
        .configurations
        .iter()
        .flat_map(|one| &one.runs)
        .map(|run| run.jobs)
        .sum();
    let errors = study
        .configurations
        .iter()
        .map(|one| one.interval(|run| run.error_rate).most)
        .fold(0.0, f64::max);
    let errors = if errors > 0.0 {
        format!("the largest error rate is {} %", number(100.0 * errors))
    } else {
        "no job failed in them".to_owned()
    };
    let failed = match failed {
        0 => "no measurement failed".to_owned(),
        1 => "1 failed and is left out".to_owned(),
        failed => format!("{failed} failed and are left out"),
    };
    format!("{ended} measurements of {jobs} jobs count; {failed}; {errors}.")
}

/// How evenly the broker hands the jobs out, where most nodes take them.
fn dispatch(configuration: &Configuration) -> Option<String> {
    let run = configuration.median_run();
    if configuration.nodes < 2 {
        return None;
    }
    // A node that did nothing has not been heard of.
    let mut jobs: Vec<u64> = run.jobs_by_node.iter().map(|node| node.1).collect();
    jobs.resize(jobs.len().max(configuration.nodes as usize), 0);
    jobs.sort_unstable();
    let idle = jobs.iter().filter(|jobs| **jobs == 0).count();
    let mean = jobs.iter().sum::<u64>() as f64 / jobs.len() as f64;
    let squares: f64 = jobs.iter().map(|jobs| (*jobs as f64 - mean).powi(2)).sum();
    let deviation = (squares / jobs.len() as f64).sqrt() / mean.max(f64::MIN_POSITIVE);
    Some(format!(
        "Dispatch with {}: {} to {} jobs a node, median {}, standard deviation {:.1} % of the mean; {}.",
        configuration.name(),
        jobs[0],
        jobs[jobs.len() - 1],
        jobs[jobs.len() / 2],
        100.0 * deviation,
        match idle {
            0 => "no node went without".to_owned(),
            idle => format!("{idle} nodes went without"),
        }
    ))
}

/// What holds the best configuration back, and the largest if that is another.
#[must_use]
pub(crate) fn bounds(study: &Study) -> Vec<Bounds> {
    let (best, largest) = (study.best(), study.largest());
    let mut bounds = vec![bound(study, best)];
    if (largest.nodes, largest.workers) != (best.nodes, best.workers) {
        bounds.push(bound(study, largest));
    }
    bounds
}

fn bound(study: &Study, configuration: &Configuration) -> Bounds {
    let run = configuration.median_run();
    let statements = vec![
        cpu(study, configuration, run),
        machine(study, run),
        one_core(Cause::Broker, "broker", run.broker_cpu_s, run),
        one_core(Cause::Producer, "producer", Some(run.producer_cpu_s), run),
        crowding(study, configuration),
        imbalance(run),
    ];
    // What explains the others comes first: full cores slow broker and producer too, and whoever waits for them is idle.
    let order = [
        Cause::Crowding,
        Cause::Cpu,
        Cause::Machine,
        Cause::Broker,
        Cause::Producer,
        Cause::Imbalance,
    ];
    let found = order.iter().find_map(|cause| {
        statements
            .iter()
            .find(|one| one.cause == *cause && one.holds)
    });
    let name = configuration.name();
    let (cause, verdict) = match found {
        Some(found) => (
            found.cause,
            format!(
                "What most likely bounds {name}: {}. {}{}",
                found.cause.name(),
                found.text,
                against(&statements, found.cause)
            ),
        ),
        None => (Cause::Unknown, unknown(&name, &statements)),
    };
    Bounds {
        nodes: configuration.nodes,
        workers: configuration.workers,
        cause,
        verdict,
        statements,
    }
}

impl Cause {
    /// For people.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cpu => "the CPU time of the consumers",
            Self::Machine => "the machine's CPU time",
            Self::Broker => "the broker",
            Self::Producer => "the producer",
            Self::Crowding => "crowding, more workers than cores",
            Self::Imbalance => "imbalance, nodes that wait at the tail",
            Self::Unknown => "unknown",
        }
    }
}

/// Broker and producer where they are not the cause.
fn against(statements: &[Statement], cause: Cause) -> String {
    let used = |holds: bool| -> Vec<String> {
        statements
            .iter()
            .filter(|one| one.cause != cause && one.holds == holds)
            .filter_map(|one| match one.cause {
                Cause::Broker => Some(format!("the broker used {:.2} cores", one.share?)),
                Cause::Producer => Some(format!("the producer used {:.2} cores", one.share?)),
                _ => None,
            })
            .collect()
    };
    let mut text = String::new();
    for (lead, parts) in [
        ("Also near the limit of one core", used(true)),
        ("Against the others", used(false)),
    ] {
        if !parts.is_empty() {
            text.push_str(&format!(" {lead}: {}.", parts.join(", ")));
        }
    }
    text
}

fn unknown(name: &str, statements: &[Statement]) -> String {
    let nearest = statements
        .iter()
        .filter(|one| !matches!(one.cause, Cause::Crowding | Cause::Imbalance))
        .filter(|one| one.share.is_some())
        .max_by(|a, b| a.share.unwrap_or(0.0).total_cmp(&b.share.unwrap_or(0.0)));
    let nearest = nearest.map_or("", |one| &one.text);
    format!(
        "Nothing that was measured bounds {name}: neither CPU nor broker nor producer is near its limit, so its workers wait for messages \
         (prefetch, network) or start and end of the run weigh much. The nearest to its limit: {nearest}"
    )
}

fn cpu(study: &Study, configuration: &Configuration, run: &Figures) -> Statement {
    let busy = study.ceiling.busy_pct(configuration, run);
    let cores = study
        .ceiling
        .cores(configuration.nodes, configuration.workers);
    let mut text = format!(
        "The consumers used {busy:.0} % of the {} cores that their workers can use ({:.0} % of all that the nodes may use)",
        number(cores),
        run.cpu_pct
    );
    if study.ceiling.is_baseline && run.consumer_cpu_s > 0.0 {
        let yields = run.jobs as f64 / run.consumer_cpu_s;
        text.push_str(&format!(
            ", and a CPU second gave {} primes, {:.0} % of the bare loop's",
            number(yields),
            100.0 * yields / study.ceiling.per_core_beside(configuration.nodes)
        ));
    }
    text.push('.');
    Statement {
        cause: Cause::Cpu,
        holds: busy >= 100.0 * NEAR,
        share: Some(busy / 100.0),
        text,
    }
}

fn machine(study: &Study, run: &Figures) -> Statement {
    let elsewhere = study.settings.launcher.is_elsewhere();
    let consumers = if elsewhere { 0.0 } else { run.consumer_cpu_s };
    let used = (consumers + run.producer_cpu_s + run.broker_cpu_s.unwrap_or(0.0)) / run.elapsed_s;
    let cores = f64::from(study.settings.machine.cores.max(1));
    let who = match (elsewhere, run.broker_cpu_s.is_some()) {
        (false, true) => "Consumers, producer and broker",
        (false, false) => "Consumers and producer",
        (true, true) => "Producer and broker",
        (true, false) => "The producer",
    };
    Statement {
        cause: Cause::Machine,
        holds: used >= FULL * cores,
        share: Some(used / cores),
        text: format!(
            "{who} used {used:.2} of the machine's {cores} cores ({:.0} %).",
            100.0 * used / cores
        ),
    }
}

fn one_core(cause: Cause, who: &str, cpu_s: Option<f64>, run: &Figures) -> Statement {
    let share = cpu_s.map(|cpu_s| cpu_s / run.elapsed_s);
    Statement {
        cause,
        holds: share.is_some_and(|share| share >= NEAR),
        share,
        text: match share {
            Some(share) => format!(
                "The {who} used {share:.2} cores; a queue or a connection is served by one."
            ),
            None => format!(
                "The {who}'s CPU time was not measured, as it does not run on this machine."
            ),
        },
    }
}

fn crowding(study: &Study, configuration: &Configuration) -> Statement {
    let workers = f64::from(configuration.total_workers());
    let cores = study
        .ceiling
        .cores(configuration.nodes, configuration.workers)
        .min(study.ceiling.machine_cores);
    let best = study.best();
    let share = configuration.throughput.median / best.throughput.median;
    let loses = share < LOSS && configuration.total_workers() > best.total_workers();
    Statement {
        cause: Cause::Crowding,
        holds: workers > cores && loses,
        share: Some(workers / cores),
        text: format!(
            "{workers} workers share {} cores, {:.1} to a core, and reach {:.0} % of the throughput of the best configuration ({}).",
            number(cores),
            workers / cores,
            100.0 * share,
            best.name()
        ),
    }
}

fn imbalance(run: &Figures) -> Statement {
    let jobs = || run.jobs_by_node.iter().map(|node| node.1);
    let (least, most) = (jobs().min().unwrap_or(0), jobs().max().unwrap_or(0));
    let mean = jobs().sum::<u64>() as f64 / run.jobs_by_node.len().max(1) as f64;
    let spread = if mean > 0.0 {
        (most - least) as f64 / mean
    } else {
        0.0
    };
    // Workers that wait while the CPU has time left.
    let idle = run.node_efficiency < NEAR && 100.0 * run.node_efficiency < run.cpu_pct;
    Statement {
        cause: Cause::Imbalance,
        holds: spread > UNEVEN || idle,
        share: Some(spread),
        text: format!(
            "The nodes did {least} to {most} jobs each, a spread of {:.0} % of their mean; the workers were busy {:.0} % of their time.",
            100.0 * spread,
            100.0 * run.node_efficiency
        ),
    }
}
