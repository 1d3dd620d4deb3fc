//! The protocol as a state machine: the state of processes, queues and files, and every possible
//! next step.
//!
//! A step is atomic, whatever process dies: the broker accepts a message, a confirm is read, or a
//! result is written and synced. Between any two steps other processes can take theirs, and faults
//! can strike. A message that was sent but not yet accepted has no state of its own: when a
//! connection ends, either the message is lost as if it had not been sent, or the broker has
//! accepted it just before. A killed process starts again at once, because its first step can take
//! any time.

use std::mem::take;

use stateright::{Model, Property};

/// Largest number of units of a run; each holds one job.
const UNITS: usize = 2;
/// Largest number of consumers.
const CONSUMERS: usize = 2;

/// The rules that prevent loss and duplication. The model can leave out any one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Safeguard {
    /// A consumer acknowledges a unit when its answer is confirmed, not when the answer is sent.
    UnitIsAcknowledgedAfterConfirmation,
    /// A confirm acknowledges only deliveries from before its answer was sent; for later deliveries
    /// the answer is sent again.
    ConfirmationSettlesNothingLater,
    /// When a connection ends, consumers send unconfirmed answers again.
    UnconfirmedAnswerIsSentAgain,
    /// When a connection ends, the producer publishes unconfirmed units again.
    UnconfirmedUnitIsPublishedAgain,
    /// A unit is written to the journal when its publication is confirmed, not when it is begun.
    UnitIsJournalledAfterConfirmation,
    /// The producer acknowledges an answer when its result is on disk, not when the answer arrives.
    AnswerIsAcknowledgedAfterSync,
    /// A second result of a job is dropped.
    SecondResultIsDropped,
    /// A resumed producer reads back the results that it has.
    ResultsAreReadBack,
    /// After the loss of the results queue, all units without a result are published again.
    LostAnswersAreAskedForAgain,
    /// The loss is remembered even if the first attempt to declare the queue again fails half-way.
    LossIsRemembered,
    /// The journal is emptied when the results queue was lost.
    JournalIsEmptied,
    /// The journal is emptied before the queue is declared again.
    JournalIsEmptiedFirst,
    /// After that, confirms of earlier publications are not written to the journal.
    EarlierPublicationsDoNotCount,
    /// Confirms of publications from before the queue existed again are not written to it either.
    PublicationsWithoutQueueDoNotCount,
    /// A unit with a wrong answer is removed from the journal before the answer is acknowledged.
    WrongUnitIsRetracted,
    /// After that, confirms of the unit's earlier publications are not written to the journal.
    PublicationsBeforeRetractionDoNotCount,
}

/// The size of a run, and the faults that may strike while it lasts.
#[derive(Debug, Clone)]
pub(super) struct Protocol {
    /// Number of units, at most [`UNITS`].
    pub(super) units: usize,
    /// Number of consumers, at most [`CONSUMERS`].
    pub(super) consumers: usize,
    /// Number of faults.
    pub(super) faults: u8,
    /// Largest number of outstanding units of the producer, as `Units::next` counts them.
    pub(super) window: usize,
    /// Whether everything still under way for a unit is removed once the unit has a result. It
    /// could only lead to further answers, which are dropped; smaller sizes, checked without this,
    /// show that.
    pub(super) tidies: bool,
    /// The safeguard that is left out, if any.
    pub(super) without: Option<Safeguard>,
}

type PerUnit<T> = [T; UNITS];

/// A state of the whole system.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct State {
    producer: Producer,
    /// On disk: the units whose publication the broker has confirmed.
    journal: PerUnit<bool>,
    /// On disk: the number of results of each unit.
    results: PerUnit<u8>,
    /// Ready messages in the job queue.
    jobs: PerUnit<u8>,
    /// The run's results queue, if it exists.
    answers: Option<AnswerQueue>,
    /// The ledger of each consumer.
    consumers: [PerUnit<Option<Held>>; CONSUMERS],
    /// Number of faults that may still strike.
    faults: u8,
    /// Whether a unit was acknowledged before the broker had confirmed its answer.
    was_early: bool,
}

/// Number of right and wrong answers for each unit.
type Answers = PerUnit<[u8; 2]>;
const RIGHT: usize = 0;
const WRONG: usize = 1;

