//! Draws a chart as SVG.
//!
//! Every element has its colour as an attribute, for a light page, and a class, by which a page of its own style can give it
//! another. There are no ids, so that any number of charts can stand in one page.

use std::fmt::Write as _;

/// Width of a chart in its own units; text is 14 of them high.
pub(crate) const WIDTH: f64 = 640.0;
pub(crate) const FONT: &str = "DejaVu Sans, sans-serif";
/// Blue, orange, green, purple, sky, vermilion, brown, black: after Okabe and Ito, told apart by colour-blind people too.
pub(crate) const COLOURS: [&str; 8] = [
    "#0072b2", "#d98200", "#009e73", "#b5558f", "#3fa3db", "#d55e00", "#7a5c2e", "#333333",
];
pub(crate) const INK: &str = "#1b1f24";
pub(crate) const SOFT: &str = "#57606a";
pub(crate) const GRID: &str = "#e3e7eb";
const TOP: f64 = 14.0;
const RIGHT: f64 = 22.0;
const PLOT_HEIGHT: f64 = 290.0;

/// A chart with both axes from zero.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chart {
    /// What is shown.
    pub title: String,
    /// What is held fixed and how to read it.
    pub subtitle: String,
    /// Across.
    pub x: Axis,
    /// Up.
    pub y: Axis,
    /// What is drawn, the first at the bottom.
    pub series: Vec<Series>,
    /// Places on the x axis that are marked, with their label.
    pub marks: Vec<(f64, String)>,
}

/// An axis from zero.
#[derive(Debug, Clone, Default)]
pub(crate) struct Axis {
    /// What it shows, with its unit.
    pub label: String,
    /// Least end of the axis; it grows to hold what is drawn.
    pub at_least: f64,
    /// Where ticks must stand; round numbers if empty.
    pub ticks: Vec<f64>,
}

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// A line through marked points with bars.
    Measured,
    /// A plain line.
    Line,
    /// A thin line, one of many.
    Thin,
    /// A dashed grey line: what is ideal.
    Ideal,
    /// A dotted line: what is predicted.
    Predicted,
}

/// A line.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    /// Its entry of the legend; none if empty.
    pub name: String,
    /// How it looks.
    pub style: Style,
    /// Which of the colours.
    pub colour: usize,
    /// From left to right.
    pub points: Vec<Point>,
}

/// A point with what it ranges over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    /// Across.
    pub x: f64,
    /// Up.
    pub y: f64,
    /// Ends of the error bar, least first.
    pub range: Option<(f64, f64)>,
}

impl Point {
    /// A point without an error bar.
    #[must_use]
    pub(crate) fn at(x: f64, y: f64) -> Self {
        Self { x, y, range: None }
    }
}

/// A number as a label shows it: no more digits than it needs, thousands apart.
#[must_use]
pub(crate) fn number(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        size if size >= 0.01 => 3,
        size if size >= 0.000_1 => 5,
        _ => return format!("{value:.1e}"),
    };
    let text = format!("{value:.digits$}");
    let text = match text.split_once('.') {
        Some((whole, fraction)) => {
            let fraction = fraction.trim_end_matches('0');
            if fraction.is_empty() {
                whole.to_owned()
            } else {
                format!("{whole}.{fraction}")
            }
        }
        None => text,
    };
    if value.abs() < 10_000.0 {
        return text;
    }
    let (sign, plain) = text
        .strip_prefix('-')
        .map_or(("", &*text), |rest| ("−", rest));
    let mut grouped = String::from(sign);
    for (index, digit) in plain.chars().enumerate() {
        if index > 0 && (plain.len() - index).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

/// Text for XML.
#[must_use]
pub(crate) fn escaped(text: &str) -> String {
    text.chars()
        .fold(String::with_capacity(text.len()), |mut out, c| {
            match c {
                '&' => out.push_str("&amp;"),
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                '"' => out.push_str("&quot;"),
                c if c.is_control() => out.push(' '),
                c => out.push(c),
            }
            out
        })
}

/// Distance of round ticks of which at most `most` fit into `end`: 1, 2 or 5 times a power of ten.
pub(crate) fn tick_step(end: f64, most: f64) -> f64 {
    let rough = end / most;
    let power = 10f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0]
        .into_iter()
        .map(|times| times * power)
        .find(|step| *step >= rough * (1.0 - 1e-9))
        .unwrap_or(10.0 * power)
}

