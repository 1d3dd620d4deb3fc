//! Which charts a report has.

use super::{
    plot::{Axis, Chart, Point, Series, Style, number},
    series::{Configuration, count},
    source::Source,
    study::{Over, Scaling, Study},
};
use crate::{interval::Interval, metrics_lp::Point as Metric};

/// Bytes of a megabyte.
pub(crate) const MEGABYTE: f64 = 1e6;
/// Points of a line at most; more are no finer on the page.
const POINTS: usize = 500;
/// Lines at most that get a colour each.
const COLOURED: usize = 8;

/// A chart and where it goes.
#[derive(Debug, Clone)]
pub(crate) struct Picture {
    /// File below the report's folder, without its ending.
    pub path: String,
    /// The chart as SVG.
    pub svg: String,
}

/// Charts of the runs, and what could not be drawn.
#[derive(Debug, Clone, Default)]
pub(crate) struct RunPictures {
    /// The charts.
    pub pictures: Vec<Picture>,
    /// What is missing, and why, for people.
    pub missing: Vec<String>,
}

/// A figure over the size of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Figure {
    Throughput,
    Cpu,
    Memory,
    Efficiency,
}

impl Figure {
    const ALL: [Self; 4] = [Self::Throughput, Self::Cpu, Self::Memory, Self::Efficiency];

    fn file(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::Cpu => "avg_cpu",
            Self::Memory => "avg_memory",
            Self::Efficiency => "efficiency",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Throughput => "Throughput",
            Self::Cpu => "CPU use",
            Self::Memory => "Memory of a node",
            Self::Efficiency => "Efficiency",
        }
    }

    fn axis(self) -> Axis {
        let (label, at_least) = match self {
            Self::Throughput => ("throughput (primes/s)", 0.0),
            Self::Cpu => ("CPU use (% of what the nodes may use)", 100.0),
            Self::Memory => ("resident memory per node (MB)", 0.0),
            Self::Efficiency => ("efficiency (% of the ceiling)", 100.0),
        };
        Axis {
            label: label.into(),
            at_least,
            ticks: Vec::new(),
        }
    }

    fn of(self, study: &Study, configuration: &Configuration) -> Interval {
        match self {
            Self::Throughput => configuration.throughput,
            Self::Cpu => configuration.interval(|run| run.cpu_pct),
            Self::Memory => configuration.interval(|run| run.rss_bytes / MEGABYTE),
            Self::Efficiency => study.ceiling.efficiency_pct(configuration),
        }
    }
}

/// The charts of each cluster size over its workers and of each number of workers over the cluster size.
#[must_use]
pub(crate) fn scaling_pictures(study: &Study) -> Vec<Picture> {
    study
        .scalings
        .iter()
        .flat_map(|scaling| Figure::ALL.map(|figure| scaling_picture(study, scaling, figure)))
        .collect()
}

fn scaling_picture(study: &Study, scaling: &Scaling, figure: Figure) -> Picture {
    let (path, fixed, x_label) = match scaling.over {
        Over::Workers { nodes } => (
            format!("cluster_size_{nodes}/{}_vs_total_workers", figure.file()),
            count(nodes, "node"),
            "workers of all nodes",
        ),
        Over::Nodes { workers } => (
            format!("config_workers_{workers}/{}_vs_cluster_size", figure.file()),
            format!("{} per node", count(workers, "worker")),
            "nodes",
        ),
    };
    let mut lines = Vec::new();
    let mut subtitle = how_to_read(study);
    if figure == Figure::Throughput {
        lines.push(ideal(study, scaling));
    }
    if matches!(figure, Figure::Throughput | Figure::Efficiency) {
        subtitle = format!("{subtitle} {}", ceiling_note(study, figure));
    }
    lines.push(measured(study, scaling, figure, "measured", 0));
    let chart = Chart {
        title: format!("{}, {fixed}", figure.title()),
        subtitle,
        x: Axis {
            label: x_label.into(),
            at_least: 0.0,
            ticks: scaling.sizes.iter().copied().map(f64::from).collect(),
        },
        y: figure.axis(),
        series: lines,
        marks: Vec::new(),
    };
    Picture {
        path,
        svg: chart.svg(),
    }
}

fn how_to_read(study: &Study) -> String {
    match &*study.repeats() {
        "1" => "One measurement each.".into(),
        repeats => format!("Medians of {repeats} measurements; bars from least to largest."),
    }
}

fn ceiling_note(study: &Study, figure: Figure) -> String {
    if study.ceiling.is_baseline {
        if figure == Figure::Throughput || study.ceiling.per_core_together.is_empty() {
            "Ideal: the bare loop's rate per core times usable cores.".into()
        } else {
            "Ideal: as many bare loops at once, on the same shares.".into()
        }
    } else {
        "Ideal: the smallest configuration's rate per core times usable cores.".into()
    }
}

