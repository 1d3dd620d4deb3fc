//! The figures as bars, a panel for each, all in one picture.

use crate::system::System;
use std::fmt::Write as _;

use super::figures::{Comparison, Metric, Spread};
use crate::report::plot::{
    COLOURS, FONT, GRID, INK, SOFT, escaped, line, number, text, text_width, tick_step, wrapped,
};

const WIDTH: f64 = 1040.0;
const MARGIN: f64 = 16.0;
const GAP: f64 = 36.0;
const PANEL: f64 = (WIDTH - 2.0 * MARGIN - GAP) / 2.0;
/// Where bars begin in a panel: right of the names.
const NAMES: f64 = 150.0;
/// Room right of the longest bar, for its figure.
const FIGURES: f64 = 92.0;
const ROW: f64 = 25.0;
const BAR: f64 = 16.0;

/// From this ratio of the largest to the least on, a linear axis would hide the small ones.
const LOGARITHMIC: f64 = 12.0;

/// A metric with its bars.
struct Panel {
    title: &'static str,
    better: &'static str,
    /// End of the axis that must be there.
    at_least: f64,
    bars: Vec<Bar>,
}

struct Bar {
    name: String,
    colour: usize,
    /// The loops are paler than the pools.
    is_pale: bool,
    value: Spread,
}

/// All panels as an SVG document.
#[must_use]
pub(crate) fn picture(comparison: &Comparison) -> String {
    let settings = &comparison.settings;
    let mut body = String::new();
    let mut y = MARGIN + 22.0;
    let title = "Primepool beside other pools, on the same cores";
    text(&mut body, MARGIN, y, 20.0, "start", "ink", INK, true, title);
    let rounds = match settings.repeat {
        1 => "one round".to_owned(),
        rounds => format!("medians of {rounds} rounds, whiskers from least to most"),
    };
    let subtitle = format!(
        "{}, {} cores; {} workers each, one system at a time; primes of {} bits; {rounds}. The other pools compute with gmpy2. Axes with powers of ten are \
         logarithmic: there compare figures, not lengths.",
        comparison.machine.processor, settings.cores, settings.cores, settings.bits
    );
    for row in wrapped(&subtitle, 12.5, WIDTH - 2.0 * MARGIN) {
        y += 18.0;
        text(
            &mut body, MARGIN, y, 12.5, "start", "soft", SOFT, false, &row,
        );
    }
    y += 22.0;
    let panels = panels(comparison);
    for pair in panels.chunks(2) {
        let mut bottom = y;
        for (index, panel) in pair.iter().enumerate() {
            let left = MARGIN + index as f64 * (PANEL + GAP);
            bottom = bottom.max(panel.draw(&mut body, left, y));
        }
        y = bottom + 24.0;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y:.0}\" width=\"{WIDTH}\" height=\"{y:.0}\" role=\"img\" \
         aria-label=\"{label}\" font-family=\"{FONT}\">\n<rect class=\"bg\" width=\"{WIDTH}\" height=\"{y:.0}\" fill=\"#ffffff\"/>\n{body}</svg>\n",
        label = escaped(&format!("{title}. {subtitle}")),
    )
}