/// About the width of a text in DejaVu Sans.
pub(crate) fn text_width(text: &str, size: f64) -> f64 {
    let width = |c: char| match c {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '|' | '\'' | ' ' | 'f' | 't' | '('
        | ')' => 0.36,
        'm' | 'w' | 'M' | 'W' | '%' | '—' | '×' => 0.92,
        c if c.is_uppercase() => 0.70,
        _ => 0.62,
    };
    text.chars().map(width).sum::<f64>() * size
}

/// Lines of words that are no wider than `width`.
pub(crate) fn wrapped(text: &str, size: f64, width: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line)
                if text_width(line, size) + text_width(word, size) + 0.36 * size <= width =>
            {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Where the chart's parts are, in its own units.
struct Frame {
    left: f64,
    top: f64,
    x_end: f64,
    y_end: f64,
}

impl Frame {
    fn x(&self, value: f64) -> f64 {
        self.left + value / self.x_end * (WIDTH - RIGHT - self.left)
    }

    fn y(&self, value: f64) -> f64 {
        self.top + PLOT_HEIGHT * (1.0 - (value / self.y_end).clamp(0.0, 1.0))
    }

    fn bottom(&self) -> f64 {
        self.top + PLOT_HEIGHT
    }
}

impl Chart {
    /// The chart as an SVG document.
    #[must_use]
    pub(crate) fn svg(&self) -> String {
        let mut body = String::new();
        let after_head = self.head(&mut body);
        let after_legend = self.legend(&mut body, after_head);
        let (y_end, y_ticks) = self.y_ticks();
        let widest = y_ticks
            .iter()
            .map(|tick| text_width(&number(*tick), 13.0))
            .fold(0.0, f64::max);
        let frame = Frame {
            left: 14.0 + 20.0 + widest + 8.0,
            top: after_legend + 12.0,
            x_end: self.x_end(),
            y_end,
        };
        self.grid(&mut body, &frame, &y_ticks);
        for series in &self.series {
            draw(&mut body, &frame, series);
        }
        self.marks(&mut body, &frame);
        let height = frame.bottom() + 58.0;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" height=\"{height:.0}\" \
             role=\"img\" aria-label=\"{label}\" font-family=\"{FONT}\">\n\
             <rect class=\"bg\" width=\"{WIDTH}\" height=\"{height:.0}\" fill=\"#ffffff\"/>\n{body}</svg>\n",
            label = escaped(&format!("{}. {}", self.title, self.subtitle)),
        )
    }

    /// Title and subtitle; returns where they end.
    fn head(&self, body: &mut String) -> f64 {
        let width = WIDTH - 2.0 * TOP;
        let mut y = TOP;
        for line in wrapped(&self.title, 17.5, width) {
            y += 20.0;
            text(body, TOP, y, 17.0, "start", "ink", INK, true, &line);
        }
        y += 2.0;
        for line in wrapped(&self.subtitle, 12.5, width) {
            y += 17.0;
            text(body, TOP, y, 12.5, "start", "soft", SOFT, false, &line);
        }
        y
    }

    /// Entries of the legend in as many rows as they need, if there is more than one; returns where they end.
    fn legend(&self, body: &mut String, top: f64) -> f64 {
        let mut named: Vec<&Series> = self
            .series
            .iter()
            .filter(|series| !series.name.is_empty())
            .collect();
        if named.len() < 2 {
            return top + 8.0;
        }
        // What was measured comes first, though it is drawn last.
        named.sort_by_key(|series| series.style != Style::Measured);
        let (mut x, mut y) = (TOP, top + 24.0);
        for series in named {
            let width = 34.0 + text_width(&series.name, 13.0) + 16.0;
            if x + width > WIDTH && x > TOP {
                x = TOP;
                y += 20.0;
            }
            let swatch = [(x, y - 4.5), (x + 28.0, y - 4.5)];
            polyline(body, &swatch, series);
            if series.style == Style::Measured {
                marker(body, x + 14.0, y - 4.5, series.colour);
            }
            text(
                body,
                x + 34.0,
                y,
                13.0,
                "start",
                "ink",
                INK,
                false,
                &series.name,
            );
            x += width;
        }
        y + 4.0
    }

    fn x_end(&self) -> f64 {
        let points = self
            .series
            .iter()
            .flat_map(|series| &series.points)
            .map(|point| point.x);
        let end = points
            .chain(self.x.ticks.iter().copied())
            .fold(self.x.at_least, f64::max);
        // Room for the last marker.
        if end > 0.0 { end * 1.03 } else { 1.0 }
    }

    /// End of the axis and its ticks.
    fn y_ticks(&self) -> (f64, Vec<f64>) {
        let largest = self
            .series
            .iter()
            .flat_map(|series| &series.points)
            .map(|point| point.range.map_or(point.y, |range| point.y.max(range.1)))
            .filter(|value| value.is_finite())
            .fold(self.y.at_least, f64::max);
        let largest = if largest > 0.0 { largest } else { 1.0 };
        let step = tick_step(largest, 6.0);
        let count = (largest / step * (1.0 - 1e-9)).ceil() as u32;
        let ticks: Vec<f64> = (0..=count).map(|index| f64::from(index) * step).collect();
        (f64::from(count) * step, ticks)
    }

    fn x_ticks(&self, frame: &Frame) -> Vec<f64> {
        if self.x.ticks.is_empty() {
            let step = tick_step(frame.x_end, 9.0);
            return (0..)
                .map(|index| f64::from(index) * step)
                .take_while(|tick| *tick <= frame.x_end)
                .collect();
        }
        let mut kept: Vec<f64> = vec![0.0];
        // From the right, as the largest are farthest apart and must be there.
        let mut limit = f64::INFINITY;
        for tick in self.x.ticks.iter().rev() {
            let half = text_width(&number(*tick), 13.0) / 2.0;
            let at = frame.x(*tick);
            if at + half + 7.0 <= limit && at - half > frame.x(0.0) + 9.0 {
                kept.push(*tick);
                limit = at - half;
            }
        }
        kept
    }

    fn grid(&self, body: &mut String, frame: &Frame, y_ticks: &[f64]) {
        let (left, right, bottom) = (frame.left, WIDTH - RIGHT, frame.bottom());
        for tick in y_ticks {
            let y = frame.y(*tick);
            line(body, (left, y), (right, y), "grid", GRID, 1.0);
            text(
                body,
                left - 8.0,
                y + 4.5,
                13.0,
                "end",
                "soft",
                SOFT,
                false,
                &number(*tick),
            );
        }
        for tick in self.x_ticks(frame) {
            let x = frame.x(tick);
            line(body, (x, bottom), (x, bottom + 5.0), "axis", SOFT, 1.0);
            text(
                body,
                x,
                bottom + 20.0,
                13.0,
                "middle",
                "soft",
                SOFT,
                false,
                &number(tick),
            );
        }
        line(body, (left, bottom), (right, bottom), "axis", SOFT, 1.2);
        let middle = f64::midpoint(left, right);
        text(
            body,
            middle,
            bottom + 43.0,
            14.0,
            "middle",
            "ink",
            INK,
            false,
            &self.x.label,
        );
        let middle = frame.top + PLOT_HEIGHT / 2.0;
        let _ = writeln!(
            body,
            "<text class=\"ink\" x=\"0\" y=\"0\" transform=\"translate(24 {middle:.1}) rotate(-90)\" font-size=\"14\" \
             text-anchor=\"middle\" fill=\"{INK}\">{}</text>",
            escaped(&self.y.label)
        );
    }

    fn marks(&self, body: &mut String, frame: &Frame) {
        for (at, label) in &self.marks {
            let x = frame.x(*at);
            let _ = writeln!(
                body,
                "<line class=\"axis\" x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{:.1}\" stroke=\"{SOFT}\" stroke-width=\"1.2\" \
                 stroke-dasharray=\"2 4\"/>",
                frame.top,
                frame.bottom()
            );
            let fits_right = x + 6.0 + text_width(label, 12.5) < WIDTH - 4.0;
            let (x, anchor) = if fits_right {
                (x + 6.0, "start")
            } else {
                (x - 6.0, "end")
            };
            text(
                body,
                x,
                frame.bottom() - 10.0,
                12.5,
                anchor,
                "ink",
                INK,
                false,
                label,
            );
        }
    }
}

