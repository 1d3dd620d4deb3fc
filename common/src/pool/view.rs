//! The view of the pool that an observer builds from announcements.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::{
    jobs::JobKind,
    message::{NodePresence, Presence, RunId, RunPresence, Subject},
};

/// Number of announcements that may be missing before a subject counts as silent.
const MISSED: u32 = 3;

/// Longest announced interval that is accepted; a longer one is reduced to this.
const LONGEST_EVERY: Duration = Duration::from_secs(60);

/// Shortest time after which a subject counts as silent.
const SHORTEST_SILENCE: Duration = Duration::from_secs(5);

/// How long a silent subject is remembered.
const REMEMBERED: Duration = Duration::from_secs(300);

/// Most subjects of each sort that are remembered. Further ones are dropped, so that a flood of
/// announcements cannot fill the memory.
const MOST: usize = 10_000;

/// Most workers of a consumer; a larger announced number is reduced to this.
pub const MOST_WORKERS: u32 = 4096;

/// Greatest weight of a run; a larger announced weight is reduced to this.
pub const MOST_SHARE: u32 = 1000;

/// A consumer that announced itself.
#[derive(Debug, Clone)]
pub struct SeenNode {
    /// Its last announcement.
    pub presence: NodePresence,
    seen: Seen,
}

/// A run that announced itself.
#[derive(Debug, Clone)]
pub struct SeenRun {
    /// Its last announcement.
    pub presence: RunPresence,
    seen: Seen,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    at: Instant,
    every: Duration,
}

impl Seen {
    fn is_silent(&self, now: Instant) -> bool {
        let silence = (self.every * MISSED).max(SHORTEST_SILENCE);
        now.saturating_duration_since(self.at) > silence
    }

    fn is_forgotten(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) > REMEMBERED
    }
}

impl SeenNode {
    /// Whether its announcements have stopped without a farewell.
    #[must_use]
    pub fn is_silent(&self, now: Instant) -> bool {
        self.seen.is_silent(now)
    }

    /// Time since its last announcement was received.
    #[must_use]
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.seen.at)
    }

    /// Number of its workers, at most [`MOST_WORKERS`].
    #[must_use]
    pub fn workers(&self) -> u32 {
        self.presence.sample.workers.min(MOST_WORKERS)
    }
}

impl SeenRun {
    /// Whether its announcements have stopped without a farewell.
    #[must_use]
    pub fn is_silent(&self, now: Instant) -> bool {
        self.seen.is_silent(now)
    }

    /// Time since its last announcement was received.
    #[must_use]
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.seen.at)
    }
}

/// Numbers of members in the pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Census {
    /// Consumers that are not silent.
    pub nodes: u32,
    /// Workers of these consumers.
    pub workers: u32,
    /// Workers of these consumers that are busy.
    pub busy_workers: u32,
    /// Runs that are not silent.
    pub runs: u32,
}

/// The pool as its members announced it. All times are times of receipt on this machine: the clocks
/// of other machines are not trusted.
#[derive(Debug, Default)]
pub struct PoolView {
    nodes: HashMap<(String, u64), SeenNode>,
    runs: HashMap<RunId, SeenRun>,
}

impl PoolView {
    /// Records an announcement that was received at `now`.
    pub fn note(&mut self, presence: Presence, now: Instant) {
        let every = Duration::from_millis(presence.every_ms.into()).min(LONGEST_EVERY);
        let seen = Seen { at: now, every };
        self.forget(now);
        match presence.subject {
            Subject::Node(node) => {
                // A restarted consumer counts as a new one.
                let key = (node.name.clone(), node.sample.instance);
                if presence.leaves {
                    self.nodes.remove(&key);
                } else if self.nodes.len() < MOST || self.nodes.contains_key(&key) {
                    let presence = *node;
                    self.nodes.insert(key, SeenNode { presence, seen });
                }
            }
            Subject::Run(run) => {
                if presence.leaves {
                    self.runs.remove(&run.run);
                } else if self.runs.len() < MOST || self.runs.contains_key(&run.run) {
                    let presence = *run;
                    self.runs
                        .insert(presence.run.clone(), SeenRun { presence, seen });
                }
            }
        }
    }

    fn forget(&mut self, now: Instant) {
        self.nodes.retain(|_, node| !node.seen.is_forgotten(now));
        self.runs.retain(|_, run| !run.seen.is_forgotten(now));
    }

