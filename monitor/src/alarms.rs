//! The conditions in a report that need the operator, each with what to do.

use primepool_common::broker::BrokerNode;

use crate::report::{NodeLine, Report};

/// Most silent nodes or runs that an alarm names; the others are only counted.
const NAMED: usize = 3;

/// The alarms of a report. `broker`: state of the broker's nodes, empty if it is not known.
pub(crate) fn alarms(report: &Report, broker: &[BrokerNode]) -> Vec<String> {
    let mut alarms = broker_alarms(broker);
    for queue in &report.queues {
        let Some(kind) = queue.kind else { continue };
        if queue.ready > 0 && queue.consumers == 0 {
            alarms.push(format!(
                "no consumer takes jobs of kind {kind}, of which {} in the queue: start one with \
                 `consumer --kinds {kind}`, or with all kinds",
                units(queue.ready)
            ));
        }
    }
    let silent = report.nodes.iter().filter(|node| node.silent_s.is_some());
    let silent: Vec<_> = silent.map(node_and_silence).collect();
    if !silent.is_empty() {
        alarms.push(format!(
            "no announcement from {}: the broker gives its units to others; look at its log, or start \
             the consumer again",
            some_of(&silent)
        ));
    }
    let silent = report.runs.iter().filter_map(|run| {
        let silence = run.silent_s?;
        Some(format!("{} for {silence} s", run.run))
    });
    let silent: Vec<_> = silent.collect();
    if !silent.is_empty() {
        alarms.push(format!(
            "no announcement from the producer of run {}: if it died, `producer resume RUN` goes on \
             where it was started",
            some_of(&silent)
        ));
    }
    if report.dead.letters > 0 {
        let (letters, are) = match report.dead.letters {
            1 => ("1 dead letter".to_owned(), "is"),
            letters => (format!("{letters} dead letters"), "are"),
        };
        alarms.push(format!(
            "{letters} {are} in primepool.dead: `primepool dead list` shows why"
        ));
    }
    alarms
}

fn broker_alarms(broker: &[BrokerNode]) -> Vec<String> {
    let mut alarms = Vec::new();
    for node in broker {
        let name = &node.name;
        if !node.is_running {
            alarms.push(format!("the broker's node {name} does not run: start it"));
        }
        if node.has_memory_alarm {
            alarms.push(format!(
                "the broker's node {name} is short of memory and blocks producers and consumers: \
                 consume what waits, or give it more memory"
            ));
        }
        if node.has_disk_alarm {
            alarms.push(format!(
                "the broker's node {name} is short of disk space and blocks producers and consumers: \
                 free some space"
            ));
        }
    }
    alarms
}

fn node_and_silence(node: &NodeLine) -> String {
    format!("{} for {} s", node.node, node.silent_s.unwrap_or_default())
}

fn units(count: u64) -> String {
    match count {
        1 => "1 unit is".to_owned(),
        count => format!("{count} units are"),
    }
}

fn some_of(names: &[String]) -> String {
    let named = names[..names.len().min(NAMED)].join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use primepool_common::{jobs::JobKind, pool::PoolView};

    use super::*;
    use crate::report::{
        DeadLetters, QueueLine, node_lines, run_lines,
        tests::{node_presence, run_presence},
    };

    fn report() -> Report {
        Report {
            broker: String::new(),
            nodes: Vec::new(),
            runs: Vec::new(),
            queues: Vec::new(),
            dead: DeadLetters::default(),
            alarms: Vec::new(),
            unknown: Vec::new(),
        }
    }

    fn queue(kind: Option<JobKind>, ready: u64, consumers: u32) -> QueueLine {
        QueueLine {
            queue: String::new(),
            kind,
            ready,
            consumers,
            unacked: None,
            publish_rate: None,
            deliver_rate: None,
        }
    }

    #[test]
    fn a_pool_at_rest_has_no_alarm() {
        let mut report = report();
        report.queues = vec![
            queue(Some(JobKind::Prime), 0, 0),
            queue(Some(JobKind::Factor), 7, 1),
            queue(None, 7, 0),
        ];
        assert_eq!(alarms(&report, &[]), Vec::<String>::new());
    }

    #[test]
    fn each_trouble_has_its_alarm() {
        let mut report = report();
        report.queues = vec![queue(Some(JobKind::Factor), 7, 0)];
        report.dead.letters = 1;
        let (mut view, now) = (PoolView::default(), Instant::now());
        for node in ["a", "b", "c", "d"] {
            view.note(node_presence(node), now);
        }
        let fields = r#""what":"x","jobs":9,"done":1,"jobs_per_s":1.0"#;
        view.note(run_presence("r1", fields), now);
        let later = now + Duration::from_secs(30);
        report.nodes = node_lines(&view, later);
        report.runs = run_lines(&view, later);
        let broker = BrokerNode {
            name: "rabbit@head".to_owned(),
            is_running: true,
            has_memory_alarm: true,
            has_disk_alarm: false,
        };
        let alarms = alarms(&report, &[broker]);
        for (alarm, text) in alarms.iter().zip([
            "rabbit@head is short of memory",
            "kind factor, of which 7 units are in the queue",
            "a for 30 s, b for 30 s, c for 30 s and 1 more",
            "run r1 for 30 s",
            "1 dead letter is in primepool.dead",
        ]) {
            assert!(alarm.contains(text), "{alarm}");
        }
        assert_eq!(alarms.len(), 5, "{alarms:?}");
    }
}
