//! Integers that are too hard for one worker: their work is spread over the pool.
//!
//! A unit of the run takes an integer apart as far as one worker does ([`SPREAD_ABOVE_BITS`]). If a composite is left, the integer becomes a
//! [`Campaign`] here: batches of curves, then ranges of the quadratic sieve, as many at a time as the workers need. These units are
//! made while the run goes, with what is known by then, and are numbered by groups: a group is a stage of one composite, and is
//! cancelled as a whole when its stage is over. None of them has to come back: batches are as good as each other, and one that is slow or lost is
//! replaced. What was found is in the job's checkpoint, on disk, before its message is acknowledged.

mod campaign;
mod checkpoint;

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
    sync::mpsc::Sender,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use primepool_common::{
    clock::unix_ns,
    message::{
        Factorization, HexInteger, MAX_AVOIDED, NodeSample, VERSION, Work, WorkUnit, group_of,
    },
    metrics::Point,
};
use primepool_engine::{Integer, factor::spread::Collector};

pub use self::campaign::{Answer, Standing, Verdict};
use self::{
    campaign::{Campaign, Issue},
    checkpoint::{Checkpoint, Entry},
};
use crate::{
    folder::{Folder, FolderError, Manifest, file_error, write_whole},
    sink::SinkInput,
};

/// Composites of more bits are spread over the pool: at this size one worker takes some seconds.
pub const SPREAD_ABOVE_BITS: u32 = 200;

/// Name in the place of a node's, of what many have found together.
pub const POOL: &str = "(pool)";

/// Units that each worker has at a time: one at work, and the next.
const UNITS_A_WORKER: f64 = 2.0;

/// A node that has said nothing for so long is not counted on.
const SILENCE: Duration = Duration::from_secs(120);

/// Workers of a node that has not said how many it has: two cores are the least a node has.
const WORKERS_A_NODE: f64 = 2.0;

/// The hard integers of a run.
pub struct Spread {
    folder: PathBuf,
    campaigns: BTreeMap<u64, (Campaign, Checkpoint)>,
    groups: Groups,
    /// Workers of each node, and when it said so.
    nodes: HashMap<String, (u32, Instant)>,
    /// Consumers that are subscribed.
    consumers: u32,
    to_sink: Sender<SinkInput>,
}

/// What a linear algebra has come to.
#[derive(Debug)]
pub struct Solved {
    job: u64,
    collector: Box<Collector>,
    divisor: Result<Option<Integer>, String>,
    us: u64,
}

/// What is to be published.
#[derive(Debug, Default)]
pub struct Orders {
    /// Units.
    pub units: Vec<WorkUnit>,
    /// Groups whose units nobody wants any more.
    pub cancel: Vec<u32>,
}

/// A campaign that is over.
pub struct Concluded {
    /// Its job.
    pub job: u64,
    /// The integer.
    pub number: Integer,
    /// What came of it.
    pub found: Factorization,
    /// Microseconds of workers' time.
    pub us: u64,
    checkpoint: Checkpoint,
}

impl Concluded {
    /// The result is on disk.
    pub fn is_written(self) {
        self.checkpoint.remove();
    }
}

impl Spread {
    /// Goes on with what earlier sessions have left of jobs that are not done; these are `done` from now on.
    ///
    /// # Errors
    /// A checkpoint cannot be read.
    pub fn open(
        folder: &Folder,
        done: &mut [bool],
        to_sink: Sender<SinkInput>,
    ) -> Result<Self, FolderError> {
        let manifest = &folder.manifest;
        let mut spread = Self {
            folder: folder.path().to_owned(),
            campaigns: BTreeMap::new(),
            groups: Groups::open(folder.path())?,
            nodes: HashMap::new(),
            consumers: 0,
            to_sink,
        };
        for (job, number) in (0..).zip(&manifest.ask.numbers) {
            if done[job as usize] || number.0.significant_bits() <= SPREAD_ABOVE_BITS {
                continue;
            }
            let mut campaign = Campaign::new(number.0.clone(), manifest.ask.is_balanced);
            let checkpoint = Checkpoint::open(&spread.folder, job, |entry| campaign.apply(&entry))?;
            if let Some(checkpoint) = checkpoint {
                done[job as usize] = true;
                spread.campaigns.insert(job, (campaign, checkpoint));
            }
        }
        Ok(spread)
    }

