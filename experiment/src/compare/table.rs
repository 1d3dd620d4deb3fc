//! The figures as tables in Markdown, which are read on a terminal too.

use super::figures::{Comparison, Metric, Settings, Spread};
use crate::report::plot::number;

/// A median with its range; the median alone of one round.
#[must_use]
pub(crate) fn spread(value: Option<Spread>, rounds: u32) -> String {
    match value {
        None => "–".into(),
        Some(value) if rounds == 1 => number(value.median),
        Some(Spread {
            median,
            least,
            most,
        }) => format!("{} ({}–{})", number(median), number(least), number(most)),
    }
}

/// The figures of each system: a head and rows.
#[must_use]
pub(crate) fn medians(comparison: &Comparison) -> (Vec<String>, Vec<Vec<String>>) {
    let systems = comparison.systems();
    let mut head = vec!["median (range)".to_owned()];
    head.extend(systems.iter().map(|system| system.name().to_owned()));
    let rows = Metric::ALL.map(|metric| {
        let mut row = vec![metric.name().to_owned()];
        row.extend(systems.iter().map(|&system| {
            // A loop is all of itself.
            let value = match (system.is_ceiling(), metric) {
                (true, Metric::ShareOfLoop) => None,
                _ => comparison.median(system, metric),
            };
            spread(value, comparison.settings.repeat)
        }));
        row
    });
    (head, rows.into())
}

/// How many times better Primepool is: a head and rows.
#[must_use]
pub(crate) fn ratios(comparison: &Comparison) -> (Vec<String>, Vec<Vec<String>>) {
    let others = comparison.ratios.keys().copied().collect::<Vec<_>>();
    let mut head = vec!["Primepool is … times better".to_owned()];
    head.extend(
        others
            .iter()
            .map(|system| format!("than {}", system.name())),
    );
    let rows = Metric::ALL.map(|metric| {
        let mut row = vec![metric.name().to_owned()];
        row.extend(others.iter().map(|system| {
            let ratio = comparison.ratios[system].get(&metric).copied();
            spread(ratio, comparison.settings.repeat)
        }));
        row
    });
    (head, rows.into())
}

/// What one has to know to read the figures, a sentence or two each.
#[must_use]
pub(crate) fn notes(comparison: &Comparison) -> Vec<String> {
    let Settings {
        bits,
        seed,
        repeat,
        min_time_s,
        round_trips,
        cores,
        broker_is_counted,
        ..
    } = comparison.settings;
    let mut notes = vec![
        format!(
            "{repeat} round(s), each system alone on {cores} core(s) with {cores} workers, in an order of chance (seed {seed}); rates over at least \
             {min_time_s} s after warming up. A ratio is of two figures of one round; above 1 Primepool is better: a higher rate, a shorter time, \
             less memory. Packed primes of Primepool are compared with one a task of the others."
        ),
        format!(
            "The arithmetic is not the same: the others' task is gmpy2.next_prime of a random number of {bits} bits, Primepool's is its own kernel ({}). \
             The bare loops do the same arithmetic without a pool: what a pool keeps of its loop is its own doing.",
            comparison.machine.kernel
        ),
        format!(
            "Round trip: {round_trips} empty tasks, one after another. Start: from the start of the first process to the first result of an empty task; \
             the broker of Primepool and Celery is there already, the schedulers of Ray and Dask are started."
        ),
        format!(
            "Memory: the largest sum of the resident memory of all processes of a system, looked at ten times a second, client included; a page that \
             processes share counts in each. The broker {}.",
            if broker_is_counted {
                "counts in Primepool and Celery"
            } else {
                "is not counted, as its process was not named (--broker-pid)"
            }
        ),
    ];
    for system in comparison.systems() {
        let Some(figures) = comparison.last(system) else {
            continue;
        };
        let versions: Vec<String> = figures
            .versions
            .iter()
            .map(|(name, version)| format!("{name} {version}"))
            .collect();
        let mut note = format!("{}: {}", system.name(), figures.how);
        if let Some(batched) = &figures.empty_batched {
            note += &format!("; batched: {}", batched.how);
        }
        if let Some(peak) = &figures.memory {
            let mut parts: Vec<_> = peak.parts.iter().collect();
            parts.sort_by_key(|(_, (_, bytes))| std::cmp::Reverse(*bytes));
            // What is small is not worth a word.
            let large = parts
                .iter()
                .filter(|(_, (_, bytes))| *bytes * 50 > peak.bytes);
            let parts: Vec<String> = large
                .map(|(name, (count, bytes))| {
                    format!("{count} × {name} {} MB", number(*bytes as f64 / 1e6))
                })
                .collect();
            note += &format!("; memory: {}", parts.join(", "));
        }
        if !versions.is_empty() {
            note += &format!("; {}", versions.join(", "));
        }
        notes.push(note + ".");
    }
    notes
}

/// Everything as Markdown.
#[must_use]
pub(crate) fn markdown(comparison: &Comparison) -> String {
    let mut text = String::new();
    for (head, rows) in [medians(comparison), ratios(comparison)] {
        if head.len() < 2 {
            continue;
        }
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        text += &line(&head);
        text += &format!("|{}\n", "---|".repeat(head.len()));
        rows.iter().for_each(|row| text += &line(row));
        text.push('\n');
    }
    for (record, reason) in comparison.failures() {
        text += &format!(
            "- **{} failed** in round {}: {reason}\n",
            record.system.name(),
            record.round + 1
        );
    }
    for note in notes(comparison) {
        text += &format!("- {note}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{
        super::figures::{
            Outcome, Record,
            tests::{comparison, record},
        },
        *,
    };
    use crate::system::System;

    #[test]
    fn what_failed_has_its_reason_and_no_figures() {
        let text = markdown(&comparison(vec![
            record(0, System::Primepool, 400.0, 1.0),
            record(0, System::Engine, 500.0, 0.0),
            Record {
                round: 0,
                system: System::Ray,
                outcome: Outcome::Failed("no wheels".into()),
            },
        ]));
        assert!(
            text.contains("| median (range) | Primepool | Ray | engine, bare loop |"),
            "{text}"
        );
        assert!(
            text.contains("| primes/s, one a task | 400 (400–400) | – | 500"),
            "{text}"
        );
        assert!(
            text.contains("| % of its bare loop, packed | 160 (160–160) | – | – |"),
            "{text}"
        );
        assert!(
            text.contains("**Ray failed** in round 1: no wheels"),
            "{text}"
        );
    }
}
