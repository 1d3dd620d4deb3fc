//! A report as text that fits one screen.

use std::fmt::Write;

use crate::{
    columns::{Align::Left, Align::Right, Table, about, cut, or_dash, silent_for},
    report::{NodeLine, QueueLine, Report, RunLine},
};

/// Most lines of the nodes, and of the runs.
const ROWS: usize = 20;

/// Most lines of the reasons of dead letters.
const REASONS: usize = 5;

/// Most characters of a run's description, and of its user.
const WIDEST: usize = 28;

/// Most characters of a reason.
const WIDEST_REASON: usize = 90;

/// The whole report: sections separated by empty lines.
pub(super) fn screen(report: &Report) -> String {
    let mut text = format!("{}\n", report.broker);
    for section in [
        nodes(&report.nodes),
        runs(&report.runs),
        queues(&report.queues),
        dead(report),
        list("ALARMS", &report.alarms),
        list("NOT KNOWN", &report.unknown),
    ] {
        if !section.is_empty() {
            text.push('\n');
            text.push_str(&section);
        }
    }
    text
}

fn nodes(nodes: &[NodeLine]) -> String {
    if nodes.is_empty() {
        return "no node has announced itself in the last seconds\n".to_owned();
    }
    let mut table = Table::new(&[
        ("NODE", Left),
        ("BUSY", Right),
        ("UNITS", Right),
        ("CPU", Right),
        ("MEM", Right),
        ("JOBS OK", Right),
        ("FAILED", Right),
        ("KERNEL", Left),
        ("KINDS", Left),
        ("", Left),
    ]);
    for node in nodes.iter().take(ROWS) {
        let kinds: Vec<_> = node.kinds.iter().map(|kind| kind.as_str()).collect();
        table.row(vec![
            node.node.clone(),
            format!("{}/{}", node.busy_workers, node.workers),
            node.in_flight.to_string(),
            format!("{:.0}%", node.cpu_pct),
            format!("{:.0}%", node.mem_pct),
            node.jobs_ok.to_string(),
            node.jobs_failed.to_string(),
            node.kernel.clone(),
            cut(&kinds.join(","), WIDEST),
            silence(node.silent_s),
        ]);
    }
    let mut text = table.render();
    if nodes.len() > 1 {
        let sum = |of: fn(&NodeLine) -> u32| nodes.iter().map(|n| u64::from(of(n))).sum::<u64>();
        let (busy, workers) = (sum(|node| node.busy_workers), sum(|node| node.workers));
        let _ = writeln!(
            text,
            "{} nodes, {busy} of {workers} workers busy",
            nodes.len()
        );
    }
    text + &more(nodes.len())
}

fn runs(runs: &[RunLine]) -> String {
    if runs.is_empty() {
        return "no run has announced itself in the last seconds\n".to_owned();
    }
    let mut table = Table::new(&[
        ("RUN", Left),
        ("JOBS", Left),
        ("BY", Left),
        ("DONE", Right),
        ("OF", Right),
        ("", Right),
        ("JOBS/S", Right),
        ("LEFT", Right),
        ("SHARE", Right),
        ("", Left),
    ]);
    for run in runs.iter().take(ROWS) {
        let percent = 100.0 * run.done as f64 / run.jobs.max(1) as f64;
        table.row(vec![
            run.run.to_string(),
            cut(&run.what, WIDEST),
            cut(run.by.as_deref().unwrap_or("-"), WIDEST),
            run.done.to_string(),
            run.jobs.to_string(),
            format!("{percent:.0}%"),
            format!("{:.1}", run.jobs_per_s),
            or_dash(run.left_s.map(about)),
            run.share.to_string(),
            silence(run.silent_s),
        ]);
    }
    table.render() + &more(runs.len())
}