fn measured(study: &Study, scaling: &Scaling, figure: Figure, name: &str, colour: usize) -> Series {
    let points = study
        .members(scaling.over)
        .into_iter()
        .map(|(size, configuration)| {
            let value = figure.of(study, configuration);
            Point {
                x: f64::from(size),
                y: value.median,
                range: (configuration.runs.len() > 1).then_some((value.least, value.most)),
            }
        });
    Series {
        name: name.into(),
        style: Style::Measured,
        colour,
        points: points.collect(),
    }
}

/// The ceiling from nothing to the largest size.
fn ideal(study: &Study, scaling: &Scaling) -> Series {
    let end = scaling.sizes.last().copied().map_or(1.0, f64::from);
    let rate = |size: f64| {
        let cores = match scaling.over {
            Over::Nodes { workers } => study.ceiling.cores_at(size, f64::from(workers)),
            Over::Workers { nodes } => study
                .ceiling
                .cores_at(f64::from(nodes), size / f64::from(nodes)),
        };
        study.ceiling.per_core * cores
    };
    Series {
        name: "ideal".into(),
        style: Style::Ideal,
        colour: 0,
        points: line(0.0, end, rate),
    }
}

fn line(from: f64, to: f64, value: impl Fn(f64) -> f64) -> Vec<Point> {
    (0..=200)
        .map(|index| from + (to - from) * f64::from(index) / 200.0)
        .map(|x| Point::at(x, value(x)))
        .collect()
}

/// Throughput and efficiency of all configurations in one chart each.
#[must_use]
pub(crate) fn overview_pictures(study: &Study) -> Vec<Picture> {
    vec![
        overview(study, Figure::Throughput),
        overview(study, Figure::Efficiency),
    ]
}

fn overview(study: &Study, figure: Figure) -> Picture {
    let mut chart = Chart {
        title: format!("{} of all configurations", figure.title()),
        subtitle: how_to_read(study),
        x: Axis {
            label: "nodes".into(),
            ..Axis::default()
        },
        y: figure.axis(),
        ..Chart::default()
    };
    let mut ticks: Vec<u32> = Vec::new();
    for (colour, scaling) in study.over_nodes().enumerate() {
        ticks.extend(&scaling.sizes);
        let name = scaling.over.fixed();
        if figure == Figure::Throughput && scaling.over == study.main_scaling().over {
            add_law(&mut chart, scaling, colour);
        }
        chart
            .series
            .push(measured(study, scaling, figure, &name, colour));
    }
    ticks.sort_unstable();
    ticks.dedup();
    chart.x.ticks = ticks.into_iter().map(f64::from).collect();
    if chart.x.at_least > 0.0 {
        chart.x.ticks.push(chart.x.at_least.floor());
    }
    if figure == Figure::Efficiency {
        chart.subtitle = format!("{} {}", chart.subtitle, ceiling_note(study, figure));
    }
    Picture {
        path: format!("overview/{}", figure.file()),
        svg: chart.svg(),
    }
}

/// The fitted law as a curve, to its peak if that is near.
fn add_law(chart: &mut Chart, scaling: &Scaling, colour: usize) {
    let fixed = scaling.over.fixed();
    let Some(fit) = scaling.fit else {
        chart.subtitle = format!(
            "{} Too few cluster sizes for a fit of the USL.",
            chart.subtitle
        );
        return;
    };
    let largest = scaling.sizes.last().copied().map_or(1.0, f64::from);
    let (end, note) = match fit.peak {
        Some(peak) if peak <= 2.0 * largest => {
            chart
                .marks
                .push((peak, format!("predicted peak, {} nodes", number(peak))));
            (largest.max(1.15 * peak), String::new())
        }
        Some(peak) => (
            1.25 * largest,
            format!(" Predicted peak: {} nodes, off the chart.", number(peak)),
        ),
        None => (1.25 * largest, " The fit has no peak.".into()),
    };
    chart.subtitle.push_str(&note);
    chart.series.push(Series {
        name: format!("USL fit, {fixed}"),
        style: Style::Predicted,
        colour,
        points: line(0.0, end, |n| fit.at(n).max(0.0)),
    });
    if end > 1.2 * largest {
        chart.x.at_least = end;
    }
}

/// The charts of each configuration's median run, from its metrics.
#[must_use]
pub(crate) fn run_pictures(study: &Study, source: &Source) -> RunPictures {
    let mut all = RunPictures::default();
    for configuration in &study.configurations {
        match source.points(configuration.median_run()) {
            Ok(points) => add_run(&mut all, configuration, &points),
            Err(error) => {
                let name = configuration.name();
                all.missing
                    .push(format!("{name}: no charts of its run: {error:#}."));
            }
        }
    }
    all
}

fn add_run(all: &mut RunPictures, configuration: &Configuration, points: &[Metric]) {
    let start = points.iter().map(|point| point.at_ns).min().unwrap_or(0);
    let name = configuration.name();
    for (file, chart) in [
        ("queue", queue_chart(&name, points, start)),
        ("cpu", cpu_chart(&name, points, start)),
        ("latency", latency_chart(&name, points)),
    ] {
        match chart {
            Some(chart) => all.pictures.push(Picture {
                path: format!("{}/{file}", configuration.folder()),
                svg: chart.svg(),
            }),
            None => all.missing.push(format!(
                "{name}: no {file} chart, as its metrics have no such points."
            )),
        }
    }
}

