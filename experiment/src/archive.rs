//! An experiment as points: what its folder holds besides the runs, whose points the producers write themselves. They go to
//! `metrics.lp` in the folder, and to InfluxDB where there is one, from which `experiment report --influx` reads them.
//!
//! A point has what was recorded as JSON, and of a measurement also the main figures as fields of their own. A field holds 64
//! KiB, and a record of a thousand nodes is longer: the text goes on in the next one of [`JSON`].

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};
use clap::Parser;
use primepool_common::{
    clock::unix_ns,
    metrics::{InfluxArgs, LineProtocolFile, MetricsWriter, Point, Source},
};

use crate::{
    metrics_lp,
    process::SPOOL,
    record::{Baseline, Record, Settings},
};

/// The measurement of these points.
pub(crate) const MEASUREMENT: &str = "experiment";

/// Fields that hold the text, in their order.
pub(crate) const JSON: [&str; 8] = [
    "json", "json_1", "json_2", "json_3", "json_4", "json_5", "json_6", "json_7",
];

/// Most bytes of the text in one field.
const PIECE: usize = 50_000;

/// Longest time that the end waits for the server; what it has not taken by then stays on disk.
const CLOSING: Duration = Duration::from_secs(10);

/// What a point tells of an experiment; its tag `part`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// [`Settings`]; what was written before belongs to an earlier experiment of the same name.
    Settings,
    /// [`Baseline`].
    Baseline,
    /// [`Record`].
    Record,
}

impl Part {
    /// As the tag says it.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Baseline => "baseline",
            Self::Record => "record",
        }
    }
}

/// The options of InfluxDB, of which only the environment is read: it is what consumers and producers get.
#[derive(Debug, Parser)]
struct Environment {
    #[command(flatten)]
    influx: InfluxArgs,
}

/// Which InfluxDB the environment names, if it names one.
///
/// # Errors
/// What it says cannot be used.
pub(crate) fn influx() -> Result<InfluxArgs> {
    Ok(Environment::try_parse_from(["experiment"])?.influx)
}

/// Takes the points of an experiment.
pub(crate) struct Archive {
    name: String,
    file: LineProtocolFile,
    server: MetricsWriter,
}

impl Archive {
    /// Goes on with the file in the experiment's folder; the name of the folder is that of the experiment.
    ///
    /// # Errors
    /// The file cannot be written, or the environment names an InfluxDB that cannot be used.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(metrics_lp::FILE);
        let name = name(dir);
        Ok(Self {
            file: LineProtocolFile::open(&path)
                .with_context(|| format!("cannot write {}", path.display()))?,
            server: influx()?.writer(Source::Experiment, &name, Some(dir.join(SPOOL)))?,
            name,
        })
    }

    /// Notes what was asked for.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn settings(&mut self, settings: &Settings) -> Result<()> {
        let text = serde_json::to_string(settings)?;
        self.write(point(&self.name, Part::Settings), &text)
    }

    /// Notes the ceiling.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn baseline(&mut self, baseline: &Baseline) -> Result<()> {
        let text = serde_json::to_string(baseline)?;
        let point =
            point(&self.name, Part::Baseline).field("primes_per_core_s", baseline.per_core());
        self.write(point, &text)
    }

    /// Notes a measurement.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn record(&mut self, record: &Record) -> Result<()> {
        let text = serde_json::to_string(record)?;
        let mut point = point(&self.name, Part::Record)
            .tag("nodes", record.nodes.to_string())
            .tag("workers", record.workers.to_string())
            .field("failed", record.figures().is_none());
        if let Some(figures) = record.figures() {
            point = point
                .field("jobs", figures.jobs)
                .field("jobs_per_s", figures.primes_per_s)
                .field("elapsed_s", figures.elapsed_s)
                .field("efficiency", figures.node_efficiency)
                .field("joined_s", figures.joined_s)
                .field("consumer_cpu_s", figures.consumer_cpu_s)
                .field("producer_cpu_s", figures.producer_cpu_s)
                .field("broker_cpu_s", figures.broker_cpu_s.unwrap_or(f64::NAN));
        }
        self.write(point, &text)
    }

    fn write(&mut self, mut point: Point<'_>, text: &str) -> Result<()> {
        for (key, piece) in JSON.into_iter().zip(pieces(text)) {
            point = point.field(key, piece.to_owned());
        }
        self.server.write(&point);
        self.file
            .write(&point)
            .and_then(|()| self.file.flush())
            .with_context(|| format!("cannot write {} of the experiment", metrics_lp::FILE))
    }

    /// Sends the rest; how many points wait on disk for a server that did not take them. Blocks.
    pub(crate) fn close(self) -> u64 {
        self.server.close(CLOSING).spooled
    }
}

/// The name of the experiment in a folder.
#[must_use]
pub(crate) fn name(dir: &Path) -> String {
    let name = dir.file_name().unwrap_or(dir.as_os_str());
    name.to_string_lossy().into_owned()
}

fn point(name: &str, part: Part) -> Point<'static> {
    Point::new(MEASUREMENT, unix_ns())
        .tag("experiment", name.to_owned())
        .tag("part", part.as_str())
}

/// A text in parts that are not too long each; it is ASCII or cut between characters.
fn pieces(mut text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    while !text.is_empty() {
        let (piece, rest) = text.split_at(text.floor_char_boundary(PIECE));
        pieces.push(piece);
        text = rest;
    }
    pieces
}

// Records are read back with all that they hold, however many nodes there are.
const _: () = assert!(JSON.len() * PIECE > 4096 * 64);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde::de::DeserializeOwned;

    use super::*;
    use crate::record::Outcome;
    use crate::report::tests::{figures, settings};

    fn read<T: DeserializeOwned>(points: &[metrics_lp::Point], part: Part) -> T {
        let has_part = |point: &&metrics_lp::Point| point.tag("part") == part.as_str();
        let point = points.iter().find(has_part).unwrap();
        serde_json::from_str(&point.texts(&JSON)).unwrap()
    }

    #[test]
    fn what_was_recorded_comes_back_from_its_points() {
        let dir = tempfile::tempdir().unwrap();
        let mut figures = figures(2, 1, 0);
        figures.jobs_by_node = (0..4096)
            .map(|node| (format!("node-{node} \"λ\\"), u64::MAX))
            .collect();
        let record = Record {
            nodes: 4096,
            workers: 1,
            repeat: 0,
            started_ms: 1,
            outcome: Outcome::Measured(Box::new(figures)),
        };
        let mut archive = Archive {
            name: "x".to_owned(),
            file: LineProtocolFile::open(&dir.path().join(metrics_lp::FILE)).unwrap(),
            server: MetricsWriter::disabled(),
        };
        archive.settings(&settings()).unwrap();
        archive.record(&record).unwrap();
        assert_eq!(archive.close(), 0);
        let points = metrics_lp::read(dir.path()).unwrap().unwrap();
        assert_eq!(points.len(), 2);
        assert_eq!(read::<Settings>(&points, Part::Settings), settings());
        assert_eq!(read::<Record>(&points, Part::Record), record);
        assert_eq!(points[1].number("elapsed_s"), Some(10.0));
    }
}