/// The messages in the run's results queue.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct AnswerQueue {
    ready: Answers,
    /// Their results are on the producer's disk, and their acknowledgements are on the way.
    settled: Answers,
}

/// The state of the producer's process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Producer {
    collecting: Collecting,
    /// Whether the process publishes already.
    is_publishing: bool,
    /// Confirms of units published now are not written to the journal.
    journal_is_closed: bool,
    /// Answers were lost, and the publishing side does not know it yet.
    was_lost: bool,
    /// Units to be published.
    waiting: PerUnit<bool>,
    /// Units that were published and have no answer.
    outstanding: PerUnit<bool>,
    /// Publications that the broker has accepted and whose confirms are on the way: first those
    /// that do not count for the journal, then those that do.
    unconfirmed: PerUnit<[u8; 2]>,
    /// Units whose results the process knows.
    done: PerUnit<bool>,
    /// Answers that were acknowledged before their results were on disk.
    received: Answers,
}

/// The next step of the collecting side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Collecting {
    /// Connects and looks for the results queue.
    Look,
    /// Declares the queue, which does not exist.
    Declare,
    /// Begins with a queue that it has just declared.
    BeginWithNew,
    /// Begins with a queue that it has found.
    BeginWithOld,
    /// Collects answers.
    Collect,
}

/// A unit that a consumer holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Held {
    progress: Progress,
    /// Deliveries from before the answer was sent that can still be acknowledged on their
    /// connection.
    before: u8,
    /// Deliveries from after the answer was sent.
    after: u8,
}

/// A consumer's progress with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Progress {
    /// The unit waits for a worker.
    Waiting,
    /// A worker has begun the unit, or the answer is on the way: the unit is not given up any more.
    Begun,
    /// The broker has accepted the answer; the confirm is on the way.
    Answered,
}

/// A step or a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    // Steps of the producer's collecting side.
    Look,
    Declare,
    Begin,
    SeeSubscriptionEnd,
    KeepAnswer { unit: usize, kind: usize },
    AcknowledgeAnswer { unit: usize, kind: usize },
    // These two replace KeepAnswer without AnswerIsAcknowledgedAfterSync.
    ReceiveAnswer { unit: usize, kind: usize },
    KeepReceived { unit: usize, kind: usize },
    // Steps of the producer's publishing side.
    AskAgain,
    Publish { unit: usize },
    ReadConfirmation { unit: usize, counts: bool },
    // Steps of a consumer.
    Receive { consumer: usize, unit: usize },
    BeginOrForget { consumer: usize, unit: usize },
    Answer { consumer: usize, unit: usize },
    ReadAnswerConfirmation { consumer: usize, unit: usize },
    // Faults.
    KillProducer,
    KillConsumer { consumer: usize },
    CutPublishing,
    CutCollecting,
    CutTaking { consumer: usize },
    CutAnswering { consumer: usize },
    LoseAcknowledgement { consumer: usize, unit: usize },
    AnswerWrongly { consumer: usize, unit: usize },
    LoseResultsQueue,
    RestartBroker { loses_results_queue: bool },
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut state = State {
            producer: Producer::new(Default::default()),
            journal: Default::default(),
            results: Default::default(),
            jobs: Default::default(),
            answers: None,
            consumers: Default::default(),
            faults: self.faults,
            was_early: false,
        };
        // Units beyond the size of the run count as done.
        state.results[self.units..].fill(1);
        state.producer.done[self.units..].fill(true);
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        // The run ends here; messages still under way do not matter.
        if state.is_complete() {
            return;
        }
        self.work(state, actions);
        if state.faults > 0 {
            self.faults(state, actions);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        self.take_step(&mut next, action);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            // The run never gets stuck: as long as a unit has no result, a step without a fault is
            // possible.
            Property::always("nothing is lost", |protocol: &Self, state: &State| {
                state.is_complete() || {
                    let mut steps = Vec::new();
                    protocol.work(state, &mut steps);
                    !steps.is_empty()
                }
            }),
            Property::always("no unit has two results", |_, state: &State| {
                state.results.iter().all(|results| *results <= 1)
            }),
            Property::always("no unit is acknowledged early", |_, state: &State| {
                !state.was_early
            }),
            // These states must be reachable, or the properties above would say little.
            Property::sometimes("a run ends well", |_, state: &State| state.is_complete()),
            Property::sometimes("a unit is delivered twice", |_, state: &State| {
                let mut held = state.consumers.iter().flatten().flatten();
                held.any(|held| held.before + held.after > 1)
            }),
            Property::sometimes("answers were lost", |_, state: &State| {
                state.producer.was_lost
            }),
        ]
    }
}

