//! Where a report has its figures from: the folder of the experiment, or an InfluxDB that its programs have written to. Both hold
//! the same, and give the same report.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use primepool_common::metrics::{InfluxTarget, MetricsReader, Series, influxql_string};
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

use crate::{
    archive::{JSON, MEASUREMENT, Part},
    metrics_lp::{self, Point, Value},
    record::{self, Baseline, Figures, Record, Settings},
};

/// Measurements that tell of a run.
const OF_A_RUN: [&str; 4] = ["job", "node", "queue", "run"];

/// What the programs have recorded of an experiment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Recorded {
    /// What was asked for.
    pub settings: Settings,
    /// Measurements, in the order in which they were taken.
    pub records: Vec<Record>,
    /// The ceiling, if it was measured.
    pub baseline: Option<Baseline>,
}

/// Where an experiment is read from.
pub(crate) enum Source {
    /// Its folder.
    Folder(PathBuf),
    /// An InfluxDB.
    Influx(Box<Influx>),
}

/// An experiment in an InfluxDB.
pub(crate) struct Influx {
    runtime: Runtime,
    reader: MetricsReader,
    server: String,
    name: String,
}

impl Source {
    /// An experiment, by its name, in an InfluxDB; asks nothing yet.
    ///
    /// # Errors
    /// There is no HTTP client for it.
    pub(crate) fn influx(target: InfluxTarget, name: &str) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(Self::Influx(Box::new(Influx {
            runtime,
            server: target.to_string(),
            reader: MetricsReader::new(target)?,
            name: name.to_owned(),
        })))
    }

    /// For people.
    #[must_use]
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Folder(dir) => dir.display().to_string(),
            Self::Influx(influx) => format!("{} in {}", influx.name, influx.server),
        }
    }

    /// What was recorded.
    ///
    /// # Errors
    /// Nothing was, or it cannot be read.
    pub(crate) fn recorded(&self) -> Result<Recorded> {
        match self {
            Self::Folder(dir) => from_folder(dir),
            Self::Influx(influx) => influx.recorded(),
        }
    }

    /// The points of a measured run.
    ///
    /// # Errors
    /// There are none, or they cannot be read.
    pub(crate) fn points(&self, figures: &Figures) -> Result<Vec<Point>> {
        match self {
            Self::Folder(dir) => metrics_lp::read(&dir.join(&figures.folder))?
                .with_context(|| format!("{}/{} is not there", figures.folder, metrics_lp::FILE)),
            Self::Influx(influx) => influx.points(figures),
        }
    }
}

fn from_folder(dir: &Path) -> Result<Recorded> {
    let records = Record::read_all(dir)?;
    if records.is_empty() {
        bail!(
            "{} holds no records: run `experiment run` first",
            dir.display()
        );
    }
    let settings: Settings = record::read(dir, Settings::FILE)?.with_context(|| {
        format!(
            "{} has no {}: name the folder that `experiment run` made",
            dir.display(),
            Settings::FILE
        )
    })?;
    Ok(Recorded {
        settings,
        records,
        baseline: record::read(dir, Baseline::FILE)?,
    })
}

impl Influx {
    fn recorded(&self) -> Result<Recorded> {
        let points = self.of(MEASUREMENT, "experiment", &self.name)?;
        let parts = |part: Part| {
            let has_part = move |point: &&Point| point.tag("part") == part.as_str();
            points.iter().filter(has_part)
        };
        let (asked, settings) = match parts(Part::Settings).next_back() {
            Some(point) => (point.at_ns, read::<Settings>(point)?),
            None => bail!(
                "{} knows no experiment {}: name the folder that `experiment run` made while INFLUX_HOST was set, without the \
                 path; or import the files metrics.lp of that folder and its runs",
                self.server,
                self.name
            ),
        };
        let since = |point: &&Point| point.at_ns >= asked;
        let records: Vec<Record> = parts(Part::Record)
            .filter(since)
            .map(read)
            .collect::<Result<_>>()?;
        if records.is_empty() {
            bail!(
                "{} holds no records of {}: run `experiment run` first",
                self.server,
                self.name
            );
        }
        let baseline = parts(Part::Baseline).rfind(since);
        Ok(Recorded {
            settings,
            records,
            baseline: baseline.map(read).transpose()?,
        })
    }

    fn points(&self, figures: &Figures) -> Result<Vec<Point>> {
        let run = Path::new(&figures.folder).file_name().unwrap_or_default();
        let run = run.to_string_lossy();
        let mut points = Vec::new();
        for measurement in OF_A_RUN {
            points.extend(self.of(measurement, "run", &run)?);
        }
        if points.is_empty() {
            bail!("{} has no points of run {run}", self.server);
        }
        points.sort_by_key(|point| point.at_ns);
        Ok(points)
    }

    /// The points of a measurement with this value of a tag, by time.
    fn of(&self, measurement: &str, tag: &str, value: &str) -> Result<Vec<Point>> {
        let query = format!(
            "SELECT * FROM \"{measurement}\" WHERE \"{tag}\" = {} GROUP BY *",
            influxql_string(value)
        );
        let series = self.runtime.block_on(self.reader.query(&query))?;
        let mut points: Vec<Point> = series.iter().flat_map(of_series).collect();
        points.sort_by_key(|point| point.at_ns);
        Ok(points)
    }
}

fn read<T: DeserializeOwned>(point: &Point) -> Result<T> {
    serde_json::from_str(&point.texts(&JSON)).with_context(|| {
        format!(
            "the point of {MEASUREMENT} at {} ns cannot be read",
            point.at_ns
        )
    })
}

/// The points of a series whose first column is the time.
fn of_series(series: &Series) -> impl Iterator<Item = Point> {
    series.values.iter().filter_map(|row| {
        let fields = series.columns.iter().zip(row).skip(1);
        let fields = fields.filter_map(|(key, value)| {
            let value = match value {
                serde_json::Value::Number(number) => Value::Number(number.as_f64()?),
                serde_json::Value::Bool(boolean) => Value::Boolean(*boolean),
                serde_json::Value::String(text) => Value::Text(text.clone()),
                // A field that other points of the series have.
                _ => return None,
            };
            Some((key.clone(), value))
        });
        Some(Point {
            measurement: series.name.clone(),
            // InfluxDB gives each tag that any series has, empty where this one has none.
            tags: series
                .tags
                .iter()
                .filter(|tag| !tag.1.is_empty())
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
            fields: fields.collect(),
            at_ns: row.first()?.as_i64()?,
        })
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_is_the_point_that_was_written() {
        let line =
            "job,node=a,run=R jobs=5i,latency_ms=1.25,ok=true,text=\"x\" 1700000000000000001";
        let series: Series = serde_json::from_value(json!({
            "name": "job",
            "tags": {"node": "a", "run": "R", "outcome": ""},
            "columns": ["time", "jobs", "latency_ms", "none", "ok", "text"],
            "values": [[1_700_000_000_000_000_001_i64, 5, 1.25, null, true, "x"]],
        }))
        .unwrap();
        let points: Vec<Point> = of_series(&series).collect();
        assert_eq!(points, [metrics_lp::parse(line).unwrap().unwrap()]);
    }
}