/// A field over time, a line for each value of a tag; the tags in their order.
fn over_time(
    points: &[Metric],
    measurement: &str,
    tag: &str,
    field: &str,
    start: i64,
) -> Vec<(String, Vec<Point>)> {
    let mut lines: std::collections::BTreeMap<String, Vec<Point>> =
        std::collections::BTreeMap::new();
    for point in points
        .iter()
        .filter(|point| point.measurement == measurement)
    {
        if let Some(value) = point.number(field) {
            let seconds = point.at_ns.saturating_sub(start) as f64 / 1e9;
            lines
                .entry(point.tag(tag).to_owned())
                .or_default()
                .push(Point::at(seconds, value));
        }
    }
    lines
        .into_iter()
        .map(|(name, mut line)| {
            line.sort_by(|a, b| a.x.total_cmp(&b.x));
            (name, thinned(line))
        })
        .collect()
}

/// Every so manieth point, with the first and the last.
fn thinned(points: Vec<Point>) -> Vec<Point> {
    let every = points.len().div_ceil(POINTS).max(1);
    let last = points.len().saturating_sub(1);
    points
        .into_iter()
        .enumerate()
        .filter(|(index, _)| index.is_multiple_of(every) || *index == last)
        .map(|(_, point)| point)
        .collect()
}

fn time_chart(
    title: String,
    subtitle: &str,
    label: &str,
    at_least: f64,
    lines: Vec<(String, Vec<Point>)>,
) -> Option<Chart> {
    if lines.is_empty() {
        return None;
    }
    let many = lines.len() > COLOURED;
    let all = lines.len();
    let series = lines
        .into_iter()
        .enumerate()
        .map(|(index, (name, points))| Series {
            name: if many { String::new() } else { name },
            style: if many { Style::Thin } else { Style::Line },
            colour: if many { 0 } else { index },
            points,
        });
    let subtitle = if many {
        format!("{subtitle} {all} lines, one each.")
    } else {
        subtitle.to_owned()
    };
    Some(Chart {
        title,
        subtitle,
        x: Axis {
            label: "time since the first point (s)".into(),
            ..Axis::default()
        },
        y: Axis {
            label: label.into(),
            at_least,
            ticks: Vec::new(),
        },
        series: series.collect(),
        marks: Vec::new(),
    })
}

fn queue_chart(name: &str, points: &[Metric], start: i64) -> Option<Chart> {
    let lines = over_time(points, "queue", "queue", "ready", start);
    let which = match &*lines {
        [(queue, _)] if !queue.is_empty() => format!("Queue {queue}. "),
        _ => String::new(),
    };
    let subtitle = format!("{which}Median run; messages that no consumer has yet.");
    time_chart(
        format!("Queue length, {name}"),
        &subtitle,
        "ready messages",
        1.0,
        lines,
    )
}

fn cpu_chart(name: &str, points: &[Metric], start: i64) -> Option<Chart> {
    let lines = over_time(points, "node", "node", "pool_cpu_pct", start);
    time_chart(
        format!("CPU use of each node, {name}"),
        "Median run; the consumer process, of the cores that it may use.",
        "CPU use (%)",
        100.0,
        lines,
    )
}

fn latency_chart(name: &str, points: &[Metric]) -> Option<Chart> {
    let mut latencies: Vec<(f64, f64)> = points
        .iter()
        .filter(|point| point.measurement == "job")
        .filter_map(|point| {
            Some((
                point.number("latency_ms")?,
                point.number("jobs").unwrap_or(1.0),
            ))
        })
        .filter(|(_, jobs)| *jobs > 0.0)
        .collect();
    let jobs: f64 = latencies.iter().map(|one| one.1).sum();
    if latencies.is_empty() {
        return None;
    }
    // By weight too, so that the order in which the points were read does not show.
    latencies.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let (unit, per) = if latencies.last().is_some_and(|one| one.0 >= 10_000.0) {
        ("s", 1000.0)
    } else {
        ("ms", 1.0)
    };
    let groups = latencies.iter().any(|one| one.1 > 1.0);
    let mut line = vec![Point::at(0.0, 0.0)];
    let mut below = 0.0;
    for (latency, weight) in latencies {
        // A step: nothing ended before this.
        line.push(Point::at(latency / per, 100.0 * below / jobs));
        below += weight;
        line.push(Point::at(latency / per, 100.0 * below / jobs));
    }
    let subtitle = if groups {
        "Median run; publication to result. Each step is the mean of a group of jobs, weighted with their number."
    } else {
        "Median run; publication to result."
    };
    Some(Chart {
        title: format!("Latency of a job, {name}"),
        subtitle: subtitle.into(),
        x: Axis {
            label: format!("latency ({unit})"),
            ..Axis::default()
        },
        y: Axis {
            label: "jobs that took no longer (%)".into(),
            at_least: 100.0,
            ticks: Vec::new(),
        },
        series: vec![Series {
            name: String::new(),
            style: Style::Line,
            colour: 0,
            points: thinned(line),
        }],
        marks: Vec::new(),
    })
}