impl Protocol {
    fn has(&self, safeguard: Safeguard) -> bool {
        self.without != Some(safeguard)
    }

    /// Whether the window has a place for the unit; one that is published again needs no further
    /// place.
    fn has_place(&self, producer: &Producer, unit: usize) -> bool {
        let outstanding = producer
            .outstanding
            .iter()
            .filter(|is_out| **is_out)
            .count();
        producer.outstanding[unit] || outstanding < self.window
    }

    /// Adds the possible steps that are no faults.
    fn work(&self, state: &State, steps: &mut Vec<Action>) {
        let producer = &state.producer;
        steps.extend(match producer.collecting {
            Collecting::Look => Some(Action::Look),
            Collecting::Declare => Some(Action::Declare),
            Collecting::BeginWithNew | Collecting::BeginWithOld => Some(Action::Begin),
            Collecting::Collect => state
                .answers
                .is_none()
                .then_some(Action::SeeSubscriptionEnd),
        });
        if producer.was_lost {
            steps.push(Action::AskAgain);
        }
        for unit in 0..self.units {
            if producer.is_publishing && producer.waiting[unit] && self.has_place(producer, unit) {
                steps.push(Action::Publish { unit });
            }
            for counts in [false, true] {
                if producer.unconfirmed[unit][usize::from(counts)] > 0 {
                    steps.push(Action::ReadConfirmation { unit, counts });
                }
            }
            for kind in [RIGHT, WRONG] {
                self.work_on_answers(state, unit, kind, steps);
            }
            for consumer in 0..self.consumers {
                if state.jobs[unit] > 0 {
                    steps.push(Action::Receive { consumer, unit });
                }
                if let Some(held) = &state.consumers[consumer][unit] {
                    steps.push(match held.progress {
                        Progress::Waiting => Action::BeginOrForget { consumer, unit },
                        Progress::Begun => Action::Answer { consumer, unit },
                        Progress::Answered => Action::ReadAnswerConfirmation { consumer, unit },
                    });
                }
            }
        }
    }

    fn work_on_answers(&self, state: &State, unit: usize, kind: usize, steps: &mut Vec<Action>) {
        if let Some(answers) = &state.answers {
            let is_subscribed = state.producer.collecting == Collecting::Collect;
            if is_subscribed && answers.ready[unit][kind] > 0 {
                steps.push(if self.has(Safeguard::AnswerIsAcknowledgedAfterSync) {
                    Action::KeepAnswer { unit, kind }
                } else {
                    Action::ReceiveAnswer { unit, kind }
                });
            }
            if answers.settled[unit][kind] > 0 {
                steps.push(Action::AcknowledgeAnswer { unit, kind });
            }
        }
        if state.producer.received[unit][kind] > 0 {
            steps.push(Action::KeepReceived { unit, kind });
        }
    }

    /// Adds the possible faults.
    fn faults(&self, state: &State, steps: &mut Vec<Action>) {
        steps.extend([
            Action::KillProducer,
            Action::CutPublishing,
            Action::CutCollecting,
            Action::RestartBroker {
                loses_results_queue: false,
            },
        ]);
        if state.answers.is_some() {
            steps.extend([
                Action::LoseResultsQueue,
                Action::RestartBroker {
                    loses_results_queue: true,
                },
            ]);
        }
        for consumer in 0..self.consumers {
            for unit in 0..self.units {
                match state.consumers[consumer][unit]
                    .as_ref()
                    .map(|held| held.progress)
                {
                    Some(Progress::Begun) => steps.push(Action::AnswerWrongly { consumer, unit }),
                    Some(Progress::Answered) => {
                        steps.push(Action::LoseAcknowledgement { consumer, unit });
                    }
                    Some(Progress::Waiting) | None => {}
                }
            }
            if state.consumers[consumer].iter().any(Option::is_some) {
                steps.extend([
                    Action::KillConsumer { consumer },
                    Action::CutTaking { consumer },
                    Action::CutAnswering { consumer },
                ]);
            }
        }
    }

