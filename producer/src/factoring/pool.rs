//! The campaigns of a run, and how they share the pool's workers.

use std::{
    collections::BTreeMap,
    mem,
    num::NonZero,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use primepool_common::message::{
    FactorJobs, Factorization, HexInteger, NodeSample, UnitId, VERSION, Work, WorkUnit,
};
use primepool_factor::{Cancel, Integer, quadratic_sieve::Collector};

use super::{
    answer::{CampaignAnswer, Verdict},
    batches::Batches,
    campaign::{Campaign, Issue},
    checkpoint::Checkpoint,
    progress::StageProgress,
    workers::Workers,
};
use crate::{
    request::{FactoringAims, LEAVE_ABOVE_BITS},
    run_dir::{Folder, FolderError, JobSet, Manifest},
};

/// Number of units for each worker at a time: one at work and the next one.
const UNITS_A_WORKER: f64 = 2.0;

/// The campaigns of a run.
pub(crate) struct Factoring {
    folder: PathBuf,
    campaigns: BTreeMap<u64, (Campaign, Checkpoint)>,
    batches: Batches,
    workers: Workers,
    /// Commands for the next [`Factoring::advance`].
    commands: Vec<CampaignCommand>,
}

/// A command for the caller; commands are to be executed in order.
#[derive(Debug)]
pub(crate) enum CampaignCommand {
    /// Publish the cancellation of this batch to the consumers.
    CancelBatch(u32),
    /// Run this linear algebra, and pass the result to [`Factoring::on_solved`].
    Solve(LinearAlgebra),
    /// Publish these units.
    Publish(Vec<WorkUnit>),
    /// Write the result of a job that is over.
    Conclude(Concluded),
}

/// The linear algebra of a sieve, which takes seconds.
#[derive(Debug)]
pub(crate) struct LinearAlgebra {
    job: u64,
    collector: Box<Collector>,
}

/// The result of a linear algebra.
#[derive(Debug)]
pub(crate) struct Solved {
    job: u64,
    collector: Box<Collector>,
    divisor: Result<Option<Integer>, String>,
    time: Duration,
}

impl LinearAlgebra {
    /// Runs the linear algebra on all cores that this process may use. Blocks.
    #[must_use]
    pub(crate) fn solve(mut self) -> Solved {
        let begun = Instant::now();
        let threads = thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
        let divisor = self
            .collector
            .solve(threads, &Cancel::new())
            .map_err(|error| error.to_string());
        Solved {
            job: self.job,
            collector: self.collector,
            divisor,
            time: begun.elapsed(),
        }
    }
}

/// A campaign that is over.
#[derive(Debug)]
pub(crate) struct Concluded {
    pub job: u64,
    pub number: Integer,
    pub found: Factorization,
    /// Worker time, in microseconds.
    pub us: u64,
    checkpoint: Checkpoint,
}

impl Concluded {
    /// Removes the checkpoint; call this once the result is on disk.
    pub(crate) fn remove_checkpoint(self) {
        self.checkpoint.remove();
    }
}

impl Factoring {
    /// Restores the campaigns of earlier sessions from their checkpoints, for jobs that are not
    /// done. Marks these jobs as done.
    ///
    /// # Errors
    /// A checkpoint cannot be read.
    pub(crate) fn open(folder: &Folder, done: &mut JobSet) -> Result<Self, FolderError> {
        let mut factoring = Self {
            folder: folder.path().to_owned(),
            campaigns: BTreeMap::new(),
            batches: Batches::open(folder.path())?,
            workers: Workers::default(),
            commands: Vec::new(),
        };
        let Some(integers) = &folder.integers else {
            return Ok(factoring);
        };
        let aims = folder.manifest.request.aims;
        for job in Checkpoint::jobs(&factoring.folder)? {
            if !done.is_of_run(job) || done.contains(job) {
                continue;
            }
            for number in integers.read(job..job + 1)? {
                let mut campaign = Campaign::new(number.0, aims);
                let checkpoint =
                    Checkpoint::open(&factoring.folder, job, |entry| campaign.replay(&entry))?;
                done.insert(job..job + 1);
                factoring.campaigns.insert(job, (campaign, checkpoint));
            }
        }
        Ok(factoring)
    }

    /// The jobs of all campaigns.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = u64> {
        self.campaigns.keys().copied()
    }

    /// Whether a campaign is in progress.
    #[must_use]
    pub(crate) fn is_active(&self) -> bool {
        !self.campaigns.is_empty()
    }

    /// Begins the campaign of a job whose integer a worker has left to the pool.
    ///
    /// # Errors
    /// The checkpoint cannot be created.
    pub(crate) fn begin(
        &mut self,
        job: u64,
        number: HexInteger,
        aims: FactoringAims,
        found: Factorization,
        us: u64,
    ) -> Result<(), FolderError> {
        let mut campaign = Campaign::new(number.0, aims);
        campaign.begin(found, us);
        let checkpoint = Checkpoint::create(&self.folder, job)?;
        self.campaigns.insert(job, (campaign, checkpoint));
        Ok(())
    }

    /// Records an answer of a node, with its samples.
    pub(crate) fn note_node(&mut self, node: &str, samples: &[NodeSample], now: Instant) {
        self.workers.note_node(node, samples, now);
    }

    /// Records the number of subscribed consumers.
    pub(crate) fn note_consumers(&mut self, consumers: u32) {
        self.workers.note_consumers(consumers);
    }

    /// The divisor of a unit, if the unit belongs to the current batch.
    #[must_use]
    pub(crate) fn divisor(&self, job: u64, unit: UnitId) -> Option<&Integer> {
        let (campaign, _) = self.campaigns.get(&job)?;
        let state = campaign.state();
        let part = state.current().filter(|_| state.batch == unit.batch)?;
        Some(&part.value)
    }

    /// Processes the answer to a unit. `done`: number of curves or families; `us`: worker time in
    /// microseconds.
    pub(crate) fn on_answer(
        &mut self,
        job: u64,
        unit: UnitId,
        answer: CampaignAnswer,
        done: u64,
        us: u64,
    ) -> Verdict {
        match self.campaigns.get_mut(&job) {
            Some((campaign, _)) => campaign.on_answer(unit, answer, done, us),
            None => Verdict::Late,
        }
    }

    /// Excludes a node from this job, since its answer to this unit was wrong or it cannot do it.
    /// Returns whether the node is newly excluded.
    pub(crate) fn avoid(&mut self, job: u64, unit: UnitId, node: &str) -> bool {
        let campaign = self.campaigns.get_mut(&job);
        campaign.is_some_and(|(campaign, _)| campaign.avoid(unit, node))
    }

    /// Nodes that are excluded from this job.
    #[must_use]
    pub(crate) fn avoided(&self, job: u64) -> &[String] {
        let campaign = self.campaigns.get(&job);
        campaign.map_or(&[], |(campaign, _)| campaign.avoided())
    }

    /// Gives up a job, unless the unit belongs to a batch that is over.
    pub(crate) fn give_up(&mut self, job: u64, unit: UnitId, reason: &str) {
        if let Some((campaign, _)) = self.campaigns.get_mut(&job)
            && campaign.state().batch == unit.batch
        {
            let ended = campaign.give_up(reason);
            self.commands
                .extend(ended.map(CampaignCommand::CancelBatch));
        }
    }

    /// Processes the result of a linear algebra.
    pub(crate) fn on_solved(&mut self, solved: Solved) {
        let Solved {
            job,
            collector,
            divisor,
            time,
        } = solved;
        if let Some((campaign, _)) = self.campaigns.get_mut(&job) {
            let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
            campaign.on_solved(collector, divisor, us, self.batches.next());
        }
    }

    /// Advances all campaigns as far as possible. `window`: largest number of outstanding units of
    /// the run.
    ///
    /// # Errors
    /// The file `groups` cannot be written.
    pub(crate) fn advance(
        &mut self,
        manifest: &Manifest,
        window: Option<usize>,
        now: Instant,
    ) -> Result<Vec<CampaignCommand>, FolderError> {
        let mut commands = mem::take(&mut self.commands);
        let limit_us = manifest
            .request
            .deadline_ms
            .map_or(u64::MAX, |ms| ms.saturating_mul(1000));
        let workers = self.workers.count(now);
        let mut free = (workers * UNITS_A_WORKER).ceil() as usize;
        free = free.min(window.unwrap_or(usize::MAX));
        let mut units = Vec::new();
        // Small integers first, so that a hopeless one does not delay the others.
        let mut campaigns: Vec<_> = self.campaigns.iter_mut().collect();
        campaigns.sort_by_key(|(_, (campaign, _))| {
            let part = campaign.state().current();
            part.map_or(0, |part| part.value.significant_bits())
        });
        for (job, (campaign, _)) in campaigns {
            if campaign.state().spent_us() >= limit_us {
                let ms = limit_us / 1000;
                let reason = format!("not done within {ms} ms of workers' time (--deadline)");
                let ended = campaign.give_up(&reason);
                commands.extend(ended.map(CampaignCommand::CancelBatch));
            }
            let (ended, collector) = campaign.advance(|| self.batches.next());
            commands.extend(ended.into_iter().map(CampaignCommand::CancelBatch));
            commands.extend(collector.map(|collector| {
                CampaignCommand::Solve(LinearAlgebra {
                    job: *job,
                    collector,
                })
            }));
            if campaign.state().wants_units() && free > 0 {
                let issues = campaign.issue(free, workers, now);
                let spent_ms = campaign.state().spent_us() / 1000;
                let deadline_ms = manifest.request.deadline_ms;
                let left_ms = deadline_ms.map(|ms| ms.saturating_sub(spent_ms));
                let issued = issues.into_iter();
                units.extend(
                    issued.map(|issue| unit(manifest, *job, issue, campaign.avoided(), left_ms)),
                );
                free = free.saturating_sub(campaign.outstanding());
            }
        }
        if !units.is_empty() {
            commands.push(CampaignCommand::Publish(units));
        }
        // The last entries of a campaign that is over are not saved, since its result will be.
        let over = self
            .campaigns
            .extract_if(.., |_, (campaign, _)| campaign.state().is_over());
        commands.extend(over.map(|(job, (campaign, checkpoint))| {
            let state = campaign.state();
            CampaignCommand::Conclude(Concluded {
                job,
                number: state.number.clone(),
                found: state.factorization(),
                us: state.spent_us(),
                checkpoint,
            })
        }));
        // The numbers must be on disk before their units are published.
        self.batches.save()?;
        Ok(commands)
    }

    /// Writes all new entries to disk.
    ///
    /// # Errors
    /// A checkpoint cannot be written.
    pub(crate) fn save(&mut self) -> Result<(), FolderError> {
        for (campaign, checkpoint) in self.campaigns.values_mut() {
            for entry in campaign.take_entries() {
                checkpoint.add(&entry);
            }
            checkpoint.save()?;
        }
        Ok(())
    }

    /// The first job with a campaign, and the progress of its current stage.
    pub(crate) fn stage_progress(&mut self, now: Instant) -> Option<(u64, StageProgress)> {
        let (job, (campaign, _)) = self.campaigns.iter_mut().next()?;
        Some((*job, campaign.stage_progress(now)?))
    }
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
        unit: issue.unit.number(),
        first: job,
        // Set at publication.
        published_ns: 0,
        seed: None,
        avoid: avoid.to_vec(),
        deadline_ms,
        hand_back: true,
        verified: false,
        work: Work::Factor(FactorJobs {
            numbers: vec![HexInteger(issue.number)].into(),
            leave_above: issue.share.is_none().then_some(LEAVE_ABOVE_BITS),
            share: issue.share,
            prove: false,
        }),
    }
}