fn draw(body: &mut String, frame: &Frame, series: &Series) {
    let points: Vec<&Point> = series
        .points
        .iter()
        .filter(|point| point.x.is_finite() && point.y.is_finite())
        .collect();
    let path: Vec<(f64, f64)> = points
        .iter()
        .map(|point| (frame.x(point.x), frame.y(point.y)))
        .collect();
    polyline(body, &path, series);
    if series.style != Style::Measured {
        return;
    }
    let colour = series.colour % COLOURS.len();
    for (point, (x, y)) in points.iter().zip(path) {
        if let Some((least, most)) = point.range {
            let (low, high) = (frame.y(least), frame.y(most));
            // An error bar that its marker hides is left out.
            if low - high > 2.0 {
                let _ = writeln!(
                    body,
                    "<path class=\"s{colour}\" d=\"M{x:.1} {low:.1}V{high:.1}M{a:.1} {low:.1}H{b:.1}M{a:.1} {high:.1}H{b:.1}\" \
                     stroke=\"{}\" stroke-width=\"1.6\" fill=\"none\"/>",
                    COLOURS[colour],
                    a = x - 5.0,
                    b = x + 5.0,
                );
            }
        }
        marker(body, x, y, colour);
    }
}

fn polyline(body: &mut String, points: &[(f64, f64)], series: &Series) {
    if points.len() < 2 {
        return;
    }
    let colour = series.colour % COLOURS.len();
    let (class, stroke, more) = match series.style {
        Style::Measured => (
            format!("s{colour}"),
            COLOURS[colour],
            "stroke-width=\"2.4\"",
        ),
        Style::Line => (format!("s{colour}"), COLOURS[colour], "stroke-width=\"2\""),
        Style::Thin => (
            format!("s{colour}"),
            COLOURS[colour],
            "stroke-width=\"1.2\" stroke-opacity=\"0.55\"",
        ),
        Style::Ideal => (
            "axis".to_owned(),
            SOFT,
            "stroke-width=\"1.8\" stroke-dasharray=\"7 5\"",
        ),
        Style::Predicted => (
            format!("s{colour}"),
            COLOURS[colour],
            "stroke-width=\"2.2\" stroke-dasharray=\"1.5 5\" stroke-linecap=\"round\"",
        ),
    };
    let mut path = String::new();
    for (index, (x, y)) in points.iter().enumerate() {
        let _ = write!(path, "{}{x:.1} {y:.1}", if index == 0 { 'M' } else { 'L' });
    }
    let _ = writeln!(
        body,
        "<path class=\"{class}\" d=\"{path}\" stroke=\"{stroke}\" {more} fill=\"none\" stroke-linejoin=\"round\"/>"
    );
}