    fn take_step(&self, state: &mut State, action: Action) {
        match action {
            Action::Look => self.look(state),
            Action::Declare => {
                state.answers.get_or_insert_default();
                state.producer.collecting = Collecting::BeginWithNew;
            }
            Action::Begin => self.begin(state),
            Action::SeeSubscriptionEnd => state.producer.collecting = Collecting::Look,
            Action::KeepAnswer { unit, kind } => {
                if let Some(answers) = &mut state.answers {
                    answers.ready[unit][kind] -= 1;
                    answers.settled[unit][kind] += 1;
                }
                self.keep(state, unit, kind);
            }
            Action::AcknowledgeAnswer { unit, kind } => {
                if let Some(answers) = &mut state.answers {
                    answers.settled[unit][kind] -= 1;
                }
            }
            Action::ReceiveAnswer { unit, kind } => {
                if let Some(answers) = &mut state.answers {
                    answers.ready[unit][kind] -= 1;
                    state.producer.received[unit][kind] += 1;
                }
            }
            Action::KeepReceived { unit, kind } => {
                state.producer.received[unit][kind] -= 1;
                self.keep(state, unit, kind);
            }
            Action::AskAgain => {
                state.producer.was_lost = false;
                if self.has(Safeguard::LostAnswersAreAskedForAgain) {
                    state.producer.ask_for_all();
                }
            }
            Action::Publish { unit } => self.publish(state, unit),
            Action::ReadConfirmation { unit, counts } => {
                state.producer.unconfirmed[unit][usize::from(counts)] -= 1;
                state.journal[unit] |= counts;
            }
            Action::Receive { consumer, unit } => receive(state, consumer, unit),
            Action::BeginOrForget { consumer, unit } => {
                self.begin_or_forget(state, consumer, unit);
            }
            Action::Answer { consumer, unit } => answer(state, consumer, unit, RIGHT),
            Action::ReadAnswerConfirmation { consumer, unit } => {
                self.settle(state, consumer, unit);
            }
            _ => {
                state.faults -= 1;
                self.strike(state, action);
            }
        }
    }

    /// First half of `open` in `producer/src/broker/collector.rs`: looks for the queue.
    fn look(&self, state: &mut State) {
        let producer = &mut state.producer;
        if state.answers.is_some() {
            producer.collecting = Collecting::BeginWithOld;
            return;
        }
        producer.collecting = Collecting::Declare;
        // `Journal::forget`
        producer.journal_is_closed = true;
        if self.has(Safeguard::EarlierPublicationsDoNotCount) {
            for unconfirmed in &mut producer.unconfirmed {
                *unconfirmed = [unconfirmed[0] + unconfirmed[1], 0];
            }
        }
        if self.has(Safeguard::JournalIsEmptied) && self.has(Safeguard::JournalIsEmptiedFirst) {
            state.journal = Default::default();
        }
    }

    /// Second half of `open`: the queue exists.
    fn begin(&self, state: &mut State) {
        let producer = &mut state.producer;
        let was_lost = if self.has(Safeguard::LossIsRemembered) {
            producer.journal_is_closed
        } else {
            producer.collecting == Collecting::BeginWithNew
        };
        producer.collecting = Collecting::Collect;
        // `Journal::reopen`
        producer.journal_is_closed = false;
        if was_lost && !self.has(Safeguard::JournalIsEmptiedFirst) {
            state.journal = Default::default();
        }
        if producer.is_publishing {
            producer.was_lost |= was_lost;
            return;
        }
        // A run that starts or is resumed: `prepare` in `producer/src/run.rs`.
        producer.is_publishing = true;
        producer.ask_for_all();
        for (waiting, is_published) in producer.waiting.iter_mut().zip(state.journal) {
            *waiting &= was_lost || !is_published;
        }
        for unit in 0..self.units {
            producer.outstanding[unit] = !producer.waiting[unit] && !producer.done[unit];
        }
        if !self.has(Safeguard::UnitIsJournalledAfterConfirmation) {
            state.journal = producer.waiting;
        }
    }

    /// The broker accepts a unit from the producer.
    fn publish(&self, state: &mut State, unit: usize) {
        let producer = &mut state.producer;
        let is_too_soon = producer.journal_is_closed
            && self.has(Safeguard::EarlierPublicationsDoNotCount)
            && self.has(Safeguard::PublicationsWithoutQueueDoNotCount);
        producer.waiting[unit] = false;
        producer.outstanding[unit] = true;
        producer.unconfirmed[unit][usize::from(!is_too_soon)] += 1;
        state.jobs[unit] += 1;
    }