fn panels(comparison: &Comparison) -> Vec<Panel> {
    let panel = |title, metrics: &[(Metric, &str)], at_least| {
        let mut bars = Vec::new();
        for system in System::ALL {
            for (metric, what) in metrics {
                // A loop is all of itself.
                if system.is_ceiling() && *metric != Metric::Primes {
                    continue;
                }
                let Some(value) = comparison.median(system, *metric) else {
                    continue;
                };
                let several = system == System::Primepool && metrics.len() > 1;
                bars.push(Bar {
                    name: match several {
                        true => format!("{}, {what}", system.name()),
                        false => system.name().to_owned(),
                    },
                    colour: colour(system),
                    is_pale: system.is_ceiling(),
                    value,
                });
            }
        }
        let is_cost = metrics.iter().any(|(metric, _)| metric.is_cost());
        Panel {
            title,
            better: if is_cost {
                "less is better"
            } else {
                "more is better"
            },
            at_least,
            bars,
        }
    };
    let primes = [(Metric::PrimesPacked, "packed"), (Metric::Primes, "single")];
    let shares = [
        (Metric::SharePacked, "packed"),
        (Metric::ShareOfLoop, "single"),
    ];
    let all = [
        panel("Primes per second", &primes, 0.0),
        panel("Part of its own bare loop, %", &shares, 100.0),
        panel(
            "Empty tasks per second, one at a time",
            &[(Metric::Empty, "")],
            0.0,
        ),
        panel(
            "Empty tasks per second, batched",
            &[(Metric::EmptyBatched, "")],
            0.0,
        ),
        panel(
            "Round trip of one task, median, ms",
            &[(Metric::RoundTripP50, "")],
            0.0,
        ),
        panel(
            "Round trip of one task, 99th percentile, ms",
            &[(Metric::RoundTripP99, "")],
            0.0,
        ),
        panel(
            "From start to first result, s",
            &[(Metric::Startup, "")],
            0.0,
        ),
        panel(
            "Peak memory of all its processes, MB",
            &[(Metric::Memory, "")],
            0.0,
        ),
    ];
    all.into_iter()
        .filter(|panel| !panel.bars.is_empty())
        .collect()
}

fn colour(system: System) -> usize {
    match system {
        System::Primepool | System::Engine => 0,
        System::Ray => 1,
        System::Celery => 2,
        System::Dask => 3,
        System::Gmpy2 => 7,
    }
}

/// From a value to a length.
#[derive(Debug, Clone, Copy)]
enum Scale {
    Linear { end: f64 },
    Logarithmic { from: f64, to: f64 },
}

impl Scale {
    /// For values that are greater than 0.
    fn of(values: &[Spread], at_least: f64) -> Self {
        let most = values
            .iter()
            .map(|value| value.most)
            .fold(at_least, f64::max);
        let least = values
            .iter()
            .map(|value| value.least)
            .fold(f64::INFINITY, f64::min);
        let medians = values.iter().map(|value| value.median);
        let lowest = medians.clone().fold(f64::INFINITY, f64::min);
        let highest = medians.fold(0.0, f64::max);
        // A share has an end that it is compared with.
        if at_least == 0.0 && highest > LOGARITHMIC * lowest && least > 0.0 {
            // A power of ten below the shortest, so that each has a bar.
            Self::Logarithmic {
                from: (least / 2.0).log10().floor(),
                to: most.log10().ceil(),
            }
        } else {
            Self::Linear {
                end: most.max(f64::MIN_POSITIVE),
            }
        }
    }

    /// From 0 to 1.
    fn part(self, value: f64) -> f64 {
        match self {
            Self::Linear { end } => value / end,
            Self::Logarithmic { from, to } => {
                ((value.max(f64::MIN_POSITIVE).log10() - from) / (to - from)).clamp(0.0, 1.0)
            }
        }
    }

    fn ticks(self) -> Vec<f64> {
        match self {
            Self::Linear { end } => {
                let step = tick_step(end, 4.0);
                let ticks = (0..5).map(|index| f64::from(index) * step);
                ticks.take_while(|tick| *tick <= end).collect()
            }
            Self::Logarithmic { from, to } => {
                let every = ((to - from) / 4.0).ceil().max(1.0);
                let count = ((to - from) / every) as u32;
                let at = |index: u32| 10f64.powf(from + every * f64::from(index));
                (0..=count).map(at).collect()
            }
        }
    }
}

