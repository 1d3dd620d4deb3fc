//! The state of the pool at one moment: bounded, sorted, and safe to print.

use std::time::{Duration, Instant};

use primepool_common::{
    jobs::JobKind,
    message::{RunId, RunPresence},
    pool::{PoolView, SeenNode, SeenRun},
};
use serde::Serialize;

/// Longest time left that is shown, in seconds; a slower run has no estimate.
const LONGEST_LEFT_S: f64 = 10.0 * 365.0 * 24.0 * 3600.0;

/// Highest rate of a run that is shown; a higher announced rate is clamped to it.
const MOST_JOBS_PER_S: f64 = 1e12;

/// Report on the pool at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Report {
    /// Address of the broker, without the password.
    pub(crate) broker: String,
    /// Consumers, sorted by name.
    pub(crate) nodes: Vec<NodeLine>,
    /// Runs whose producers are at work, sorted by name.
    pub(crate) runs: Vec<RunLine>,
    /// The queues that all runs share.
    pub(crate) queues: Vec<QueueLine>,
    /// Number of messages in `primepool.dead`, and their reasons.
    pub(crate) dead: DeadLetters,
    /// Conditions that need the operator.
    pub(crate) alarms: Vec<String>,
    /// Parts that are missing from this report, each with the cause.
    pub(crate) unknown: Vec<String>,
}

/// A consumer, from its last announcement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct NodeLine {
    pub(crate) node: String,
    /// Distinguishes this process from an earlier one with the same name.
    pub(crate) instance: u64,
    /// Version of the program.
    pub(crate) program: String,
    /// Arithmetic kernel of the prime search.
    pub(crate) kernel: String,
    pub(crate) kinds: Vec<JobKind>,
    pub(crate) workers: u32,
    pub(crate) busy_workers: u32,
    /// Units that the consumer holds.
    pub(crate) in_flight: u32,
    /// CPU use by all processes, in per cent of the machine's cores or of the container's limit.
    pub(crate) cpu_pct: f64,
    /// Memory use by all processes, in per cent of the machine's or of the container's limit.
    pub(crate) mem_pct: f64,
    pub(crate) jobs_ok: u64,
    pub(crate) jobs_failed: u64,
    /// Seconds since its last announcement, once several are missing.
    pub(crate) silent_s: Option<u64>,
}

/// A run, from its last announcement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct RunLine {
    pub(crate) run: RunId,
    /// Description of its jobs, such as `primes of 1024 bits`.
    pub(crate) what: String,
    /// `user@host` of the producer, if it announces that.
    pub(crate) by: Option<String>,
    pub(crate) jobs: u64,
    pub(crate) done: u64,
    pub(crate) jobs_per_s: f64,
    /// Estimated seconds until the end, at the current rate.
    pub(crate) left_s: Option<f64>,
    /// Weight among the runs that share the pool.
    pub(crate) share: u32,
    /// Seconds since its last announcement, once several are missing.
    pub(crate) silent_s: Option<u64>,
}

/// A queue and its message counts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct QueueLine {
    pub(crate) queue: String,
    /// Kind of the jobs, if this is a queue of work units.
    pub(crate) kind: Option<JobKind>,
    /// Messages ready for delivery.
    pub(crate) ready: u64,
    pub(crate) consumers: u32,
    /// Messages delivered and not yet acknowledged.
    pub(crate) unacked: Option<u64>,
    /// Messages published to the queue, per second.
    pub(crate) publish_rate: Option<f64>,
    /// Messages delivered, per second.
    pub(crate) deliver_rate: Option<f64>,
}

/// Number of messages in `primepool.dead`, and their reasons.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct DeadLetters {
    pub(crate) letters: u64,
    /// Reasons of the letters that were read, most frequent first.
    pub(crate) reasons: Vec<ReasonCount>,
}

/// Number of dead letters with the same reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ReasonCount {
    pub(crate) reason: String,
    pub(crate) letters: u64,
}

/// The consumers in `view`, sorted by name.
pub(crate) fn node_lines(view: &PoolView, now: Instant) -> Vec<NodeLine> {
    let mut lines: Vec<_> = view.nodes().map(|node| node_line(node, now)).collect();
    lines.sort_by(|a, b| (&a.node, a.silent_s).cmp(&(&b.node, b.silent_s)));
    lines
}