    /// `Sink::process_batch`: checks an answer, and writes and syncs its result.
    fn keep(&self, state: &mut State, unit: usize, kind: usize) {
        let producer = &mut state.producer;
        producer.outstanding[unit] = false;
        if producer.done[unit] && self.has(Safeguard::SecondResultIsDropped) {
            return;
        }
        if kind == RIGHT {
            state.results[unit] += 1;
            producer.done[unit] = true;
            if self.tidies {
                state.tidy(unit);
            }
            return;
        }
        producer.waiting[unit] = true;
        // `Journal::retract`
        if self.has(Safeguard::WrongUnitIsRetracted) {
            state.journal[unit] = false;
            if self.has(Safeguard::PublicationsBeforeRetractionDoNotCount) {
                let unconfirmed = &mut producer.unconfirmed[unit];
                *unconfirmed = [unconfirmed[0] + unconfirmed[1], 0];
            }
        }
    }

    /// `Ledger::claim`
    fn begin_or_forget(&self, state: &mut State, consumer: usize, unit: usize) {
        let place = &mut state.consumers[consumer][unit];
        let Some(held) = place else { return };
        if held.before == 0 {
            // The connection has ended, so the broker redelivers the unit.
            *place = None;
            return;
        }
        held.progress = Progress::Begun;
        if !self.has(Safeguard::UnitIsAcknowledgedAfterConfirmation) {
            held.before = 0;
            state.was_early = true;
        }
    }

    /// `Ledger::confirm`
    fn settle(&self, state: &mut State, consumer: usize, unit: usize) {
        let place = &mut state.consumers[consumer][unit];
        let Some(later) = take(place)
            .map(|held| held.after)
            .filter(|later| *later > 0)
        else {
            return;
        };
        if self.has(Safeguard::ConfirmationSettlesNothingLater) {
            *place = Some(Held {
                progress: Progress::Begun,
                before: later,
                after: 0,
            });
        } else {
            state.was_early = true;
        }
    }

    fn strike(&self, state: &mut State, fault: Action) {
        match fault {
            Action::KillProducer => {
                let done = state.results.map(|results| results > 0);
                state.producer = Producer::new(if self.has(Safeguard::ResultsAreReadBack) {
                    done
                } else {
                    Default::default()
                });
                give_answers_back(state);
            }
            Action::KillConsumer { consumer } => {
                cut_taking(state, consumer);
                state.consumers[consumer] = Default::default();
            }
            Action::CutPublishing => self.cut_publishing(&mut state.producer),
            Action::CutCollecting => cut_collecting(state),
            Action::CutTaking { consumer } => cut_taking(state, consumer),
            Action::CutAnswering { consumer } => self.cut_answering(state, consumer),
            Action::LoseAcknowledgement { consumer, unit } => {
                let lost = state.consumers[consumer][unit]
                    .as_ref()
                    .map(|held| held.before);
                self.settle(state, consumer, unit);
                state.jobs[unit] += lost.unwrap_or_default();
                cut_taking(state, consumer);
            }
            Action::AnswerWrongly { consumer, unit } => answer(state, consumer, unit, WRONG),
            Action::LoseResultsQueue => state.answers = None,
            Action::RestartBroker {
                loses_results_queue,
            } => {
                if loses_results_queue {
                    state.answers = None;
                }
                self.cut_publishing(&mut state.producer);
                cut_collecting(state);
                for consumer in 0..self.consumers {
                    cut_taking(state, consumer);
                    self.cut_answering(state, consumer);
                }
            }
            _ => unreachable!("{fault:?} is no fault"),
        }
    }

    /// The producer's publishing connection ends: messages and confirms on the way are lost.
    fn cut_publishing(&self, producer: &mut Producer) {
        if !self.has(Safeguard::UnconfirmedUnitIsPublishedAgain) {
            producer.waiting = Default::default();
            producer.unconfirmed = Default::default();
            return;
        }
        for (waiting, unconfirmed) in producer.waiting.iter_mut().zip(&mut producer.unconfirmed) {
            *waiting |= take(unconfirmed) != [0, 0];
        }
    }