impl Panel {
    /// Returns where it ends.
    fn draw(&self, body: &mut String, left: f64, top: f64) -> f64 {
        let title = top + 14.0;
        text(
            body, left, title, 14.5, "start", "ink", INK, true, self.title,
        );
        let right = left + PANEL;
        text(
            body,
            right,
            title,
            11.5,
            "end",
            "soft",
            SOFT,
            false,
            self.better,
        );
        let values: Vec<Spread> = self.bars.iter().map(|bar| bar.value).collect();
        let scale = Scale::of(&values, self.at_least);
        let (start, end) = (left + NAMES, right - FIGURES);
        let x = |value: f64| start + scale.part(value) * (end - start);
        let (first, bottom) = (top + 26.0, top + 26.0 + ROW * self.bars.len() as f64);
        for tick in scale.ticks() {
            let at = x(tick);
            line(body, (at, first), (at, bottom), "grid", GRID, 1.0);
            let label = short(tick);
            text(
                body,
                at,
                bottom + 15.0,
                11.0,
                "middle",
                "soft",
                SOFT,
                false,
                &label,
            );
        }
        for (index, bar) in self.bars.iter().enumerate() {
            let middle = first + ROW * (index as f64 + 0.5);
            let Spread {
                median,
                least,
                most,
            } = bar.value;
            let baseline = middle + 4.5;
            text(
                body,
                start - 8.0,
                baseline,
                12.5,
                "end",
                "ink",
                INK,
                false,
                &bar.name,
            );
            let opacity = if bar.is_pale {
                " fill-opacity=\"0.45\""
            } else {
                ""
            };
            let _ = writeln!(
                body,
                "<rect class=\"f{colour}\" x=\"{start:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{}\"{opacity}/>",
                middle - BAR / 2.0,
                (x(median) - start).max(1.5),
                COLOURS[bar.colour],
                colour = bar.colour,
            );
            if x(most) - x(least) > 3.0 {
                line(
                    body,
                    (x(least), middle),
                    (x(most), middle),
                    "axis",
                    INK,
                    1.3,
                );
                for at in [least, most] {
                    let ends = ((x(at), middle - 4.0), (x(at), middle + 4.0));
                    line(body, ends.0, ends.1, "axis", INK, 1.3);
                }
            }
            let place = x(median).max(x(most)) + 7.0;
            let label = number(median);
            // Always fits: FIGURES is wider than any label.
            debug_assert!(text_width(&label, 12.5) < FIGURES);
            text(
                body, place, baseline, 12.5, "start", "ink", INK, true, &label,
            );
        }
        line(body, (start, first), (start, bottom), "axis", SOFT, 1.2);
        bottom + 20.0
    }
}

/// A tick: thousands and millions by a letter.
fn short(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{} M", number(value / 1e6)),
        value if value >= 1e4 => format!("{} k", number(value / 1e3)),
        value => number(value),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::figures::tests::{comparison, record},
        *,
    };

    fn spread(value: f64) -> Spread {
        Spread {
            median: value,
            least: value,
            most: value,
        }
    }

    #[test]
    fn what_differs_much_is_drawn_on_a_logarithmic_axis() {
        let scale = Scale::of(&[spread(3.0), spread(4000.0)], 0.0);
        assert_eq!(scale.ticks(), [1.0, 10.0, 100.0, 1000.0, 10_000.0]);
        assert!((scale.part(100.0) - 0.5).abs() < 1e-9);
        assert!(scale.part(3.0) > 0.05);
        let scale = Scale::of(&[spread(30.0), spread(80.0)], 100.0);
        assert!((scale.part(80.0) - 0.8).abs() < 1e-9);
    }

    #[test]
    fn there_is_a_bar_for_each_figure() {
        let records = vec![
            record(0, System::Primepool, 400.0, 1.0),
            record(0, System::Celery, 30.0, 5.0),
            record(0, System::Engine, 450.0, 0.0),
            record(0, System::Gmpy2, 40.0, 0.0),
        ];
        let svg = picture(&comparison(records));
        // Primes: two of Primepool, Celery, two loops; shares: three; round trips: two and two.
        assert_eq!(svg.matches("<rect class=\"f").count(), 5 + 3 + 4);
        assert!(svg.contains("Primepool, packed"));
    }
}
