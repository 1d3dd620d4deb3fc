//! Draws the screen of `primepool top`.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Modifier, Style},
    text::{Line, Text},
    widgets::{Block, Cell, Paragraph, Row, Sparkline, Table, TableState},
};

use super::screen::Screen;
use crate::{
    columns::{about, cut, or_dash, silent_for},
    report::{NodeLine, Report, RunLine},
};

/// Width of the progress bar of a run, in characters.
const BAR: usize = 20;

/// Most characters of a run's description.
const WIDEST: usize = 24;

/// Lines of the throughput chart, borders included.
const PACE_LINES: u16 = 6;

/// Most lines for alarms.
const MOST_ALARMS: u16 = 4;

/// Draws the whole screen.
pub(super) fn draw(frame: &mut Frame<'_>, screen: &Screen) {
    let Some(report) = &screen.report else {
        let text = screen.news.as_deref().unwrap_or("looking at the pool …");
        frame.render_widget(Paragraph::new(text), frame.area());
        return;
    };
    let alarms = u16::try_from(report.alarms.len()).unwrap_or(MOST_ALARMS);
    let alarms = alarms.min(MOST_ALARMS);
    let tables = [Constraint::Fill(1), Constraint::Fill(1)];
    let [head, throughput, upper, runs, below, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(PACE_LINES),
        tables[0],
        tables[1],
        Constraint::Length(alarms),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let [nodes, queues] =
        Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)]).areas(upper);
    frame.render_widget(Paragraph::new(headline(report)), head);
    draw_throughput(frame, screen, throughput);
    draw_nodes(frame, &report.nodes, nodes);
    draw_queues(frame, report, queues);
    draw_runs(frame, screen, runs);
    let lines = report.alarms.iter().take(usize::from(alarms));
    let lines: Vec<_> = lines.map(|alarm| Line::raw(alarm.as_str())).collect();
    let bold = Style::new().add_modifier(Modifier::BOLD);
    frame.render_widget(Paragraph::new(Text::from(lines)).style(bold), below);
    frame.render_widget(Paragraph::new(footer(screen)), foot);
}

fn headline(report: &Report) -> String {
    let (mut busy, mut workers, mut failed) = (0, 0, 0_u64);
    for node in &report.nodes {
        busy += u64::from(node.busy_workers);
        workers += u64::from(node.workers);
        failed = failed.saturating_add(node.jobs_failed);
    }
    let nodes = match report.nodes.len() {
        1 => "1 node".to_owned(),
        nodes => format!("{nodes} nodes"),
    };
    format!(
        "{}  {nodes}, {busy} of {workers} workers busy, {failed} jobs failed, {} dead letters",
        report.broker, report.dead.letters
    )
}

fn footer(screen: &Screen) -> String {
    if let Some(run) = &screen.asked {
        return format!("cancel run {run} for good? y: yes, any other key: no");
    }
    let keys = format!(
        "q quit  s sort (by {})  ↑↓ select  c cancel the run",
        screen.sort.name()
    );
    match &screen.news {
        Some(news) => format!("{keys}  — {news}"),
        None => keys,
    }
}

fn draw_throughput(frame: &mut Frame<'_>, screen: &Screen, area: Rect) {
    let title = format!(" throughput: {:.1} jobs/s ", screen.throughput.now());
    let block = Block::bordered().title(title);
    let width = usize::from(block.inner(area).width);
    let history = screen.throughput.history();
    let skipped = history.len().saturating_sub(width);
    // The chart takes integers: one step is 0.1 jobs per second.
    let bars: Vec<u64> = history
        .skip(skipped)
        .map(|rate| (10.0 * rate).round() as u64)
        .collect();
    frame.render_widget(Sparkline::default().block(block).data(&bars), area);
}

fn draw_nodes(frame: &mut Frame<'_>, nodes: &[NodeLine], area: Rect) {
    let rows = nodes.iter().map(|node| {
        let state = match node.silent_s {
            Some(silence) => silent_for(silence),
            None => bar(node.busy_workers.into(), node.workers.into(), 8),
        };
        Row::new([
            node.node.clone(),
            state,
            format!("{}/{}", node.busy_workers, node.workers),
            format!("{:.0}%", node.cpu_pct),
            node.jobs_ok.to_string(),
            node.jobs_failed.to_string(),
        ])
    });
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(16),
        Constraint::Length(9),
        Constraint::Length(5),
        Constraint::Length(10),
        Constraint::Length(7),
    ];
    let titles = ["NODE", "", "BUSY", "CPU", "JOBS OK", "FAILED"];
    frame.render_widget(table(rows, &widths, titles).block(Block::bordered()), area);
}

