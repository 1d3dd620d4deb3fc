//! The comparison as a page that needs nothing else.

use std::{
    fmt::Write as _,
    time::{Duration, UNIX_EPOCH},
};

use super::{figures::Comparison, table};
use crate::report::plot::escaped;

const STYLE: &str = include_str!("../report/style.css");

/// The page as HTML, with the picture in it.
#[must_use]
pub(crate) fn html(comparison: &Comparison, picture: &str) -> String {
    let machine = &comparison.machine;
    let title = "Primepool beside Ray, Celery and Dask";
    let started = UNIX_EPOCH
        .checked_add(Duration::from_millis(comparison.settings.started_ms))
        .map(|at| humantime::format_rfc3339_seconds(at).to_string())
        .unwrap_or_default();
    let mut body = format!(
        "<h1>{title}</h1>\n<p class=\"note\">{}, {} cores, {:.1} GB of memory, {}; Primepool {}; {started}</p>\n<div class=\"chart\">{picture}</div>\n",
        escaped(&machine.processor),
        machine.cores,
        machine.memory_bytes as f64 / 1e9,
        escaped(&machine.system),
        escaped(&machine.version),
    );
    for (head, rows) in [table::medians(comparison), table::ratios(comparison)] {
        if head.len() < 2 {
            continue;
        }
        let _ = writeln!(
            body,
            "<h2>{}</h2>\n<div class=\"wide\"><table>",
            escaped(&head[0])
        );
        let _ = writeln!(body, "<tr><th></th>{}</tr>", cells("th", &head[1..]));
        for row in rows {
            let _ = writeln!(
                body,
                "<tr><td class=\"text\">{}</td>{}</tr>",
                escaped(&row[0]),
                cells("td", &row[1..])
            );
        }
        body.push_str("</table></div>\n");
    }
    body.push_str("<h2>What failed</h2>\n");
    let mut failed = String::new();
    for (record, reason) in comparison.failures() {
        let _ = writeln!(
            failed,
            "<li>{} in round {}: {}</li>",
            record.system.name(),
            record.round + 1,
            escaped(reason)
        );
    }
    let _ = match failed.is_empty() {
        true => writeln!(body, "<p>Nothing.</p>"),
        false => writeln!(body, "<ul>\n{failed}</ul>"),
    };
    body.push_str("<h2>How to read the figures</h2>\n<ul class=\"note\">\n");
    for note in table::notes(comparison) {
        let _ = writeln!(body, "<li>{}</li>", escaped(&note));
    }
    body.push_str("</ul>\n");
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )
}

fn cells(tag: &str, values: &[String]) -> String {
    let cell = |value: &String| format!("<{tag}>{}</{tag}>", escaped(value));
    values.iter().map(cell).collect()
}
