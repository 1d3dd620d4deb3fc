//! The progress of a run on standard error: a bar on a terminal, otherwise a line every few
//! seconds.

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

/// Interval between the progress lines if standard error is not a terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// The bar on the terminal. Other output must suspend it while it writes.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// A writer to standard error that suspends the bar during each write.
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

/// Writes whole lines to standard output while the bar is suspended.
///
/// # Errors
/// Standard output cannot be written; a closed one is not an error.
pub(crate) fn print_beside_bar(lines: &[u8]) -> Result<(), OutputError> {
    let bar = BAR.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match bar {
        Some(bar) => bar.suspend(|| print_lines(lines)),
        None => print_lines(lines),
    }
}

/// Shows the progress of a run on standard error.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    what: String,
    jobs: u64,
    done_before: u64,
    last_line: Instant,
}

impl Progress {
    /// Shows the bar of a run of `jobs` jobs, if standard error is a terminal. `what`: description
    /// of the jobs; `done_before`: number of jobs that ended in earlier sessions.
    #[must_use]
    pub fn new(what: &str, jobs: u64, done_before: u64) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar =
                ProgressBar::with_draw_target(Some(jobs), ProgressDrawTarget::stderr_with_hz(10));
            // The template is a constant and valid; otherwise the default style remains.
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

    /// Updates the bar, or writes a line if one is due. `done`, `failed`: number of jobs that have
    /// ended, and of those with an outcome other than `ok`; `queue`: state of the job queue;
    /// `since`: time of the first publication; `stage`: progress of a long job, as text.
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
            // The text of a stage has its own time left.
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
        // There is nowhere to report that standard error is closed.
        let _ = log_writer().write_all(format!("{line}\n").as_bytes());
    }

    /// Removes the bar.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            *BAR.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

/// The text `, 42 seconds left`; empty if more than about four months are left.
pub(crate) fn time_left(seconds: f64) -> String {
    if seconds < 1e7 {
        let left = Duration::from_secs(seconds.ceil() as u64);
        format!(", {} left", indicatif::HumanDuration(left))
    } else {
        String::new()
    }
}

/// A count with its noun, such as `1 unit` or `2 units`.
#[must_use]
pub fn plural(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