    /// All consumers, including silent ones, in no particular order.
    pub fn nodes(&self) -> impl Iterator<Item = &SeenNode> {
        self.nodes.values()
    }

    /// All runs, including silent ones, in no particular order.
    pub fn runs(&self) -> impl Iterator<Item = &SeenRun> {
        self.runs.values()
    }

    /// Counts the members, without silent ones.
    #[must_use]
    pub fn census(&self, now: Instant) -> Census {
        let mut census = Census::default();
        for node in self.nodes().filter(|node| !node.is_silent(now)) {
            let workers = node.workers();
            census.nodes += 1;
            census.workers = census.workers.saturating_add(workers);
            let busy = node.presence.sample.busy_workers.min(workers);
            census.busy_workers = census.busy_workers.saturating_add(busy);
        }
        let runs = self.runs().filter(|run| !run.is_silent(now)).count();
        census.runs = u32::try_from(runs).unwrap_or(u32::MAX);
        census
    }

    /// Consumers that accept jobs of this kind, including silent ones.
    fn all_takers(&self, kind: JobKind) -> impl Iterator<Item = &SeenNode> {
        self.nodes()
            .filter(move |node| node.presence.kinds.contains(&kind))
    }

    /// Consumers that accept jobs of this kind and are not silent.
    fn takers(&self, kind: JobKind, now: Instant) -> impl Iterator<Item = &SeenNode> {
        self.all_takers(kind)
            .filter(move |node| !node.is_silent(now))
    }

    /// Number of workers that accept jobs of this kind.
    #[must_use]
    pub fn workers(&self, kind: JobKind, now: Instant) -> u32 {
        let workers = self.takers(kind, now).map(SeenNode::workers);
        workers.fold(0, u32::saturating_add)
    }

    /// Number of consumers that accept jobs of this kind.
    #[must_use]
    pub fn consumers(&self, kind: JobKind, now: Instant) -> u32 {
        u32::try_from(self.takers(kind, now).count()).unwrap_or(u32::MAX)
    }

    /// Number of consumers that accept jobs of this kind and are silent: they probably hold no unit
    /// any more, as the broker redelivers the units of a lost connection.
    #[must_use]
    pub fn silent_consumers(&self, kind: JobKind, now: Instant) -> u32 {
        let silent = self.all_takers(kind).filter(|node| node.is_silent(now));
        u32::try_from(silent.count()).unwrap_or(u32::MAX)
    }

    /// Bits of the largest numbers that any consumer accepts for this kind; 0 without a consumer.
    #[must_use]
    pub fn max_bits(&self, kind: JobKind, now: Instant) -> u32 {
        let bits = self.takers(kind, now).map(|node| node.presence.max_bits);
        bits.max().unwrap_or(0)
    }

    /// Number of units, of all kinds, that the consumers which accept this kind hold.
    #[must_use]
    pub fn held(&self, kind: JobKind, now: Instant) -> u32 {
        let held = self
            .takers(kind, now)
            .map(|node| node.presence.sample.in_flight);
        held.fold(0, u32::saturating_add)
    }

