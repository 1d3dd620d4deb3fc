//! The processes of a measured system: samples their memory, and kills those that are left.

use std::{
    collections::{BTreeMap, HashSet},
    process,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use sysinfo::{ProcessRefreshKind, ProcessStatus, ProcessesToUpdate, System};

use crate::process::signal;

/// Time between two samples.
const INTERVAL: Duration = Duration::from_millis(100);

/// Time for processes to end after the process that started them.
const GRACE: Duration = Duration::from_secs(5);

/// Largest resident memory of a system at one time. A page that processes share counts in each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Peak {
    pub bytes: u64,
    /// By name of the process: the number of processes, and their bytes.
    pub parts: BTreeMap<String, (u32, u64)>,
}

/// ID and start time of a process; the time tells it from a later process with the same ID.
type Mark = (u32, u64);

#[derive(Debug)]
struct Process {
    mark: Mark,
    parent: u32,
    name: String,
    bytes: u64,
}

/// Samples all descendants of this process until its end.
#[derive(Debug)]
pub(crate) struct Watch {
    end: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Descendants of this process, including those whose parent has ended since.
    own: HashSet<Mark>,
    peak: Peak,
}

impl Watch {
    /// Starts sampling; the process `broker` and its descendants count too.
    pub(crate) fn start(broker: Option<u32>) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (over, shared) = (Arc::clone(&end), Arc::clone(&seen));
        let thread = thread::spawn(move || {
            while !over.load(Relaxed) {
                lock(&shared).sample(broker);
                thread::sleep(INTERVAL);
            }
        });
        Self {
            end,
            seen,
            thread: Some(thread),
        }
    }

    /// Stops sampling, kills the processes that are left after [`GRACE`], and returns the peak.
    pub(crate) fn end(mut self) -> Option<Peak> {
        self.end.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let mut seen = lock(&self.seen);
        let deadline = Instant::now() + GRACE;
        let mut left = seen.left();
        while !left.is_empty() && Instant::now() < deadline {
            thread::sleep(INTERVAL);
            left = seen.left();
        }
        for pid in left {
            signal(pid, "KILL");
        }
        (seen.peak.bytes > 0).then(|| seen.peak.clone())
    }
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Seen {
    fn sample(&mut self, broker: Option<u32>) {
        let all = processes();
        let mut counted = HashSet::new();
        if let Some(broker) = broker {
            let root = all.iter().find(|process| process.mark.0 == broker);
            counted.extend(root.map(|process| process.mark));
            grow(&mut counted, &all, broker);
        }
        grow(&mut self.own, &all, process::id());
        counted.extend(&self.own);
        let mut now = Peak::default();
        for process in all.iter().filter(|process| counted.contains(&process.mark)) {
            let part = now.parts.entry(process.name.clone()).or_default();
            part.0 += 1;
            part.1 += process.bytes;
            now.bytes += process.bytes;
        }
        if now.bytes > self.peak.bytes {
            self.peak = now;
        }
    }

    /// IDs of the live descendants of this process.
    fn left(&mut self) -> Vec<u32> {
        let all = processes();
        grow(&mut self.own, &all, process::id());
        let own = all
            .iter()
            .filter(|process| self.own.contains(&process.mark));
        own.map(|process| process.mark.0).collect()
    }
}

/// All live processes of the machine.
fn processes() -> Vec<Process> {
    let what = ProcessRefreshKind::nothing().with_memory().without_tasks();
    // New each time, as it would keep the name that a process had before exec.
    let Ok(mut system) = System::new() else {
        return Vec::new();
    };
    system.refresh_processes_specifics(ProcessesToUpdate::All, true, what);
    let all = system.processes().values();
    all.filter(|one| !matches!(one.status(), ProcessStatus::Zombie | ProcessStatus::Dead))
        .map(|one| Process {
            mark: (one.pid().as_u32(), one.start_time()),
            parent: one.parent().map_or(0, |parent| parent.as_u32()),
            name: one.name().to_string_lossy().into_owned(),
            bytes: one.memory(),
        })
        .collect()
}

/// Adds the descendants of `root` and of every member.
fn grow(members: &mut HashSet<Mark>, all: &[Process], root: u32) {
    let mut parents: HashSet<u32> = all
        .iter()
        .filter(|process| members.contains(&process.mark))
        .map(|process| process.mark.0)
        .collect();
    parents.insert(root);
    let mut before = None;
    while before != Some(members.len()) {
        before = Some(members.len());
        for process in all {
            if parents.contains(&process.parent) && process.mark.0 != root {
                members.insert(process.mark);
                parents.insert(process.mark.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::process::Command;

    use super::*;

    fn process(pid: u32, parent: u32) -> Process {
        Process {
            mark: (pid, u64::from(pid)),
            parent,
            name: String::new(),
            bytes: 0,
        }
    }

    #[test]
    fn a_descendant_belongs_also_when_its_parent_has_ended() {
        let mut members = HashSet::new();
        // Listed before its parent.
        let all = [process(9, 8), process(8, 5), process(7, 1), process(5, 1)];
        grow(&mut members, &all, 5);
        assert_eq!(members, HashSet::from([(9, 9), (8, 8)]));
        // 8 has ended; 9 belongs to init now and has started another.
        let all = [process(9, 1), process(10, 9), process(7, 1), process(5, 1)];
        grow(&mut members, &all, 5);
        assert!(members.contains(&(10, 10)) && !members.contains(&(7, 7)));
    }

    #[test]
    fn a_process_that_is_left_is_killed_and_its_memory_was_seen() {
        let watch = Watch::start(None);
        // Larger than this process, of which the child is a copy before exec.
        let script = "x=$(head -c 90000000 /dev/zero | tr '\\0' x); sleep 600; echo $x";
        let mut child = Command::new("sh").args(["-c", script]).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        let is_large = |peak: &Peak| peak.parts.get("sh").is_some_and(|sh| sh.1 > 90_000_000);
        let has_grown = || is_large(&watch.seen.lock().unwrap().peak);
        while !has_grown() && Instant::now() < deadline {
            thread::sleep(INTERVAL);
        }
        let peak = watch.end().unwrap();
        assert!(is_large(&peak), "{peak:?}");
        let status = child.wait().unwrap();
        assert!(!status.success());
    }
}