/// A mark whose shape goes with its colour.
fn marker(body: &mut String, x: f64, y: f64, colour: usize) {
    let colour = colour % COLOURS.len();
    let shape = match colour % 4 {
        0 => format!(
            "M{:.1} {y:.1}a4.8 4.8 0 1 0 9.6 0a4.8 4.8 0 1 0 -9.6 0Z",
            x - 4.8
        ),
        1 => format!("M{:.1} {:.1}h8.8v8.8h-8.8Z", x - 4.4, y - 4.4),
        2 => format!("M{x:.1} {:.1}l5.8 10.2h-11.6Z", y - 6.2),
        _ => format!("M{x:.1} {:.1}l6 6l-6 6l-6 -6Z", y - 6.0),
    };
    let _ = writeln!(
        body,
        "<path class=\"f{colour}\" d=\"{shape}\" fill=\"{}\" stroke=\"#ffffff\" stroke-width=\"1\"/>",
        COLOURS[colour]
    );
}

pub(crate) fn line(
    body: &mut String,
    from: (f64, f64),
    to: (f64, f64),
    class: &str,
    colour: &str,
    width: f64,
) {
    let _ = writeln!(
        body,
        "<line class=\"{class}\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\" stroke-width=\"{width}\"/>",
        from.0, from.1, to.0, to.1
    );
}

#[expect(clippy::too_many_arguments, reason = "the attributes of a text")]
pub(crate) fn text(
    body: &mut String,
    x: f64,
    y: f64,
    size: f64,
    anchor: &str,
    class: &str,
    colour: &str,
    bold: bool,
    what: &str,
) {
    let weight = if bold { " font-weight=\"bold\"" } else { "" };
    let _ = writeln!(
        body,
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" text-anchor=\"{anchor}\" fill=\"{colour}\"{weight}>{}</text>",
        escaped(what)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (2.0, "2"),
            (0.25, "0.25"),
            (0.003_612, "0.00361"),
            (0.000_001, "1.0e-6"),
            (12.34, "12.3"),
            (123.4, "123"),
            (12_345.0, "12\u{202f}345"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(tick_step(100.0, 6.0), 20.0);
        assert_eq!(tick_step(7.0, 6.0), 2.0);
        assert_eq!(tick_step(0.3, 6.0), 0.05);
    }

    #[test]
    fn an_empty_chart_can_be_drawn() {
        assert!(Chart::default().svg().ends_with("</svg>\n"));
    }

    #[test]
    fn labels_are_escaped() {
        let chart = Chart {
            title: "a < b & \"c\"".into(),
            ..Chart::default()
        };
        assert!(chart.svg().contains("a &lt; b &amp; &quot;c&quot;"));
    }
}
