//! Samples the memory of processes once a second.

use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Samples the resident memory of processes until it is dropped.
#[derive(Debug)]
pub(super) struct MemorySampler {
    tracks: Arc<Mutex<Vec<Track>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// The memory samples of one process.
#[derive(Debug, Clone)]
struct Track {
    name: String,
    pid: u32,
    kib: Vec<u64>,
}

/// How the memory of a process grew.
#[derive(Debug, Clone)]
pub(super) struct Growth {
    /// Name of the process.
    pub(super) name: String,
    /// Median of the last third of the samples minus median of the first third, in KiB.
    pub(super) kib: i64,
    /// Number of seconds for which the process was sampled.
    pub(super) seconds: usize,
}

/// Seconds that a process must live to be judged: it starts with little memory and builds tables.
const LIFE: usize = 9;

impl MemorySampler {
    pub(super) fn new() -> Self {
        let tracks: Arc<Mutex<Vec<Track>>> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let (seen, ended) = (Arc::clone(&tracks), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            while !ended.load(Relaxed) {
                for track in seen.lock().unwrap().iter_mut() {
                    track.kib.extend(resident(track.pid));
                }
                thread::sleep(Duration::from_secs(1));
            }
        });
        Self {
            tracks,
            stop,
            thread: Some(thread),
        }
    }

    pub(super) fn follow(&self, name: &str, pid: u32) {
        let track = Track {
            name: format!("{name} (process {pid})"),
            pid,
            kib: Vec::new(),
        };
        self.tracks.lock().unwrap().push(track);
    }

    /// Stops sampling a process; to be called before its process id can be reused.
    pub(super) fn leave(&self, pid: u32) {
        let mut tracks = self.tracks.lock().unwrap();
        for track in tracks.iter_mut().filter(|track| track.pid == pid) {
            track.pid = 0;
        }
    }

    /// The growth of each process that lived long enough.
    pub(super) fn growth(&self) -> Vec<Growth> {
        let tracks = self.tracks.lock().unwrap();
        let judged = tracks.iter().filter(|track| track.kib.len() >= LIFE);
        judged
            .map(|track| {
                let third = track.kib.len() / 3;
                let first = median(&track.kib[..third]);
                let last = median(&track.kib[track.kib.len() - third..]);
                Growth {
                    name: track.name.clone(),
                    kib: last.cast_signed() - first.cast_signed(),
                    seconds: track.kib.len(),
                }
            })
            .collect()
    }
}

impl Drop for MemorySampler {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn median(values: &[u64]) -> u64 {
    let mut values = values.to_vec();
    values.sort_unstable();
    values[values.len() / 2]
}

/// Resident memory of a process in KiB, if there is one.
fn resident(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}
