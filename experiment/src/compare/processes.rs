//! Which processes belong to a system that is measured, how much memory they have, and that none is left.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    process::{self, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// How long processes may take to go after the one that started them.
const GRACE: Duration = Duration::from_secs(5);

/// The most resident memory that a system had at one time. A page that processes share counts in each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Peak {
    /// Of all its processes.
    pub bytes: u64,
    /// By name of the process: how many, and their bytes.
    pub parts: BTreeMap<String, (u32, u64)>,
}

/// A process by number and start time, which tells it from a later one of the same number.
type Mark = (u32, u64);

#[derive(Debug)]
struct Process {
    mark: Mark,
    parent: u32,
    name: String,
}

/// Looks at all processes that this one starts, and those that they start, until it is told to end.
#[derive(Debug)]
pub(crate) struct Watch {
    end: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Started below this process, also those whose parent has gone since.
    own: HashSet<Mark>,
    peak: Peak,
}

impl Watch {
    /// Begins; `broker` and the processes that it has started count too.
    #[must_use]
    pub(crate) fn start(broker: Option<u32>) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (over, notes) = (Arc::clone(&end), Arc::clone(&seen));
        let thread = thread::spawn(move || {
            while !over.load(Relaxed) {
                look(&notes, broker);
                thread::sleep(LOOK);
            }
        });
        Self {
            end,
            seen,
            thread: Some(thread),
        }
    }

    /// Ends; whatever is left of what was started has some seconds to go, and is killed then. The most memory that there was.
    pub(crate) fn end(mut self) -> Option<Peak> {
        self.end.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let deadline = Instant::now() + GRACE;
        let mut left = self.left();
        while !left.is_empty() && Instant::now() < deadline {
            thread::sleep(LOOK);
            left = self.left();
        }
        for (pid, _) in left {
            let _ = Command::new("kill")
                .args(["-KILL", &pid.to_string()])
                .stderr(Stdio::null())
                .status();
        }
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        (seen.peak.bytes > 0).then(|| seen.peak.clone())
    }

    /// What was started and lives.
    fn left(&self) -> Vec<Mark> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let all = processes();
        grow(&mut seen.own, &all, process::id());
        let alive = all.iter().map(|process| process.mark);
        alive.filter(|mark| seen.own.contains(mark)).collect()
    }
}

fn look(seen: &Mutex<Seen>, broker: Option<u32>) {
    let all = processes();
    let mut counted = HashSet::new();
    if let Some(broker) = broker {
        let root = all.iter().find(|process| process.mark.0 == broker);
        counted.extend(root.map(|process| process.mark));
        grow(&mut counted, &all, broker);
    }
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    grow(&mut seen.own, &all, process::id());
    counted.extend(&seen.own);
    let mut now = Peak::default();
    for process in all.iter().filter(|process| counted.contains(&process.mark)) {
        let bytes = resident(process.mark.0);
        let part = now.parts.entry(process.name.clone()).or_default();
        part.0 += 1;
        part.1 += bytes;
        now.bytes += bytes;
    }
    if now.bytes > seen.peak.bytes {
        seen.peak = now;
    }
}

/// Adds the processes below `root`, and those below any that belongs already.
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

/// All that live.
fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            parsed(pid, &fs::read_to_string(entry.path().join("stat")).ok()?)
        })
        .collect()
}

/// A line of `/proc/PID/stat`; nothing of one that has ended and was not waited for.
fn parsed(pid: u32, stat: &str) -> Option<Process> {
    // The name may hold anything, brackets too.
    let (head, fields) = stat.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    if matches!(*fields.first()?, "Z" | "X") {
        return None;
    }
    Some(Process {
        mark: (pid, fields.get(19)?.parse().ok()?),
        parent: fields.get(1)?.parse().ok()?,
        name: name.to_owned(),
    })
}

/// Bytes of a process that are in memory.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kilobytes = status.lines().find_map(|line| {
        let value = line.strip_prefix("VmRSS:")?;
        value.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    });
    1024 * kilobytes.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn process(pid: u32, parent: u32) -> Process {
        Process {
            mark: (pid, u64::from(pid)),
            parent,
            name: String::new(),
        }
    }

    #[test]
    fn who_was_started_below_belongs_also_when_its_parent_has_gone() {
        let mut members = HashSet::new();
        // Listed before its parent.
        let all = [process(9, 8), process(8, 5), process(7, 1), process(5, 1)];
        grow(&mut members, &all, 5);
        assert_eq!(members, HashSet::from([(9, 9), (8, 8)]));
        // 8 has gone; 9 is init's now, and has started another.
        let all = [process(9, 1), process(10, 9), process(7, 1), process(5, 1)];
        grow(&mut members, &all, 5);
        assert!(members.contains(&(10, 10)) && !members.contains(&(7, 7)));
    }

    #[test]
    fn names_may_hold_brackets() {
        let stat = "12 (ray::IDLE (x)) S 3 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 777 0";
        let process = parsed(12, stat).unwrap();
        assert_eq!((process.mark, process.parent), ((12, 777), 3));
        assert_eq!(process.name, "ray::IDLE (x)");
        assert!(parsed(12, &stat.replace(" S 3", " Z 3")).is_none());
    }

    #[test]
    fn what_is_left_is_killed_and_its_memory_was_seen() {
        let watch = Watch::start(None);
        // Larger than this process, which a child is a copy of before it becomes another program.
        let script = "x=$(head -c 90000000 /dev/zero | tr '\\0' x); sleep 600; echo $x";
        let mut child = Command::new("sh").args(["-c", script]).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        let is_large = |peak: &Peak| peak.parts.get("sh").is_some_and(|sh| sh.1 > 90_000_000);
        let has_grown = || is_large(&watch.seen.lock().unwrap().peak);
        while !has_grown() && Instant::now() < deadline {
            thread::sleep(LOOK);
        }
        let peak = watch.end().unwrap();
        assert!(is_large(&peak), "{peak:?}");
        let status = child.wait().unwrap();
        assert!(!status.success());
    }
}
