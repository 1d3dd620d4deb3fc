//! Shared parts of the benchmarks: resource usage of processes, and formatting of figures.

use std::fs;

/// CPU time of a process so far, in seconds.
#[must_use]
pub fn cpu_seconds(pid: u32) -> f64 {
    of_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).unwrap())
}

/// CPU time so far of a process's threads with this name, in seconds; without threads that have
/// ended.
#[must_use]
pub fn thread_cpu_seconds(pid: u32, name: &str) -> f64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let stats =
        threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("stat")).ok());
    stats
        .filter(|stat| stat.contains(&format!("({name})")))
        .map(|stat| of_stat(&stat))
        .sum()
}

fn of_stat(stat: &str) -> f64 {
    // The name is in parentheses. In the fields after it, the twelfth and thirteenth are the user
    // and system time, in hundredths of a second.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks.map(|t| t.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}

/// Bytes sent over the loopback device, headers included: all traffic between producer, broker and
/// consumers.
#[must_use]
pub fn loopback_bytes() -> f64 {
    // The devices of this process's network namespace; /sys shows those of the namespace that
    // mounted it.
    let devices = fs::read_to_string("/proc/self/net/dev").unwrap();
    let line = devices
        .lines()
        .find_map(|l| l.trim().strip_prefix("lo:"))
        .unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Median, minimum and maximum of the values, with this number of decimals.
#[must_use]
pub fn median_and_range(mut values: Vec<f64>, digits: usize) -> String {
    values.sort_unstable_by(f64::total_cmp);
    let (median, least, most) = (
        values[values.len() / 2],
        values[0],
        values[values.len() - 1],
    );
    format!("{median:.digits$} ({least:.digits$}–{most:.digits$})")
}

/// The value of an environment variable, or `default` if it is not set.
#[must_use]
pub fn setting(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}