fn draw_queues(frame: &mut Frame<'_>, report: &Report, area: Rect) {
    let rows = report.queues.iter().map(|queue| {
        let name = queue.queue.strip_prefix("primepool.");
        Row::new([
            name.unwrap_or(&queue.queue).to_owned(),
            queue.ready.to_string(),
            or_dash(queue.unacked),
            queue.consumers.to_string(),
        ])
    });
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Length(9),
    ];
    let titles = ["QUEUE", "READY", "UNACKED", "CONSUMERS"];
    frame.render_widget(table(rows, &widths, titles).block(Block::bordered()), area);
}

fn draw_runs(frame: &mut Frame<'_>, screen: &Screen, area: Rect) {
    let rows = screen.runs().iter().map(run_row);
    let widths = [
        Constraint::Length(24),
        Constraint::Length(24),
        Constraint::Length(26),
        Constraint::Length(10),
        Constraint::Length(15),
        Constraint::Fill(1),
    ];
    let titles = ["RUN", "JOBS", "DONE", "JOBS/S", "LEFT", "BY"];
    let highlighted = Style::new().add_modifier(Modifier::REVERSED);
    let table = table(rows, &widths, titles)
        .row_highlight_style(highlighted)
        .block(Block::bordered());
    let mut state = TableState::default().with_selected(screen.selected_index());
    frame.render_stateful_widget(table, area, &mut state);
}

fn run_row(run: &RunLine) -> Row<'static> {
    let percent = 100.0 * run.done as f64 / run.jobs.max(1) as f64;
    let left = match (run.silent_s, run.left_s) {
        (Some(silence), _) => silent_for(silence),
        (None, left) => or_dash(left.map(about)),
    };
    Row::new([
        run.run.to_string(),
        cut(&run.what, WIDEST),
        format!("{} {percent:3.0}%", bar(run.done, run.jobs, BAR)),
        format!("{:.1}", run.jobs_per_s),
        left,
        or_dash(run.by.as_ref()),
    ])
}

fn table<'r, const N: usize>(
    rows: impl Iterator<Item = Row<'r>>,
    widths: &[Constraint; N],
    titles: [&'static str; N],
) -> Table<'r> {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    Table::new(rows, widths).header(Row::new(titles.map(Cell::from)).style(bold))
}

/// A bar of `width` characters.
fn bar(part: u64, whole: u64, width: usize) -> String {
    let share = part.min(whole) as f64 / whole.max(1) as f64;
    let full = (share * width as f64).round() as usize;
    format!("{}{}", "█".repeat(full), "░".repeat(width - full))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Instant;

    use ratatui::{
        Terminal,
        backend::TestBackend,
        crossterm::event::{KeyCode, KeyEvent},
    };

    use super::*;
    use crate::report::tests::report;

    fn drawn(screen: &Screen, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, screen)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn the_screen_shows_nodes_runs_and_alarms() {
        let mut screen = Screen::default();
        assert!(drawn(&screen, 120, 40).contains("looking at the pool"));
        screen.take(report(&[("r1", 4.5), ("r2", 0.0)]), Instant::now());
        let shown = drawn(&screen, 130, 40);
        for text in [
            "1 node, 1 of 2 workers busy, 0 jobs failed",
            "throughput: 0.0 jobs/s",
            "████░░░░",
            "primes of 64 bits",
            "██░░░░░░░░░░░░░░░░░░  10%",
            "20 s",
            "look here",
            "s sort (by name)",
        ] {
            assert!(shown.contains(text), "{text} in\n{shown}");
        }
        screen.on_key(KeyEvent::from(KeyCode::Char('c')));
        assert!(drawn(&screen, 130, 40).contains("cancel run r1 for good?"));
        // A terminal that is too small for the whole screen.
        for (width, height) in [(1, 1), (20, 5), (300, 3)] {
            drawn(&screen, width, height);
        }
    }

    #[test]
    fn bars_stay_within_their_width() {
        assert_eq!(bar(1, 2, 4), "██░░");
        assert_eq!(bar(0, 0, 4), "░░░░");
        assert_eq!(bar(9, 2, 4), "████");
        assert_eq!(bar(u64::MAX, u64::MAX, 4), "████");
    }
}
