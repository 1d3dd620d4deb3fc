//! The points of an experiment: written to `metrics.lp` in its folder and, if the environment names
//! an InfluxDB, sent there; the report can be made from either.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};
use clap::Parser;
use primepool_common::{
    clock::unix_ns,
    metrics::{InfluxArgs, LineProtocolFile, MetricsWriter, Point, Source},
};
use serde::Serialize;
use serde_json::Value;

use crate::{
    process::SPOOL,
    record::{Baseline, Outcome, Record, Settings},
};

const MEASUREMENT: &str = "experiment";
const FILE: &str = "metrics.lp";

/// Time limit for sending the last points; those that remain wait on disk.
const CLOSING: Duration = Duration::from_secs(10);

/// InfluxDB's options, read from the environment alone, as producers and consumers get them.
#[derive(Debug, Parser)]
struct Environment {
    #[command(flatten)]
    influx: InfluxArgs,
}

/// Writes the points of one experiment.
pub(crate) struct Archive {
    name: String,
    file: LineProtocolFile,
    server: MetricsWriter,
}

impl Archive {
    /// Opens the file in `dir` for appending; the last part of `dir` is the experiment's name.
    ///
    /// # Errors
    /// The file cannot be written, or the environment names an InfluxDB that cannot be used.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        let name = dir.file_name().unwrap_or(dir.as_os_str());
        let name = name.to_string_lossy().into_owned();
        let influx = Environment::try_parse_from(["experiment"])?.influx;
        Ok(Self {
            file: LineProtocolFile::open(&path)
                .with_context(|| format!("cannot write {}", path.display()))?,
            server: influx.writer(Source::Experiment, &name, Some(dir.join(SPOOL)))?,
            name,
        })
    }

    /// Writes the settings. Points before this one belong to another experiment of the same name.
    pub(crate) fn settings(&mut self, settings: &Settings) -> Result<()> {
        self.document("settings", settings)
    }

    pub(crate) fn baseline(&mut self, baseline: &Baseline) -> Result<()> {
        self.document("baseline", baseline)
    }

    /// Writes a measurement, each figure as a field of the same name.
    pub(crate) fn record(&mut self, record: &Record) -> Result<()> {
        let mut point = self
            .point("record")
            .tag("nodes", record.nodes.to_string())
            .tag("workers", record.workers.to_string())
            .field("repeat", u64::from(record.repeat))
            .field("started_ms", record.started_ms);
        match &record.outcome {
            Outcome::Failed(reason) => point = point.field("reason", reason.clone()),
            Outcome::Measured(figures) => {
                let figures = serde_json::to_value(figures)?;
                for (name, value) in figures.as_object().into_iter().flatten() {
                    let name = name.clone();
                    point = match value {
                        Value::String(text) => point.field(name, text.clone()),
                        value => match (value.as_u64(), value.as_f64()) {
                            (Some(whole), _) => point.field(name, whole),
                            (None, Some(number)) => point.field(name, number),
                            (None, None) => point,
                        },
                    };
                }
            }
        }
        self.write(&point)
    }

    fn document(&mut self, part: &'static str, document: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string(document)?;
        let point = self.point(part).field("document", text);
        self.write(&point)
    }

    fn point(&self, part: &'static str) -> Point<'static> {
        Point::new(MEASUREMENT, unix_ns())
            .tag("experiment", self.name.clone())
            .tag("part", part)
    }

    fn write(&mut self, point: &Point<'_>) -> Result<()> {
        self.server.write(point);
        self.file
            .write(point)
            .and_then(|()| self.file.flush())
            .with_context(|| format!("cannot write {FILE} of the experiment"))
    }

    /// Sends the remaining points; returns how many wait on disk. Blocks.
    pub(crate) fn close(self) -> u64 {
        self.server.close(CLOSING).spooled
    }
}
