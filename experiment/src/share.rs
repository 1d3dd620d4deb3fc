//! A share of the machine's CPU time for each node: a control group with a quota, version 1 or 2.
//!
//! With shares, six nodes fit on two cores, and the curve shows the pool, not nodes that compete
//! for cores. A quota is a ceiling: a group that has used it up waits for the next period.

use std::{
    fs,
    io::Error,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

/// Period of a quota, in microseconds.
const PERIOD_US: u32 = 100_000;

/// A control group. Dropping this deletes it; its processes must have ended before.
#[derive(Debug)]
pub struct Share {
    group: PathBuf,
}

/// The file of a control group that could not be read or written, and what to do.
#[derive(Debug, thiserror::Error)]
#[error(
    "--cpus-per-node needs a control group of its own: {path}: {error}. Run as root, or in a part of the tree that is \
     yours: systemd-run --user --scope -p Delegate=yes experiment …; in a container give it --privileged or leave the option out"
)]
pub struct ShareError {
    path: String,
    error: Error,
}

impl Share {
    /// Makes a group that may use the CPU time of `cores` cores.
    ///
    /// # Errors
    /// The system has no control groups for CPU time, or does not permit a new one.
    pub fn new(cores: f64) -> Result<Self, ShareError> {
        let groups =
            fs::read_to_string("/proc/self/cgroup").map_err(failed("/proc/self/cgroup"))?;
        Self::below(Path::new("/sys/fs/cgroup"), &groups, cores)
    }

    fn below(mount: &Path, groups: &str, cores: f64) -> Result<Self, ShareError> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "primepool-{}-{}",
            process::id(),
            NUMBER.fetch_add(1, Relaxed)
        );
        let quota = (cores * f64::from(PERIOD_US)).round().max(1000.0);
        let version_1 = mount.join("cpu");
        if version_1.join("cpu.cfs_quota_us").exists() || version_1.join("tasks").exists() {
            let group = own(groups, "cpu", &version_1).join(name);
            let share = Self::make(group)?;
            share.set("cpu.cfs_period_us", &PERIOD_US.to_string())?;
            share.set("cpu.cfs_quota_us", &quota.to_string())?;
            return Ok(share);
        }
        let parent = own(groups, "", mount);
        let share = Self::make(parent.join(name))?;
        if !share.group.join("cpu.max").exists() {
            // The parent does not give its groups the CPU controller yet.
            let control = parent.join("cgroup.subtree_control");
            fs::write(&control, "+cpu").map_err(failed(control.display()))?;
        }
        share.set("cpu.max", &format!("{quota} {PERIOD_US}"))?;
        Ok(share)
    }

    fn make(group: PathBuf) -> Result<Self, ShareError> {
        sweep(group.parent().unwrap_or(&group));
        fs::create_dir(&group).map_err(failed(group.display()))?;
        Ok(Self { group })
    }

    fn set(&self, file: &str, value: &str) -> Result<(), ShareError> {
        let path = self.group.join(file);
        fs::write(&path, value).map_err(failed(path.display()))
    }

    /// The file of the group's process IDs; writing one to it moves that process into the group.
    #[must_use]
    pub fn procs(&self) -> PathBuf {
        self.group.join("cgroup.procs")
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // Fails while a process in it has not been waited for; `sweep` deletes the group later.
        let _ = fs::remove_dir(&self.group);
    }
}

fn failed(path: impl ToString) -> impl FnOnce(Error) -> ShareError {
    move |error| ShareError {
        path: path.to_string(),
        error,
    }
}

/// The group of this process: of a `controller` of version 1, or of version 2 if that is empty.
fn own(groups: &str, controller: &str, mount: &Path) -> PathBuf {
    let path = groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        controllers
            .split(',')
            .any(|name| name == controller)
            .then_some(path)
    });
    // In a container the mount may show the group itself, while the path is that of the host.
    match path.map(|path| mount.join(path.trim_start_matches('/'))) {
        Some(own) if own.is_dir() => own,
        _ => mount.to_owned(),
    }
}

/// Deletes the groups of experiments that were killed.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name
            .to_str()
            .and_then(|name| name.strip_prefix("primepool-")?.split('-').next());
        if process.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn version_1() {
        let mount = tempfile::tempdir().unwrap();
        let cpu = mount.path().join("cpu/job");
        fs::create_dir_all(&cpu).unwrap();
        fs::write(mount.path().join("cpu/tasks"), "").unwrap();
        let share = Share::below(mount.path(), "3:cpu,cpuacct:/job\n", 0.25).unwrap();
        let read = |file: &str| fs::read_to_string(share.group.join(file)).unwrap();
        assert!(share.group.starts_with(&cpu));
        assert_eq!(read("cpu.cfs_quota_us"), "25000");
        assert_eq!(read("cpu.cfs_period_us"), "100000");
    }

    #[test]
    fn version_2_hands_the_controller_down() {
        let mount = tempfile::tempdir().unwrap();
        let share = Share::below(mount.path(), "0::/\n", 1.5).unwrap();
        let read = |path: PathBuf| fs::read_to_string(path).unwrap();
        assert_eq!(read(mount.path().join("cgroup.subtree_control")), "+cpu");
        assert_eq!(read(share.group.join("cpu.max")), "150000 100000");
    }

    #[test]
    fn what_cannot_be_written_is_told_with_what_to_do() {
        let error = Share::below(Path::new("/proc/none"), "0::/\n", 1.0).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("/proc/none") && text.contains("Delegate=yes"),
            "{text}"
        );
    }
}
