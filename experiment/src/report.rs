//! The figures, tables and words that an experiment's records give.
//!
//! ```text
//! DIR/report/report.html                  everything in one page
//! DIR/report/report.json                  all numbers and words
//! DIR/report/measurements.csv             the records
//! DIR/report/configurations.csv           medians, least and most of each pair of nodes and workers
//! DIR/report/overview/                    all configurations in one chart
//! DIR/report/cluster_size_<nodes>/        a cluster size over its workers
//! DIR/report/config_workers_<workers>/    workers of a node over the cluster size
//! DIR/report/runs/nodes_<n>_workers_<w>/  the median run of a configuration
//! ```

pub(crate) mod charts;
pub(crate) mod html;
pub(crate) mod plot;
pub(crate) mod png;
pub(crate) mod series;
pub(crate) mod source;
pub(crate) mod study;
pub(crate) mod tables;
pub(crate) mod usl;
pub(crate) mod words;

use std::{
    fs,
    io::ErrorKind,
    num::NonZero,
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context, Result, anyhow};

use self::{charts::Picture, html::Page, png::Painter, source::Source, study::Study};

/// Name of the report's folder in the experiment's.
pub(crate) const FOLDER: &str = "report";

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    /// The page.
    pub html: PathBuf,
    /// The summary in words, a sentence or two each.
    pub words: Vec<String>,
    /// Charts that could not be drawn, and why.
    pub missing: Vec<String>,
}

/// Writes the report of an experiment to `folder`, in place of an earlier one.
///
/// # Errors
/// There are no records or none of a measurement that succeeded, they cannot be read, or the report cannot be written.
pub(crate) fn report(source: &Source, folder: &Path) -> Result<Report> {
    let study = Study::read(source)?;
    let bounds = words::bounds(&study);
    let words = words::summary(&study, &bounds);
    let runs = charts::run_pictures(&study, source);
    let mut pictures = charts::overview_pictures(&study);
    pictures.extend(charts::scaling_pictures(&study));
    pictures.extend(runs.pictures);

    remove_pictures(folder)?;
    write_pictures(folder, &pictures)?;
    write(
        &folder.join("measurements.csv"),
        tables::measurements_csv(&study).as_bytes(),
    )?;
    write(
        &folder.join("configurations.csv"),
        tables::configurations_csv(&study).as_bytes(),
    )?;
    let json = tables::json(&study, &bounds, &words, &runs.missing);
    write(
        &folder.join("report.json"),
        &serde_json::to_vec_pretty(&json)?,
    )?;
    let page = Page {
        study: &study,
        words: &words,
        bounds: &bounds,
        pictures: &pictures,
        missing: &runs.missing,
    };
    let html = folder.join("report.html");
    write(&html, page.html().as_bytes())?;
    Ok(Report {
        html,
        words,
        missing: runs.missing,
    })
}

/// Removes the charts of an earlier report, which may be of configurations that are gone.
fn remove_pictures(folder: &Path) -> Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", folder.display()));
        }
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let ours = ["overview", "runs"].contains(&&*name)
            || name.starts_with("cluster_size_")
            || name.starts_with("config_workers_");
        if ours && entry.file_type()?.is_dir() {
            let path = entry.path();
            fs::remove_dir_all(&path)
                .with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// Writes each chart as SVG and PNG, on all cores, as drawing takes a while.
fn write_pictures(folder: &Path, pictures: &[Picture]) -> Result<()> {
    let painter = Painter::new();
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let share = pictures.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let painters: Vec<_> = pictures
            .chunks(share)
            .map(|pictures| {
                let painter = &painter;
                scope.spawn(move || {
                    pictures
                        .iter()
                        .try_for_each(|picture| write_picture(folder, painter, picture))
                })
            })
            .collect();
        painters.into_iter().try_for_each(|one| {
            one.join()
                .map_err(|_| anyhow!("a chart could not be drawn"))?
        })
    })
}

fn write_picture(folder: &Path, painter: &Painter, picture: &Picture) -> Result<()> {
    let png = painter
        .png(&picture.svg)
        .with_context(|| picture.path.clone())?;
    write(
        &folder.join(format!("{}.svg", picture.path)),
        picture.svg.as_bytes(),
    )?;
    write(&folder.join(format!("{}.png", picture.path)), &png)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    path.parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::write(path, bytes))
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
pub(crate) mod tests;