    /// The connection on which a consumer publishes answers ends, likewise.
    fn cut_answering(&self, state: &mut State, consumer: usize) {
        for place in &mut state.consumers[consumer] {
            let Some(held) = place else { continue };
            if held.progress == Progress::Waiting {
                continue;
            }
            held.progress = Progress::Begun;
            held.before += take(&mut held.after);
            if !self.has(Safeguard::UnconfirmedAnswerIsSentAgain) {
                // The unit is not acknowledged either.
                *place = None;
            }
        }
    }
}

/// `Ledger::enter`
fn receive(state: &mut State, consumer: usize, unit: usize) {
    state.jobs[unit] -= 1;
    let held = state.consumers[consumer][unit].get_or_insert(Held {
        progress: Progress::Waiting,
        before: 0,
        after: 0,
    });
    match held.progress {
        Progress::Waiting | Progress::Begun => held.before += 1,
        Progress::Answered => held.after += 1,
    }
}

/// The broker accepts an answer. Without the run's queue the answer goes astray, but is confirmed
/// all the same.
fn answer(state: &mut State, consumer: usize, unit: usize, kind: usize) {
    if let Some(held) = &mut state.consumers[consumer][unit] {
        held.progress = Progress::Answered;
    }
    if let Some(answers) = &mut state.answers {
        answers.ready[unit][kind] += 1;
    }
}

/// The connection on which a consumer receives units ends: the broker requeues unacknowledged
/// units.
fn cut_taking(state: &mut State, consumer: usize) {
    for (held, jobs) in state.consumers[consumer].iter_mut().zip(&mut state.jobs) {
        if let Some(held) = held {
            *jobs += take(&mut held.before) + take(&mut held.after);
        }
    }
}

/// The connection on which the producer receives answers ends, likewise.
fn cut_collecting(state: &mut State) {
    give_answers_back(state);
    state.producer.collecting = Collecting::Look;
}

fn give_answers_back(state: &mut State) {
    if let Some(answers) = &mut state.answers {
        for unit in 0..UNITS {
            for kind in [RIGHT, WRONG] {
                answers.ready[unit][kind] += take(&mut answers.settled[unit][kind]);
            }
        }
    }
}

impl Producer {
    /// A process that has just started.
    fn new(done: PerUnit<bool>) -> Self {
        Self {
            collecting: Collecting::Look,
            is_publishing: false,
            journal_is_closed: false,
            was_lost: false,
            waiting: Default::default(),
            outstanding: Default::default(),
            unconfirmed: Default::default(),
            done,
            received: Default::default(),
        }
    }

    /// Marks all units without a result as to be published.
    fn ask_for_all(&mut self) {
        for (waiting, done) in self.waiting.iter_mut().zip(self.done) {
            *waiting |= !done;
        }
    }
}

impl State {
    /// Whether every unit has a result.
    fn is_complete(&self) -> bool {
        self.results.iter().all(|results| *results > 0)
    }

    /// The smallest of the equivalent states that differ only in the order of units and consumers.
    pub(super) fn representative(&self) -> Self {
        let mut this = self.clone();
        this.consumers.sort();
        let mut other = self.clone();
        other.swap_units();
        other.consumers.sort();
        this.min(other)
    }

    fn tidy(&mut self, unit: usize) {
        self.producer.waiting[unit] = false;
        self.producer.outstanding[unit] = false;
        self.producer.unconfirmed[unit] = [0, 0];
        self.journal[unit] = false;
        self.jobs[unit] = 0;
        if let Some(answers) = &mut self.answers {
            answers.ready[unit] = [0, 0];
            answers.settled[unit] = [0, 0];
        }
        for held in &mut self.consumers {
            held[unit] = None;
        }
    }

    fn swap_units(&mut self) {
        let producer = &mut self.producer;
        producer.waiting.swap(0, 1);
        producer.outstanding.swap(0, 1);
        producer.unconfirmed.swap(0, 1);
        producer.done.swap(0, 1);
        producer.received.swap(0, 1);
        self.journal.swap(0, 1);
        self.results.swap(0, 1);
        self.jobs.swap(0, 1);
        if let Some(answers) = &mut self.answers {
            answers.ready.swap(0, 1);
            answers.settled.swap(0, 1);
        }
        for held in &mut self.consumers {
            held.swap(0, 1);
        }
    }
}
