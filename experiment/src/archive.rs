//! The points of an experiment. They go to `metrics.lp` in its folder and, where the environment
//! names one, to an InfluxDB, from which the report can be made too.

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

/// The measurement of these points.
const MEASUREMENT: &str = "experiment";

/// Name of their file.
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
    /// Appends to the file in `dir`, whose last part is the name of the experiment.
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

    /// Writes what was asked for. Points before this one belong to an earlier experiment of the
    /// same name.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn settings(&mut self, settings: &Settings) -> Result<()> {
        self.document("settings", settings)
    }

    /// Writes the ceiling.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn baseline(&mut self, baseline: &Baseline) -> Result<()> {
        self.document("baseline", baseline)
    }

    /// Writes a measurement, each figure as a field of the same name.
    ///
    /// # Errors
    /// The file cannot be written.
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