/// The runs in `view`, sorted by name.
pub(crate) fn run_lines(view: &PoolView, now: Instant) -> Vec<RunLine> {
    let line = |run: &SeenRun| {
        let silent_s = silent_s(run.is_silent(now), run.age(now));
        run_line(&run.presence, silent_s)
    };
    let mut lines: Vec<_> = view.runs().map(line).collect();
    lines.sort_by(|a, b| a.run.cmp(&b.run));
    lines
}

fn node_line(node: &SeenNode, now: Instant) -> NodeLine {
    let presence = &node.presence;
    let sample = &presence.sample;
    let workers = node.workers();
    let used = sample.mem_used_bytes as f64 / sample.mem_total_bytes.max(1) as f64;
    NodeLine {
        node: presence.name.clone(),
        instance: sample.instance,
        program: plain(&presence.program),
        kernel: plain(&sample.kernel),
        kinds: presence.kinds.clone(),
        workers,
        busy_workers: sample.busy_workers.min(workers),
        in_flight: sample.in_flight,
        cpu_pct: within(sample.cpu_pct, 100.0),
        mem_pct: within(100.0 * used, 100.0),
        jobs_ok: sample.jobs_ok,
        jobs_failed: sample.jobs_failed,
        silent_s: silent_s(node.is_silent(now), node.age(now)),
    }
}

/// The line for a run. `silent_s`: seconds since its last announcement, if several are missing.
pub(crate) fn run_line(presence: &RunPresence, silent_s: Option<u64>) -> RunLine {
    let done = presence.done.min(presence.jobs);
    let jobs_per_s = within(presence.jobs_per_s, MOST_JOBS_PER_S);
    let left_s = (presence.jobs - done) as f64 / jobs_per_s;
    RunLine {
        run: presence.run.clone(),
        what: plain(&presence.what),
        by: presence.by.as_deref().map(plain),
        jobs: presence.jobs,
        done,
        jobs_per_s,
        // With a rate of 0 this is infinity or NaN: neither passes the comparison.
        left_s: (silent_s.is_none() && left_s <= LONGEST_LEFT_S).then_some(left_s),
        share: presence.share.clamp(1, primepool_common::pool::MOST_SHARE),
        silent_s,
    }
}

/// Text from another program, made safe for a terminal.
fn plain(text: &str) -> String {
    primepool_common::text::reason(text)
}

fn silent_s(is_silent: bool, age: Duration) -> Option<u64> {
    is_silent.then_some(age.as_secs())
}

/// `number` clamped to 0 to `most`; 0 for NaN.
fn within(number: f64, most: f64) -> f64 {
    if number.is_nan() {
        0.0
    } else {
        number.clamp(0.0, most)
    }
}

