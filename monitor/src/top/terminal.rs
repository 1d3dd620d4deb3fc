//! The event loop of `primepool top`: keys, drawing, and polling the pool.

use std::{
    io::{IsTerminal, stdin, stdout},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use primepool_common::{
    broker::{Backoff, BrokerError, Endpoint, cancel_run},
    exit::Exit,
    message::RunId,
    shutdown::StopSignals,
    text::reason,
};
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event},
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::{MissedTickBehavior, interval, sleep},
};

use super::{
    draw::draw,
    screen::{Command, Screen},
};
use crate::{Failure, observer::Observer, unreachable};

/// How often the thread that reads keys checks whether the program still runs.
const LOOK: Duration = Duration::from_millis(200);

/// Shows the pool until the user quits.
///
/// # Errors
/// There is no terminal, or the broker cannot be reached at the start or refuses.
pub(crate) async fn run(endpoint: Endpoint, every: Duration) -> Result<Exit, Failure> {
    if !(stdin().is_terminal() && stdout().is_terminal()) {
        return Err((
            Exit::Usage,
            anyhow!("`primepool top` needs a terminal: `primepool status --watch` writes lines"),
        ));
    }
    let mut signals = StopSignals::listen().map_err(|error| (Exit::Incomplete, anyhow!(error)))?;
    let observer = Observer::connect(endpoint.clone())
        .await
        .map_err(unreachable)?;
    let terminal = ratatui::try_init()
        .context("cannot use the terminal")
        .map_err(|error| (Exit::Incomplete, error))?;
    let mut top = Top {
        endpoint,
        observer,
        terminal,
        screen: Screen::default(),
    };
    let ended = tokio::select! {
        ended = top.show(every, read_keys()) => ended,
        _ = signals.next() => Ok(Exit::Interrupted),
    };
    ratatui::restore();
    ended
}

/// Reads keys in a thread of its own, because the terminal's blocking reads do not fit into
/// `select!`.
fn read_keys() -> UnboundedReceiver<Event> {
    let (sender, events) = unbounded_channel();
    thread::spawn(move || {
        while !sender.is_closed() {
            let event = match event::poll(LOOK) {
                Ok(false) => continue,
                Ok(true) => event::read(),
                Err(error) => Err(error),
            };
            // The terminal is gone: closing the channel ends the program.
            let Ok(event) = event else { return };
            if sender.send(event).is_err() {
                return;
            }
        }
    });
    events
}

struct Top {
    endpoint: Endpoint,
    observer: Observer,
    terminal: DefaultTerminal,
    screen: Screen,
}

impl Top {
    async fn show(
        &mut self,
        every: Duration,
        mut events: UnboundedReceiver<Event>,
    ) -> Result<Exit, Failure> {
        let mut tick = interval(every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.draw()?;
            tokio::select! {
                _ = tick.tick() => {}
                () = self.observer.listen() => {}
                event = events.recv() => {
                    match event {
                        Some(Event::Key(key)) => match self.screen.on_key(key) {
                            Some(Command::Quit) => return Ok(Exit::Ok),
                            Some(Command::Cancel(run)) => self.cancel(&run).await,
                            None => {}
                        },
                        Some(_) => {}
                        None => return Ok(Exit::Incomplete),
                    }
                    continue;
                }
            }
            match self.observer.report().await {
                Ok(report) => self.screen.take(report, Instant::now()),
                Err(error) => {
                    if let Some(exit) = self.reconnect(error, &mut events).await? {
                        return Ok(exit);
                    }
                }
            }
        }
    }

    fn draw(&mut self) -> Result<(), Failure> {
        let drawn = self.terminal.draw(|frame| draw(frame, &self.screen));
        drawn
            .context("cannot draw on the terminal")
            .map_err(|error| (Exit::Incomplete, error))?;
        Ok(())
    }

    async fn cancel(&mut self, run: &RunId) {
        let name = format!("primepool cancel {run}");
        let news = match cancel_run(&self.endpoint, run, &name).await {
            Ok(_) => format!("run {run} is cancelled"),
            Err(error) => format!("cannot cancel run {run}: {}", reason(&error.to_string())),
        };
        self.screen.news = Some(news);
    }

    /// Reconnects until it succeeds; returns the exit status if the user quits meanwhile.
    async fn reconnect(
        &mut self,
        mut error: BrokerError,
        events: &mut UnboundedReceiver<Event>,
    ) -> Result<Option<Exit>, Failure> {
        let mut backoff = Backoff::new();
        loop {
            if error.needs_operator() {
                return Err(unreachable(error));
            }
            let delay = backoff.next_delay();
            self.screen.news = Some(format!("trying again: {}", reason(&error.to_string())));
            self.draw()?;
            let retried = async {
                sleep(delay).await;
                self.observer.reconnect().await
            };
            let quit = async {
                loop {
                    match events.recv().await {
                        Some(Event::Key(key)) => {
                            if self.screen.on_key(key) == Some(Command::Quit) {
                                return Exit::Ok;
                            }
                        }
                        Some(_) => {}
                        None => return Exit::Incomplete,
                    }
                }
            };
            tokio::select! {
                outcome = retried => match outcome {
                    Ok(()) => {
                        self.screen.news = None;
                        return Ok(None);
                    }
                    Err(again) => error = again,
                },
                exit = quit => return Ok(Some(exit)),
            }
        }
    }
}