    /// Sum of the weights of other runs that want more units.
    #[must_use]
    pub fn others_share(&self, own: &RunId, now: Instant) -> u64 {
        let runs = self.runs.values().filter(|run| !run.is_silent(now));
        let others = runs.filter(|run| run.presence.run != *own && run.presence.wants_more);
        others
            .map(|run| u64::from(run.presence.share.clamp(1, MOST_SHARE)))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::message::NodeSample;

    fn sample(instance: u64, workers: u32) -> NodeSample {
        NodeSample {
            instance,
            kernel: "gmp".into(),
            at_ns: 0,
            workers,
            busy_workers: 0,
            busy_s: 0.0,
            alive_s: 0.0,
            cores: 1.0,
            cpu_s: 0.0,
            cpu_pct: 0.0,
            pool_cpu_pct: 0.0,
            mem_used_bytes: 0,
            mem_total_bytes: 0,
            rss_bytes: 0,
            jobs_ok: 0,
            jobs_failed: 0,
            in_flight: 0,
        }
    }

    fn node(name: &str, instance: u64, workers: u32, leaves: bool) -> Presence {
        let node = NodePresence {
            name: name.into(),
            program: "0.1.0".into(),
            kinds: vec![JobKind::Prime],
            max_bits: 4096,
            sample: sample(instance, workers),
        };
        Presence::new(
            Subject::Node(Box::new(node)),
            Duration::from_secs(2),
            leaves,
        )
    }

    fn run(name: &str, share: u32, wants_more: bool, leaves: bool) -> Presence {
        let run = RunPresence {
            run: name.parse().unwrap(),
            what: "primes".into(),
            jobs: 1,
            done: 0,
            jobs_per_s: 0.0,
            since_ns: 0,
            by: None,
            share,
            wants_more,
        };
        Presence::new(Subject::Run(Box::new(run)), Duration::from_secs(2), leaves)
    }

    #[test]
    fn workers_count_until_their_consumer_leaves_or_falls_silent() {
        let (mut view, now) = (PoolView::default(), Instant::now());
        let at = |s| now + Duration::from_secs(s);
        view.note(node("a", 1, 2, false), now);
        view.note(node("b", 1, 4, false), now);
        assert_eq!(view.workers(JobKind::Prime, now), 6);
        assert_eq!(view.workers(JobKind::Factor, now), 0, "nobody takes them");
        assert_eq!(view.max_bits(JobKind::Prime, now), 4096);
        view.note(run("r1", 1, true, false), now);
        let mut census = Census {
            nodes: 2,
            workers: 6,
            busy_workers: 0,
            runs: 1,
        };
        assert_eq!(view.census(now), census);
        assert_eq!(view.max_bits(JobKind::Factor, now), 0);
        view.note(node("b", 1, 4, true), at(1));
        assert_eq!(view.workers(JobKind::Prime, at(1)), 2);
        assert_eq!(view.workers(JobKind::Prime, at(6)), 2);
        assert_eq!(view.workers(JobKind::Prime, at(7)), 0, "silent");
        assert_eq!(view.silent_consumers(JobKind::Prime, at(6)), 0);
        assert_eq!(view.silent_consumers(JobKind::Prime, at(7)), 1);
        assert_eq!(view.silent_consumers(JobKind::Factor, at(7)), 0);
        assert!(view.nodes().next().unwrap().is_silent(at(7)));
        assert_eq!(view.census(at(7)), Census::default());
        view.note(node("a", 2, 8, false), at(7));
        assert_eq!(view.workers(JobKind::Prime, at(7)), 8, "started again");
        assert_eq!(view.nodes().count(), 2);
        let mut busy = node("a", 2, 8, false);
        if let Subject::Node(node) = &mut busy.subject {
            node.sample.busy_workers = 9;
        }
        view.note(busy, at(7));
        census = view.census(at(7));
        assert_eq!((census.nodes, census.busy_workers), (1, 8));
        view.note(node("a", 2, 8, false), at(400));
        assert_eq!(view.nodes().count(), 1, "the silent one is forgotten");
    }

    #[test]
    fn only_runs_that_want_more_have_a_share() {
        let (mut view, now) = (PoolView::default(), Instant::now());
        let own = "r1".parse().unwrap();
        view.note(run("r1", 5, true, false), now);
        assert_eq!(view.others_share(&own, now), 0);
        view.note(run("r2", 2, true, false), now);
        view.note(run("r3", 0, true, false), now);
        view.note(run("r4", 7, false, false), now);
        assert_eq!(view.others_share(&own, now), 3, "a weight of 0 is 1");
        view.note(run("r2", 2, true, true), now);
        assert_eq!(view.others_share(&own, now), 1);
        assert_eq!(view.others_share(&own, now + Duration::from_secs(7)), 0);
    }

    #[test]
    fn numbers_of_others_are_bounded() {
        let (mut view, now) = (PoolView::default(), Instant::now());
        view.note(node("liar", 1, u32::MAX, false), now);
        assert_eq!(view.workers(JobKind::Prime, now), 4096);
        view.note(run("r2", u32::MAX, true, false), now);
        assert_eq!(view.others_share(&"r1".parse().unwrap(), now), 1000);
        for instance in 0..20_000 {
            view.note(node("flood", instance, 1, false), now);
        }
        assert_eq!(view.nodes().count(), 10_000);
        let mut forever = node("late", 1, 1, false);
        forever.every_ms = u32::MAX;
        let mut view = PoolView::default();
        view.note(forever, now);
        assert_eq!(
            view.workers(JobKind::Prime, now + Duration::from_secs(181)),
            0
        );
    }
}