    /// The jobs that are at work.
    pub fn jobs(&self) -> impl Iterator<Item = u64> {
        self.campaigns.keys().copied()
    }

    /// Whether there is anything to do.
    #[must_use]
    pub fn is_active(&self) -> bool {
        !self.campaigns.is_empty()
    }

    /// One worker has taken an integer apart as far as one does, and left composites.
    ///
    /// # Errors
    /// The checkpoint cannot be made.
    pub fn begin(
        &mut self,
        manifest: &Manifest,
        job: u64,
        found: Factorization,
        us: u64,
    ) -> Result<(), FolderError> {
        let number = &manifest.ask.numbers[job as usize].0;
        let mut campaign = Campaign::new(number.clone(), manifest.ask.is_balanced);
        let mut checkpoint = Checkpoint::create(&self.folder, job)?;
        let of = HexInteger(Integer::from(number.abs_ref()));
        let entry = Entry::TakenApart { of, found, us };
        // The first line always fits.
        let _ = campaign.apply(&entry);
        checkpoint.add(&entry);
        self.campaigns.insert(job, (campaign, checkpoint));
        Ok(())
    }

    /// Notes how many workers a node has.
    pub fn note_node(&mut self, node: &str, samples: &[NodeSample], now: Instant) {
        if let Some(sample) = samples.last() {
            let workers = (sample.workers, now);
            self.nodes.insert(node.to_owned(), workers);
        } else if let Some((_, at)) = self.nodes.get_mut(node) {
            *at = now;
        }
    }

    /// Notes how many consumers are subscribed.
    pub fn note_consumers(&mut self, consumers: u32) {
        self.consumers = consumers;
    }

    /// The divisor that the answer to a unit for a whole one is about.
    #[must_use]
    pub fn divisor(&self, job: u64, unit: u64) -> Option<&Integer> {
        let (campaign, _) = self.campaigns.get(&job)?;
        if campaign.group() == group_of(unit) {
            campaign.open_divisor()
        } else {
            None
        }
    }

    /// Takes the answer to one of the units from here. `done`: curves or families.
    pub fn take(&mut self, job: u64, unit: u64, answer: Answer, done: u64, us: u64) -> Verdict {
        match self.campaigns.get_mut(&job) {
            Some((campaign, _)) => campaign.take(group_of(unit), unit as u32, answer, done, us),
            None => Verdict::Late,
        }
    }

    /// A node's answer to this unit was wrong: it gets no more of this job.
    pub fn avoid(&mut self, job: u64, unit: u64, node: &str) {
        if let Some((campaign, _)) = self.campaigns.get_mut(&job)
            && campaign.avoid.len() < MAX_AVOIDED
            && !campaign.avoid.iter().any(|avoided| avoided == node)
        {
            campaign.avoid.push(node.to_owned());
            // Not for every wrong answer, or a flood of them would be one of units.
            campaign.forget(unit as u32);
        }
    }

    /// Takes the end of a linear algebra.
    pub fn solved(&mut self, solved: Solved) {
        let Solved {
            job,
            collector,
            divisor,
            us,
        } = solved;
        let groups = &mut self.groups;
        if let Some((campaign, _)) = self.campaigns.get_mut(&job) {
            campaign.solved(collector, divisor, us, || groups.next());
        }
    }