/// Counts the reasons: most frequent first, ties in alphabetical order.
pub(crate) fn count_reasons<'r>(reasons: impl Iterator<Item = &'r str>) -> Vec<ReasonCount> {
    let mut counts = std::collections::BTreeMap::<&str, u64>::new();
    for reason in reasons {
        *counts.entry(reason).or_default() += 1;
    }
    let mut counts: Vec<_> = counts
        .into_iter()
        .map(|(reason, letters)| ReasonCount {
            reason: reason.to_owned(),
            letters,
        })
        .collect();
    counts.sort_by_key(|count| std::cmp::Reverse(count.letters));
    counts
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use primepool_common::message::Presence;

    use super::*;

    /// The announcement of a run; `fields` are further JSON fields, with values that may be
    /// invalid.
    pub(crate) fn run_presence(run: &str, fields: &str) -> Presence {
        let body = format!(
            r#"{{"version":1,"every_ms":2000,"run":{{"run":"{run}","since_ns":0,"share":1,"wants_more":true,{fields}}}}}"#
        );
        Presence::decode(body.as_bytes()).unwrap()
    }

    /// The announcement of a consumer with two workers for primes, one of them busy.
    pub(crate) fn node_presence(name: &str) -> Presence {
        node_presence_with(name, r#""workers":2,"busy_workers":1"#)
    }

    fn node_presence_with(name: &str, workers: &str) -> Presence {
        let body = format!(
            r#"{{"version":1,"every_ms":2000,"node":{{"name":"{name}","program":"0.1\u001b[2J","kinds":["prime"],"max_bits":4096,"sample":{{"instance":1,"kernel":"gmp","at_ns":2,{workers},"busy_s":0.5,"alive_s":1.5,"cores":2.0,"cpu_s":0.25,"cpu_pct":5000.0,"pool_cpu_pct":12.5,"mem_used_bytes":3,"mem_total_bytes":4,"rss_bytes":2,"jobs_ok":5,"jobs_failed":0,"in_flight":4}}}}}}"#
        );
        Presence::decode(body.as_bytes()).unwrap()
    }

    /// A report with one node and these runs (name, jobs per second); 10 of 100 jobs of each are
    /// done.
    pub(crate) fn report(runs: &[(&str, f64)]) -> Report {
        let (mut view, now) = (PoolView::default(), Instant::now());
        view.note(node_presence("n1"), now);
        for (run, rate) in runs {
            let fields =
                format!(r#""what":"primes of 64 bits","jobs":100,"done":10,"jobs_per_s":{rate}"#);
            view.note(run_presence(run, &fields), now);
        }
        Report {
            broker: "amqp://u@h:5672/v".to_owned(),
            nodes: node_lines(&view, now),
            runs: run_lines(&view, now),
            queues: Vec::new(),
            dead: DeadLetters::default(),
            alarms: vec!["look here".to_owned()],
            unknown: Vec::new(),
        }
    }

    #[test]
    fn announcements_are_bounded_and_plain() {
        let (mut view, now) = (PoolView::default(), Instant::now());
        view.note(
            node_presence_with("liar", r#""workers":4000000000,"busy_workers":4000000000"#),
            now,
        );
        view.note(node_presence("a"), now);
        let nodes = node_lines(&view, now);
        assert_eq!((&*nodes[0].node, nodes[0].busy_workers), ("a", 1));
        assert_eq!((nodes[1].workers, nodes[1].busy_workers), (4096, 4096));
        assert_eq!(&*nodes[1].program, "0.1 [2J");
        assert_eq!((nodes[1].cpu_pct, nodes[1].mem_pct), (100.0, 75.0));
        view.note(
            run_presence(
                "r2",
                r#""what":"\u001b]0;x\u0007","jobs":5,"done":9,"jobs_per_s":-1e300,"by":"\u202eu@h""#,
            ),
            now,
        );
        view.note(
            run_presence(
                "r1",
                r#""what":"primes","jobs":50,"done":10,"jobs_per_s":4.0"#,
            ),
            now,
        );
        let runs = run_lines(&view, now);
        assert_eq!((runs[0].left_s, &*runs[0].what), (Some(10.0), "primes"));
        assert_eq!(
            (runs[1].done, runs[1].left_s, runs[1].jobs_per_s),
            (5, None, 0.0)
        );
        assert_eq!(runs[1].by.as_deref(), Some(" u@h"));
        assert_eq!(&*runs[1].what, " ]0;x ");
    }

    #[test]
    fn silence_is_told_by_the_time_of_arrival() {
        let (mut view, now) = (PoolView::default(), Instant::now());
        view.note(node_presence("a"), now);
        view.note(
            run_presence("r1", r#""what":"x","jobs":9,"done":1,"jobs_per_s":1.0"#),
            now,
        );
        let later = now + Duration::from_secs(30);
        assert_eq!(node_lines(&view, later)[0].silent_s, Some(30));
        let run = &run_lines(&view, later)[0];
        assert_eq!((run.silent_s, run.left_s), (Some(30), None));
    }

    #[test]
    fn frequent_reasons_come_first() {
        let counts = count_reasons(["b", "a", "c", "c"].into_iter());
        let counts: Vec<_> = counts
            .iter()
            .map(|count| (&*count.reason, count.letters))
            .collect();
        assert_eq!(counts, [("c", 2), ("a", 1), ("b", 1)]);
    }
}
