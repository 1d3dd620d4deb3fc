//! The CPU limit of this process's control group, as set for containers.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A control group with a CPU limit, and the file with its CPU usage.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CpuLimit {
    /// CPU time per second that the group may use, in cores; may be below 1.
    pub cores: f64,
    usage: Usage,
}

#[derive(Debug, Clone, PartialEq)]
enum Usage {
    /// Version 2: the file `cpu.stat`, in µs.
    Stat(PathBuf),
    /// Version 1: the file `cpuacct.usage`, in ns.
    Account(PathBuf),
}

impl CpuLimit {
    /// The nearest limit in the hierarchy above this process; `None` without a limit or without
    /// control groups.
    #[must_use]
    pub(crate) fn find() -> Option<Self> {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        Self::find_below(Path::new("/sys/fs/cgroup"), &groups)
    }

    /// `groups` is the text of `/proc/self/cgroup`, lines of the form `id:controllers:path`;
    /// `mount` is the mount point of the control groups.
    fn find_below(mount: &Path, groups: &str) -> Option<Self> {
        for line in groups.lines() {
            let mut parts = line.splitn(3, ':');
            let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            let read = if controllers.is_empty() {
                Self::version_2
            } else if controllers.split(',').any(|name| name == "cpu") {
                Self::version_1
            } else {
                continue;
            };
            let root = match controllers {
                "" => mount.to_owned(),
                // Version 1 is mounted under the names of all its controllers, usually with a link
                // for each; the link `cpu` is more likely to exist.
                _ if mount.join("cpu").is_dir() => mount.join("cpu"),
                _ => mount.join(controllers),
            };
            // In a container, the mount may show the group itself while the path is still that of
            // the host.
            let own = root.join(path.trim_start_matches('/'));
            let mut above = own.ancestors().take_while(|group| group.starts_with(&root));
            if let Some(limit) = above.find_map(read) {
                return Some(limit);
            }
        }
        None
    }

    fn version_2(group: &Path) -> Option<Self> {
        let text = fs::read_to_string(group.join("cpu.max")).ok()?;
        let (quota, period) = text.trim().split_once(' ')?;
        Self::new(quota, period, Usage::Stat(group.join("cpu.stat")))
    }

    fn version_1(group: &Path) -> Option<Self> {
        let quota = fs::read_to_string(group.join("cpu.cfs_quota_us")).ok()?;
        let period = fs::read_to_string(group.join("cpu.cfs_period_us")).ok()?;
        let usage = Usage::Account(group.join("cpuacct.usage"));
        Self::new(quota.trim(), period.trim(), usage)
    }

    /// `max` or `-1` means that there is no limit.
    fn new(quota: &str, period: &str, usage: Usage) -> Option<Self> {
        let cores = quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?;
        (cores > 0.0).then_some(Self { cores, usage })
    }

    /// CPU time that the group has used since it was created, in seconds. `None` without
    /// accounting, as in version 1 if cpu and cpuacct are mounted separately.
    #[must_use]
    pub(crate) fn used_s(&self) -> Option<f64> {
        match &self.usage {
            Usage::Stat(file) => {
                let text = fs::read_to_string(file).ok()?;
                let line = text.lines().find_map(|l| l.strip_prefix("usage_usec "))?;
                Some(line.parse::<f64>().ok()? / 1e6)
            }
            Usage::Account(file) => {
                let text = fs::read_to_string(file).ok()?;
                Some(text.trim().parse::<f64>().ok()? / 1e9)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tempfile::{TempDir, tempdir};

    use super::*;

    fn files(files: &[(&str, &str)]) -> TempDir {
        let dir = tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn version_2_takes_the_nearest_limit() {
        let mount = files(&[
            ("pod/cpu.max", "150000 100000\n"),
            ("pod/cpu.stat", "usage_usec 2500000\nuser_usec 1\n"),
            ("pod/box/cpu.max", "max 100000\n"),
            ("pod/box/cpu.stat", "usage_usec 1\n"),
        ]);
        let limit = CpuLimit::find_below(mount.path(), "0::/pod/box\n").unwrap();
        assert_eq!((limit.cores, limit.used_s()), (1.5, Some(2.5)));
        assert_eq!(CpuLimit::find_below(mount.path(), "0::/other\n"), None);
    }

    #[test]
    fn version_1_without_an_account_has_its_limit() {
        let mount = files(&[
            ("cpu/node/cpu.cfs_quota_us", "25000\n"),
            ("cpu/node/cpu.cfs_period_us", "100000\n"),
            ("cpuacct/cpuacct.usage", "5000000000\n"),
        ]);
        let groups = "2:cpuacct:/\n1:cpu:/node\n0::/\n";
        let limit = CpuLimit::find_below(mount.path(), groups).unwrap();
        assert_eq!((limit.cores, limit.used_s()), (0.25, None));
    }

    #[test]
    fn version_1_in_a_container_sees_itself_at_the_root() {
        let mount = files(&[
            ("cpu,cpuacct/cpu.cfs_quota_us", "25000\n"),
            ("cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            ("cpu,cpuacct/cpuacct.usage", "3000000000\n"),
        ]);
        let groups = "5:memory:/docker/1\n4:cpu,cpuacct:/docker/1\n";
        let limit = CpuLimit::find_below(mount.path(), groups).unwrap();
        assert_eq!((limit.cores, limit.used_s()), (0.25, Some(3.0)));
    }

    #[test]
    fn no_limit_is_none() {
        let mount = files(&[
            ("cpu/cpu.cfs_quota_us", "-1\n"),
            ("cpu/cpu.cfs_period_us", "100000\n"),
            ("cpu/cpuacct.usage", "1\n"),
        ]);
        assert_eq!(CpuLimit::find_below(mount.path(), "4:cpu:/\n"), None);
        assert_eq!(CpuLimit::find_below(mount.path(), ""), None);
    }
}