    /// Goes on wherever it can: what is to be published, and what is over.
    ///
    /// # Errors
    /// The file of groups cannot be written, or there is no thread for the linear algebra.
    pub fn advance(
        &mut self,
        manifest: &Manifest,
        now: Instant,
    ) -> anyhow::Result<(Orders, Vec<Concluded>)> {
        let mut orders = Orders::default();
        let limit_us = manifest
            .ask
            .deadline_ms
            .map_or(u64::MAX, |ms| ms.saturating_mul(1000));
        let workers = self.workers(now);
        let mut free = (workers * UNITS_A_WORKER).ceil() as usize;
        let mut over = Vec::new();
        for (job, (campaign, _)) in &mut self.campaigns {
            let spent_us = campaign.spent_us();
            if spent_us >= limit_us {
                let ms = limit_us / 1000;
                let reason = format!("not done within {ms} ms of workers' time (--deadline)");
                orders.cancel.extend(campaign.give_up(&reason));
            }
            let groups = &mut self.groups;
            let (cancel, collector) = campaign.advance(|| groups.next());
            orders.cancel.extend(cancel);
            if let Some(collector) = collector {
                solve(*job, collector, self.to_sink.clone())
                    .context("no thread for the linear algebra")?;
            }
            if campaign.is_over() {
                over.push(*job);
                continue;
            }
            if campaign.wants_units() && free > 0 {
                let issues = campaign.issue(free, workers, now);
                let left_ms = manifest.ask.deadline_ms.map(|ms| ms - spent_us / 1000);
                let units = issues
                    .into_iter()
                    .map(|issue| unit(manifest, *job, issue, &campaign.avoid, left_ms));
                orders.units.extend(units);
                free = free.saturating_sub(campaign.outstanding());
            }
        }
        let over = over.into_iter().filter_map(|job| {
            let (campaign, checkpoint) = self.campaigns.remove(&job)?;
            Some(Concluded {
                job,
                number: campaign.number().clone(),
                found: campaign.factorization(),
                us: campaign.spent_us(),
                checkpoint,
            })
        });
        let over = over.collect();
        // Before anything of them is published.
        self.groups.save()?;
        Ok((orders, over))
    }

    /// Brings what is new to disk.
    ///
    /// # Errors
    /// A checkpoint cannot be written.
    pub fn save(&mut self) -> Result<(), FolderError> {
        for (campaign, checkpoint) in self.campaigns.values_mut() {
            for entry in campaign.take_entries() {
                checkpoint.add(&entry);
            }
            checkpoint.save()?;
        }
        Ok(())
    }

    /// How many workers there are, as far as anybody has said.
    fn workers(&mut self, now: Instant) -> f64 {
        self.nodes
            .retain(|_, (_, at)| now.duration_since(*at) < SILENCE);
        let known: u32 = self.nodes.values().map(|(workers, _)| *workers).sum();
        let known = f64::from(known);
        let each = if self.nodes.is_empty() {
            WORKERS_A_NODE
        } else {
            known / self.nodes.len() as f64
        };
        known.max(f64::from(self.consumers) * each).max(1.0)
    }

    /// How far the first one is that is worked on: its job, and where it stands.
    pub fn standing(&mut self, now: Instant) -> Option<(u64, Standing)> {
        let (job, (campaign, _)) = self.campaigns.iter_mut().next()?;
        Some((*job, campaign.standing(now)?))
    }
}

/// Numbers of groups. None is ever used twice in a run, or a stage's units could be taken for those of one that was cancelled.
#[derive(Debug)]
struct Groups {
    path: PathBuf,
    last: u32,
    saved: u32,
}

impl Groups {
    fn open(folder: &Path) -> Result<Self, FolderError> {
        let path = folder.join("groups");
        let last = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            text => {
                let text = text.map_err(file_error("read", &path))?;
                text.trim().parse().map_err(|_| FolderError::Damaged {
                    path: path.clone(),
                    reason: "it is no number".to_owned(),
                })?
            }
        };
        Ok(Self {
            path,
            last,
            saved: last,
        })
    }

    fn next(&mut self) -> u32 {
        self.last += 1;
        self.last
    }

    fn save(&mut self) -> Result<(), FolderError> {
        if self.last != self.saved {
            write_whole(&self.path, &self.last).map_err(file_error("write", &self.path))?;
            self.saved = self.last;
        }
        Ok(())
    }
}

