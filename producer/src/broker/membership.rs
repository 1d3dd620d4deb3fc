//! The run as a member of the pool: its announcements, its view of the other members, and the
//! window that follows from them.

use std::{
    env, fs,
    sync::Arc,
    time::{Duration, Instant},
};

use lapin::Connection;
use primepool_common::{
    clock::unix_ns,
    message::{JobKind, Presence, RunPresence, Subject},
    pool::{Announcer, PoolView, PresenceReader},
};
use primepool_engine::Kernel;
use tokio::time::timeout;
use tracing::debug;

use crate::{
    run_dir::Manifest,
    status::Status,
    units::{SharedUnits, Units},
    window::window,
};

/// Assumed workers of a consumer that announces nothing: a node has at least two cores.
const WORKERS_A_CONSUMER: u32 = 2;

/// Number of workers that take jobs of this kind. `consumers`: number of subscribed consumers,
/// including those of earlier versions, which announce nothing.
pub(crate) fn workers(view: &PoolView, kind: JobKind, consumers: u32, now: Instant) -> u32 {
    let silent = consumers.saturating_sub(view.consumers(kind, now));
    let seen = view.workers(kind, now);
    seen.saturating_add(silent.saturating_mul(WORKERS_A_CONSUMER))
}

/// The run as a member of the pool.
#[derive(Debug)]
pub(crate) struct Membership {
    manifest: Arc<Manifest>,
    status: Arc<Status>,
    kernel: Kernel,
    share: u32,
    by: Option<String>,
    since: Instant,
    since_ns: u64,
    done_before: u64,
    announcer: Announcer,
    /// Reader of the announcements of others; `None` if they cannot be read.
    pub(super) reader: Option<PresenceReader>,
    view: PoolView,
}

impl Membership {
    /// The membership of a run. `share`: its weight; `kernel`: arithmetic kernel that workers are
    /// expected to use.
    #[must_use]
    pub(crate) fn new(
        manifest: Arc<Manifest>,
        status: Arc<Status>,
        kernel: Kernel,
        share: u32,
        is_anonymous: bool,
    ) -> Self {
        Self {
            done_before: status.jobs_done(),
            manifest,
            status,
            kernel,
            share,
            by: (!is_anonymous).then(user_at_host),
            since: Instant::now(),
            since_ns: unix_ns(),
            announcer: Announcer::default(),
            reader: None,
            view: PoolView::default(),
        }
    }

    /// Uses this connection from now on.
    pub(super) async fn attach(&mut self, connection: &Connection) {
        self.announcer.attach(connection).await;
        self.reader = PresenceReader::open_presence(connection)
            .await
            .inspect_err(|error| debug!(%error, "cannot read who is in the pool"))
            .ok();
    }

    /// Records the announcement of another member.
    pub(super) fn note(&mut self, presence: Presence, now: Instant) {
        self.view.note(presence, now);
    }

    /// Announces the run; returns the time until the next announcement.
    pub(super) async fn announce(&mut self, units: &SharedUnits, leaves: bool) -> Duration {
        let every = Announcer::every(self.status.consumers());
        let (jobs, done) = (self.manifest.request.count(), self.status.jobs_done());
        let elapsed_s = self.since.elapsed().as_secs_f64().max(1e-3);
        let run = RunPresence {
            run: self.manifest.run.clone(),
            what: self.manifest.request.work.jobs().describe(),
            jobs,
            done,
            jobs_per_s: (done - self.done_before) as f64 / elapsed_s,
            since_ns: self.since_ns,
            by: self.by.clone(),
            share: self.share,
            wants_more: units.lock().wants_more(),
        };
        let presence = Presence::new(Subject::Run(Box::new(run)), every, leaves);
        self.announcer.announce(&presence).await;
        every
    }

    /// Number of workers that take the run's jobs.
    pub(super) fn workers(&self, now: Instant) -> u32 {
        let kind = self.manifest.request.kind();
        workers(&self.view, kind, self.status.consumers(), now)
    }

    /// Records in the status the census of the pool and the number of units that the consumers
    /// hold.
    pub(super) fn note_pool(&self, now: Instant) {
        let census = self.reader.is_some().then(|| self.view.census(now));
        self.status.note_census(census);
        let kind = self.manifest.request.kind();
        // RabbitMQ 3.10 goes on counting a consumer whose broker node died in the moment when the
        // consumer had cancelled its subscription for another prefetch. It also keeps the units of
        // that subscription until the broker node returns, so that they must be published again.
        let announced = self.view.consumers(kind, now);
        let known = announced.saturating_add(self.view.silent_consumers(kind, now));
        let all_tell = self.reader.is_some() && known >= self.status.consumers().max(1);
        let held = all_tell.then(|| self.view.held(kind, now));
        self.status.note_held_units(held, now);
    }

    /// The largest number of outstanding units of the run; `None`, no limit, if the announcements
    /// of others cannot be read.
    pub(super) fn window(&self, units: &Units, now: Instant) -> Option<usize> {
        self.reader.as_ref()?;
        let Manifest {
            run,
            request,
            packing,
            ..
        } = &*self.manifest;
        let workers = self.workers(now);
        let expected = || packing.unit_time(request, self.kernel);
        let unit = units.mean_time().unwrap_or_else(expected);
        let all = self.view.others_share(run, now) + u64::from(self.share);
        Some(window(workers, unit, self.share, all))
    }
}

/// Longest time that a run waits at its start for the announcements of the consumers.
const LOOK_AROUND: Duration = Duration::from_millis(500);

/// Collects the recent announcements of the `consumers` that take jobs of this kind, and waits a
/// moment for missing ones. Waits longer if none of the known consumers accepts numbers of `bits`
/// bits: a new consumer may.
pub(crate) async fn look_around(
    connection: &Connection,
    kind: JobKind,
    bits: u32,
    consumers: u32,
) -> PoolView {
    let mut view = PoolView::default();
    let Ok(reader) = PresenceReader::open_presence(connection).await else {
        return view;
    };
    let mut reader = Some(reader);
    let is_known = |view: &PoolView| view.consumers(kind, Instant::now()) >= consumers;
    let takes_bits = |view: &PoolView| view.max_bits(kind, Instant::now()) >= bits;
    let all_known = async {
        while consumers > 0 && !(is_known(&view) && takes_bits(&view)) {
            let presence = PresenceReader::next_of(&mut reader).await;
            view.note(presence, Instant::now());
        }
    };
    let _ = timeout(LOOK_AROUND, all_known).await;
    if consumers > 0 && is_known(&view) && !takes_bits(&view) {
        // Each consumer announces itself once more in this time.
        let longer = Announcer::every(consumers) + LOOK_AROUND;
        let one_comes = async {
            while !takes_bits(&view) {
                let presence = PresenceReader::next_of(&mut reader).await;
                view.note(presence, Instant::now());
            }
        };
        let _ = timeout(longer, one_comes).await;
    }
    view
}

fn user_at_host() -> String {
    let user = env::var("USER").or_else(|_| env::var("LOGNAME"));
    let user = user.unwrap_or_else(|_| "unknown".to_owned());
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{user}@{}", host.trim())
}
