//! The state of the screen, and the effect of keys: a state machine without a terminal.

use std::{cmp::Ordering, time::Instant};

use primepool_common::message::RunId;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::{
    report::{Report, RunLine},
    throughput::Throughput,
};

/// The order of the runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Sort {
    /// Oldest first.
    #[default]
    Name,
    /// Fastest first.
    Rate,
    /// Soonest end first.
    Left,
}

impl Sort {
    fn next(self) -> Self {
        match self {
            Self::Name => Self::Rate,
            Self::Rate => Self::Left,
            Self::Left => Self::Name,
        }
    }

    /// Name of the order, shown in the footer.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Rate => "jobs/s",
            Self::Left => "time left",
        }
    }

    fn compare(self, a: &RunLine, b: &RunLine) -> Ordering {
        let left = |run: &RunLine| run.left_s.unwrap_or(f64::INFINITY);
        let order = match self {
            Self::Name => Ordering::Equal,
            Self::Rate => b.jobs_per_s.total_cmp(&a.jobs_per_s),
            Self::Left => left(a).total_cmp(&left(b)),
        };
        order.then_with(|| a.run.cmp(&b.run))
    }
}

/// An action that a key requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    Quit,
    Cancel(RunId),
}

/// The state of the screen.
#[derive(Debug, Default)]
pub(super) struct Screen {
    /// The last report; `None` before the first.
    pub(super) report: Option<Report>,
    pub(super) throughput: Throughput,
    pub(super) sort: Sort,
    /// The run that is highlighted; keys apply to it.
    pub(super) selected: Option<RunId>,
    /// The run that is cancelled if the user confirms with `y`.
    pub(super) asked: Option<RunId>,
    /// The last event: a cancelled run, or why there is no newer report.
    pub(super) news: Option<String>,
}

impl Screen {
    /// Shows a new report.
    pub(super) fn take(&mut self, mut report: Report, now: Instant) {
        self.throughput.note(&report.nodes, now);
        report.runs.sort_by(|a, b| self.sort.compare(a, b));
        self.report = Some(report);
        self.keep_selection();
    }

    /// Runs in the order of the screen.
    pub(super) fn runs(&self) -> &[RunLine] {
        self.report.as_ref().map_or(&[], |report| &report.runs)
    }

    /// Index of the selected run.
    pub(super) fn selected_index(&self) -> Option<usize> {
        let selected = self.selected.as_ref()?;
        self.runs().iter().position(|run| run.run == *selected)
    }

    /// Handles a key.
    pub(super) fn on_key(&mut self, key: KeyEvent) -> Option<Command> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return (key.code == KeyCode::Char('c')).then_some(Command::Quit);
        }
        if let Some(run) = self.asked.take() {
            // Only `y` cancels; any other key answers no.
            return (key.code == KeyCode::Char('y')).then_some(Command::Cancel(run));
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Some(Command::Quit),
            KeyCode::Char('s') => {
                self.sort = self.sort.next();
                let sort = self.sort;
                if let Some(report) = &mut self.report {
                    report.runs.sort_by(|a, b| sort.compare(a, b));
                }
            }
            KeyCode::Down | KeyCode::Char('j') => self.select(1),
            KeyCode::Up | KeyCode::Char('k') => self.select(-1),
            KeyCode::Char('c') => self.asked = self.selected.clone(),
            _ => {}
        }
        None
    }

    fn select(&mut self, step: isize) {
        let last = self.runs().len().saturating_sub(1);
        let index = self.selected_index().unwrap_or(0);
        let index = index.saturating_add_signed(step).min(last);
        self.selected = self.runs().get(index).map(|run| run.run.clone());
    }

    /// Selects the first run if the selected one has gone; drops a question about a run that has.
    fn keep_selection(&mut self) {
        if self.selected_index().is_none() {
            self.selected = self.runs().first().map(|run| run.run.clone());
        }
        let is_there = |run: &RunId| self.runs().iter().any(|line| line.run == *run);
        if !self.asked.as_ref().is_none_or(is_there) {
            self.asked = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    fn press(screen: &mut Screen, code: KeyCode) -> Option<Command> {
        screen.on_key(KeyEvent::from(code))
    }

    fn order(screen: &Screen) -> String {
        let names = screen.runs().iter().map(|run| run.run.as_str());
        names.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn runs_are_sorted_and_the_selected_one_stays() {
        let mut screen = Screen::default();
        screen.take(
            report(&[("r1", 1.0), ("r2", 9.0), ("r3", 0.0)]),
            Instant::now(),
        );
        assert_eq!(
            (order(&screen).as_str(), screen.selected_index()),
            ("r1 r2 r3", Some(0))
        );
        press(&mut screen, KeyCode::Char('s'));
        assert_eq!(
            (order(&screen).as_str(), screen.selected_index()),
            ("r2 r1 r3", Some(1))
        );
        press(&mut screen, KeyCode::Char('s'));
        assert_eq!(screen.sort, Sort::Left);
        assert_eq!(
            order(&screen),
            "r2 r1 r3",
            "a run without a rate has no end"
        );
        for _ in 0..5 {
            press(&mut screen, KeyCode::Down);
        }
        assert_eq!(screen.selected_index(), Some(2));
        screen.take(report(&[("r1", 1.0)]), Instant::now());
        assert_eq!(
            screen.selected_index(),
            Some(0),
            "the selected one has gone"
        );
        press(&mut screen, KeyCode::Up);
        assert_eq!(screen.selected_index(), Some(0));
    }

    #[test]
    fn a_run_is_cancelled_only_after_a_clear_yes() {
        let mut screen = Screen::default();
        assert_eq!(press(&mut screen, KeyCode::Char('c')), None);
        assert_eq!(screen.asked, None, "there is no run");
        screen.take(report(&[("r1", 1.0), ("r2", 9.0)]), Instant::now());
        for no in [
            KeyCode::Char('n'),
            KeyCode::Esc,
            KeyCode::Enter,
            KeyCode::Char('q'),
        ] {
            press(&mut screen, KeyCode::Char('c'));
            assert!(screen.asked.is_some());
            assert_eq!(press(&mut screen, no), None, "{no}");
            assert_eq!(screen.asked, None);
        }
        press(&mut screen, KeyCode::Char('j'));
        press(&mut screen, KeyCode::Char('c'));
        let done = press(&mut screen, KeyCode::Char('y'));
        assert_eq!(done, "r2".parse().ok().map(Command::Cancel));
        // If the run in question has gone, `y` does not cancel the run that is now selected.
        press(&mut screen, KeyCode::Char('c'));
        screen.take(report(&[("r1", 1.0)]), Instant::now());
        assert_eq!(press(&mut screen, KeyCode::Char('y')), None);
    }

    #[test]
    fn three_keys_quit() {
        let mut screen = Screen::default();
        for code in [KeyCode::Char('q'), KeyCode::Esc] {
            assert_eq!(press(&mut screen, code), Some(Command::Quit));
        }
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(screen.on_key(interrupt), Some(Command::Quit));
    }
}
