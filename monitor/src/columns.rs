//! Plain-text tables, and short forms of values.

use std::fmt::Write;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A table: the first line holds the column titles; two spaces separate the columns.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The table as text; each line ends with a newline.
    pub(crate) fn render(&self) -> String {
        let width = |column: usize, title: &str| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
            widest.max(title.chars().count())
        };
        let widths: Vec<_> = (0..)
            .zip(&self.columns)
            .map(|(column, (title, _))| width(column, title))
            .collect();
        let mut text = String::new();
        let titles = self.columns.iter().map(|(title, _)| (*title).to_owned());
        for row in [titles.collect()].iter().chain(&self.rows) {
            text.push_str(self.line(row, &widths).trim_end());
            text.push('\n');
        }
        text
    }

    fn line(&self, row: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for ((cell, width), (_, align)) in row.iter().zip(widths).zip(&self.columns) {
            if !line.is_empty() {
                line.push_str("  ");
            }
            // Writing to a String cannot fail.
            let _ = match align {
                Align::Left => write!(line, "{cell:<width$}"),
                Align::Right => write!(line, "{cell:>width$}"),
            };
        }
        line
    }
}

/// `text`, truncated to `most` characters; `…` marks the cut.
pub(crate) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let start: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", start.trim_end())
}

/// A value as text, `-` where there is none.
pub(crate) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Text for the time since the last announcement.
pub(crate) fn silent_for(seconds: u64) -> String {
    format!("silent for {seconds} s")
}

/// Short form of a duration: `12 s`, `3 min`, `2 h 05 min`, `4 d`.
pub(crate) fn about(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round();
    if seconds < 120.0 {
        return format!("{seconds} s");
    }
    let minutes = (seconds / 60.0) as u64;
    match minutes {
        ..120 => format!("{minutes} min"),
        120..2880 => format!("{} h {:02} min", minutes / 60, minutes % 60),
        _ => format!("{} d", minutes / 1440),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&[("NODE", Align::Left), ("BUSY", Align::Right)]);
        table.row(vec!["λ".into(), "1/2".into()]);
        table.row(vec!["a-long-name".into(), "10/10".into()]);
        assert_eq!(
            table.render(),
            "NODE          BUSY\nλ              1/2\na-long-name  10/10\n"
        );
    }

    #[test]
    fn texts_and_times_are_short() {
        assert_eq!(cut("primes", 6), "primes");
        assert_eq!(cut("primes of 1024 bits", 8), "primes…");
        for (seconds, shown) in [
            (-1.0, "0 s"),
            (119.4, "119 s"),
            (600.0, "10 min"),
            (7500.0, "2 h 05 min"),
            (500_000.0, "5 d"),
        ] {
            assert_eq!(about(seconds), shown);
        }
    }
}
