//! What benchmarks share: what processes use, and how figures are shown.

use std::fs;

/// CPU time of a process so far, in seconds.
#[must_use]
pub fn cpu_seconds(pid: u32) -> f64 {
    of_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).unwrap())
}

/// CPU time so far of those threads of a process that have this name, in seconds; of threads that have ended it is not known.
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
    // After the name, which is in brackets: the twelfth and thirteenth field, in hundredths of a second.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks.map(|t| t.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}

/// Bytes that went over the loopback device, headers included: all that producer, broker and consumers said to each other.
#[must_use]
pub fn loopback_bytes() -> f64 {
    // Of this process's network; what /sys shows is that of whoever mounted it.
    let devices = fs::read_to_string("/proc/self/net/dev").unwrap();
    let line = devices
        .lines()
        .find_map(|l| l.trim().strip_prefix("lo:"))
        .unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Median, least and largest, with so many digits.
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

/// A variable of the environment, or what stands for it.
#[must_use]
pub fn setting(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}
