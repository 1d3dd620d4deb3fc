//! The progress of a run: a bar on a terminal, a line now and then elsewhere.

use std::{
    io::{self, IsTerminal, Write},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use primepool_common::{
    output::{OutputError, print_lines},
    topology::QueueState,
};

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// The bar that is on the terminal now: log lines have to make room for themselves.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// A writer to standard error that moves the bar out of the way.
#[must_use]
pub fn log_writer() -> impl Write {
    struct BesideBar;
    impl Write for BesideBar {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            let bar = BAR.lock().unwrap_or_else(PoisonError::into_inner).clone();
            match bar {
                Some(bar) => bar.suspend(|| io::stderr().write(line)),
                None => io::stderr().write(line),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            io::stderr().flush()
        }
    }
    BesideBar
}

/// Writes whole lines to standard output, and moves the bar out of the way.
///
/// # Errors
/// Standard output is there and cannot be written.
pub(crate) fn print_beside_bar(lines: &[u8]) -> Result<(), OutputError> {
    let bar = BAR.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match bar {
        Some(bar) => bar.suspend(|| print_lines(lines)),
        None => print_lines(lines),
    }
}

/// Shows how far a run is, on standard error.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    what: String,
    jobs: u64,
    done_before: u64,
    last_line: Instant,
}

impl Progress {
    /// For a run of so many jobs, `done_before` of which are done already.
    #[must_use]
    pub fn new(what: &str, jobs: u64, done_before: u64) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar =
                ProgressBar::with_draw_target(Some(jobs), ProgressDrawTarget::stderr_with_hz(10));
            // The template is a constant: a mistake in it shows in the first run.
            if let Ok(style) = ProgressStyle::with_template(
                "{spinner:.green} {wide_bar:.cyan/blue} {pos}/{len} {msg}",
            ) {
                bar.set_style(style.progress_chars("━╸─"));
            }
            bar.set_position(done_before);
            *BAR.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.clone());
            bar
        });
        Self {
            bar,
            what: what.to_owned(),
            jobs,
            done_before,
            last_line: Instant::now(),
        }
    }

    /// Shows the state now.
    ///
    /// `since`: when the first unit was published. `stage`: how far one job is that takes long.
    pub fn update(
        &mut self,
        done: u64,
        failed: u64,
        queue: Option<QueueState>,
        since: Option<Instant>,
        stage: Option<&str>,
    ) {
        let elapsed = since.map_or(Duration::ZERO, |since| since.elapsed());
        let rate = (done - self.done_before) as f64 / elapsed.as_secs_f64().max(1e-3);
        let mut parts: Vec<String> = stage.map(str::to_owned).into_iter().collect();
        if rate > 0.0 {
            let left = (self.jobs - done) as f64 / rate;
            // The stage of a long job has a time of its own.
            let left = (stage.is_none() && done < self.jobs).then(|| time_left(left));
            parts.push(format!("{rate:.1}/s{}", left.unwrap_or_default()));
        }
        if let Some(queue) = queue {
            if queue.ready > 0 {
                parts.push(format!("{} queued", plural(queue.ready.into(), "unit")));
            }
            parts.push(plural(queue.consumers.into(), "consumer"));
        }
        if failed > 0 {
            parts.push(format!("{failed} failed"));
        }
        let message = parts.join(", ");
        match &self.bar {
            Some(bar) => {
                bar.set_message(message);
                bar.set_position(done);
                bar.tick();
            }
            None if self.last_line.elapsed() >= LINE_EVERY => {
                self.last_line = Instant::now();
                self.say(&format!("{done} of {} {}: {message}", self.jobs, self.what));
            }
            None => {}
        }
    }

    /// Writes a line to standard error without disturbing the bar.
    pub fn say(&self, line: &str) {
        // Standard error that is gone has nobody to tell.
        let _ = log_writer().write_all(format!("{line}\n").as_bytes());
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            *BAR.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

/// `, 42 seconds left`; nothing above some months.
pub(crate) fn time_left(seconds: f64) -> String {
    if seconds < 1e7 {
        let left = Duration::from_secs(seconds.ceil() as u64);
        format!(", {} left", indicatif::HumanDuration(left))
    } else {
        String::new()
    }
}

/// `1 unit`, `2 units`.
#[must_use]
pub fn plural(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