/// On a thread of its own: it takes seconds.
fn solve(job: u64, mut collector: Box<Collector>, to_sink: Sender<SinkInput>) -> io::Result<()> {
    let work = move || {
        let begun = Instant::now();
        let divisor = collector.solve().map_err(|error| error.to_string());
        let us = begun.elapsed().as_micros() as u64;
        let solved = Solved {
            job,
            collector,
            divisor,
            us,
        };
        let _ = to_sink.send(SinkInput::Solved(Box::new(solved)));
    };
    thread::Builder::new()
        .name("linear-algebra".to_owned())
        .spawn(work)?;
    Ok(())
}

fn unit(
    manifest: &Manifest,
    job: u64,
    issue: Issue,
    avoid: &[String],
    deadline_ms: Option<u64>,
) -> WorkUnit {
    WorkUnit {
        version: VERSION,
        run: manifest.run.clone(),
        unit: issue.unit,
        first: job,
        // Told when it is published.
        published_ns: 0,
        seed: None,
        avoid: avoid.to_vec(),
        deadline_ms,
        work: Work::Factor {
            numbers: vec![HexInteger(issue.number)],
            leave_above: issue.share.is_none().then_some(SPREAD_ABOVE_BITS),
            share: issue.share,
        },
    }
}

impl Standing {
    /// For people: `256 bits: sieve, 8123 of 20666 relations (39 %), 42.00 s left at this pace`.
    #[must_use]
    pub fn describe(&self) -> String {
        let Self {
            bits,
            stage,
            digits,
            done,
            expected,
            rate,
            ..
        } = *self;
        let left = || {
            let seconds = expected.saturating_sub(done) as f64 / rate;
            if rate > 0.0 && seconds < 1e7 {
                let left = Duration::from_secs(seconds.ceil() as u64);
                format!(
                    ", {} left at this pace",
                    primepool_common::cli::show_duration(left)
                )
            } else {
                String::new()
            }
        };
        let percent = 100 * done.min(expected) / expected.max(1);
        match stage {
            "ecm" => format!(
                "{bits} bits: curves for factors of {digits} digits, {done} of at most {expected}{}",
                left()
            ),
            "sieve" => format!(
                "{bits} bits: sieve, {done} of {expected} relations ({percent} %){}",
                left()
            ),
            "linear-algebra" => format!("{bits} bits: linear algebra"),
            _ => format!("{bits} bits: small factors"),
        }
    }

    /// A point of the metrics.
    #[must_use]
    pub fn point(&self, run: &str, job: u64) -> Point<'static> {
        let mut point = Point::new("factor", unix_ns())
            .tag("run", run.to_owned())
            .tag("stage", self.stage)
            .field("job", job)
            .field("bits", u64::from(self.bits))
            .field("expected", self.expected)
            .field("rate", self.rate)
            .field("outstanding", self.outstanding as u64);
        match self.stage {
            "ecm" => {
                point = point
                    .field("curves", self.done)
                    .field("digits", u64::from(self.digits));
            }
            "sieve" => point = point.field("relations", self.done),
            _ => {}
        }
        point
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standing_says_how_far_it_is_and_what_is_left() {
        let mut standing = Standing {
            bits: 256,
            stage: "sieve",
            digits: 0,
            done: 8123,
            expected: 20_666,
            rate: 300.0,
            outstanding: 4,
        };
        assert_eq!(
            standing.describe(),
            "256 bits: sieve, 8123 of 20666 relations (39 %), 42.00 s left at this pace"
        );
        standing.rate = 0.0;
        assert_eq!(
            standing.describe(),
            "256 bits: sieve, 8123 of 20666 relations (39 %)"
        );
        standing.stage = "linear-algebra";
        assert_eq!(standing.describe(), "256 bits: linear algebra");
    }
}
