//! Tests of the writer against a server that fails in various ways.
#![allow(clippy::unwrap_used)]

mod https;
mod refusals;
mod sending;
mod spool;

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant, SystemTime},
};

use tempfile::{TempDir, tempdir};
use tracing_subscriber::fmt::MakeWriter;

use super::{
    InfluxTarget, MetricsReader, MetricsWriter, Point, Source, Stats, WriterOptions,
    test_server::{Mode, Speaks, TestServer},
};

const LONG: Duration = Duration::from_secs(20);

fn options(dir: &Path) -> WriterOptions {
    WriterOptions {
        interval: Duration::from_millis(20),
        health_interval: Duration::from_secs(3600),
        ..WriterOptions::new(Source::Consumer, "n1", dir.join("spool"))
    }
}

fn writer(server: &TestServer, dir: &TempDir) -> MetricsWriter {
    MetricsWriter::start(&server.target("b"), options(dir.path())).unwrap()
}

fn write(writer: &MetricsWriter, numbers: std::ops::Range<u64>) {
    for number in numbers {
        writer.write(&Point::new("p", number + 1).field("n", number));
    }
}

/// The lines that [`write()`] writes.
fn expected(numbers: std::ops::Range<u64>) -> Vec<String> {
    let line = |number| format!("p n={number}i {}", number + 1);
    numbers.map(line).collect()
}

fn wait_for(what: &str, mut look: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !look() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Creates a segment as left by an earlier process; returns its folder.
fn leave_behind(dir: &TempDir, lines: &str) -> PathBuf {
    let folder = dir.path().join("spool/p0");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("00000000000000000007.lp"), lines).unwrap();
    folder
}

fn segments(dir: &TempDir) -> Vec<PathBuf> {
    let Ok(folders) = fs::read_dir(dir.path().join("spool")) else {
        return Vec::new();
    };
    let mut files: Vec<_> = folders
        .flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "lp"))
        .collect();
    files.sort();
    files
}

/// The log output of one test.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Log {
    fn begin() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing::Level::INFO)
            .with_writer(log.clone())
            .finish();
        let guard = tracing::subscriber::set_default(subscriber);
        (log, guard)
    }

    fn lines(&self, what: &str) -> usize {
        let text = self.text();
        text.lines().filter(|line| line.contains(what)).count()
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}
