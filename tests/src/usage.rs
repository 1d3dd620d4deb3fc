//! What processes use, for benchmarks.

use std::fs;

/// CPU time of a process so far, in seconds.
#[must_use]
pub fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
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