fn queues(queues: &[QueueLine]) -> String {
    if queues.is_empty() {
        return String::new();
    }
    let has_figures = queues.iter().any(|queue| queue.unacked.is_some());
    let mut columns = vec![("QUEUE", Left), ("READY", Right), ("CONSUMERS", Right)];
    if has_figures {
        columns.extend([("UNACKED", Right), ("IN/S", Right), ("OUT/S", Right)]);
    }
    let mut table = Table::new(&columns);
    for queue in queues {
        let mut row = vec![
            queue.queue.clone(),
            queue.ready.to_string(),
            queue.consumers.to_string(),
        ];
        if has_figures {
            let rate = |rate: Option<f64>| or_dash(rate.map(|r| format!("{r:.1}")));
            row.extend([
                or_dash(queue.unacked),
                rate(queue.publish_rate),
                rate(queue.deliver_rate),
            ]);
        }
        table.row(row);
    }
    table.render()
}

fn dead(report: &Report) -> String {
    if report.dead.reasons.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&[("DEAD", Right), ("REASON", Left)]);
    for count in report.dead.reasons.iter().take(REASONS) {
        table.row(vec![
            count.letters.to_string(),
            cut(&count.reason, WIDEST_REASON),
        ]);
    }
    let more = report.dead.reasons.len().saturating_sub(REASONS);
    match more {
        0 => table.render(),
        more => format!("{}… and {more} more reasons\n", table.render()),
    }
}

fn list(title: &str, lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let lines: String = lines.iter().map(|line| format!("  {line}\n")).collect();
    format!("{title}\n{lines}")
}

fn silence(silent_s: Option<u64>) -> String {
    silent_s.map_or_else(String::new, silent_for)
}

fn more(count: usize) -> String {
    match count.saturating_sub(ROWS) {
        0 => String::new(),
        more => format!("… and {more} more: --json has all\n"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Instant;

    use primepool_common::{jobs::JobKind, pool::PoolView};

    use super::*;
    use crate::report::{
        DeadLetters, count_reasons, node_lines, run_lines,
        tests::{node_presence, run_presence},
    };

    fn report(nodes: usize) -> Report {
        let (mut view, now) = (PoolView::default(), Instant::now());
        for node in 0..nodes {
            view.note(node_presence(&format!("node-{node:03}")), now);
        }
        let fields =
            r#""what":"primes of 64 bits","by":"u@h","jobs":50,"done":10,"jobs_per_s":0.1"#;
        view.note(run_presence("r1", fields), now);
        Report {
            broker: "amqp://u@h:5672/v".to_owned(),
            nodes: node_lines(&view, now),
            runs: run_lines(&view, now),
            queues: vec![QueueLine {
                queue: "primepool.jobs.prime".to_owned(),
                kind: Some(JobKind::Prime),
                ready: 3,
                consumers: 1,
                unacked: None,
                publish_rate: None,
                deliver_rate: None,
            }],
            dead: DeadLetters {
                letters: 2,
                reasons: count_reasons(["not a work unit"; 2].into_iter()),
            },
            alarms: vec!["look here".to_owned()],
            unknown: Vec::new(),
        }
    }

    #[test]
    fn a_small_pool_is_shown_in_full() {
        let shown = screen(&report(1));
        for line in [
            "amqp://u@h:5672/v",
            "node-000   1/2      4  100%  75%        5       0  gmp     prime",
            "r1   primes of 64 bits  u@h    10  50  20%     0.1  6 min      1",
            "primepool.jobs.prime      3          1",
            "   2  not a work unit",
            "  look here",
        ] {
            assert!(shown.lines().any(|l| l == line), "{line:?} in\n{shown}");
        }
        assert!(!shown.contains("NOT KNOWN"), "{shown}");
    }

    #[test]
    fn a_large_pool_fits_one_screen() {
        let shown = screen(&report(300));
        assert!(
            shown.contains("300 nodes, 300 of 600 workers busy"),
            "{shown}"
        );
        assert!(shown.contains("… and 280 more"), "{shown}");
        assert!(shown.lines().count() < 45, "{shown}");
        let mut empty = report(0);
        empty.runs.clear();
        let shown = screen(&empty);
        assert!(shown.contains("no node has announced itself"), "{shown}");
    }
}
