//! The page: one file that needs nothing else.

use std::fmt::Write as _;

use super::{
    charts::{MEGABYTE, Picture},
    plot::{escaped, number},
    series::{Configuration, distinct},
    study::{Over, Study},
    words::Bounds,
};
use crate::interval::Interval;
use crate::record::Figures;

const STYLE: &str = include_str!("style.css");

/// What the page shows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page<'a> {
    /// The experiment.
    pub study: &'a Study,
    /// The summary.
    pub words: &'a [String],
    /// What holds configurations back.
    pub bounds: &'a [Bounds],
    /// All charts.
    pub pictures: &'a [Picture],
    /// Charts that could not be drawn, and why.
    pub missing: &'a [String],
}

impl Page<'_> {
    /// The page as HTML.
    #[must_use]
    pub(crate) fn html(&self) -> String {
        let settings = &self.study.settings;
        let title = format!(
            "Primes of {} bits on {}",
            settings.bits,
            escaped(&settings.machine.processor)
        );
        let mut body = String::new();
        self.head(&mut body, &title);
        self.summary(&mut body);
        self.tables(&mut body);
        self.bounds(&mut body);
        self.scalings(&mut body);
        self.runs(&mut body);
        self.failures(&mut body);
        methods(&mut body, self.study);
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
        )
    }

    fn head(&self, body: &mut String, title: &str) {
        let settings = &self.study.settings;
        let machine = &settings.machine;
        let list = |values: &[u32]| {
            values
                .iter()
                .map(u32::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let cpus = settings.cpus_per_node.map_or_else(
            || "all of its machine's".to_owned(),
            |cpus| format!("{cpus}"),
        );
        let _ = writeln!(body, "<h1>{title}</h1>");
        let started = std::time::UNIX_EPOCH
            .checked_add(std::time::Duration::from_millis(settings.started_ms))
            .map(|at| humantime::format_rfc3339_seconds(at).to_string())
            .unwrap_or_default();
        let rows = [
            ("Nodes", list(&settings.nodes)),
            ("Workers of each node", list(&settings.workers)),
            ("A node", settings.launcher.describe()),
            ("Cores that a node may use", cpus),
            (
                "A measurement",
                format!(
                    "at least {} jobs and {} s, {} of each pair, seed {}",
                    settings.count, settings.min_time_s, settings.repeat, settings.seed
                ),
            ),
            (
                "Machine",
                format!(
                    "{}, {} cores, {:.1} GB of memory, {}",
                    machine.processor,
                    machine.cores,
                    machine.memory_bytes as f64 / 1e9,
                    machine.system
                ),
            ),
            (
                "Program",
                format!("version {}, kernel {}", machine.version, machine.kernel),
            ),
            ("Started", started),
            ("Ceiling", self.study.ceiling.source.clone()),
        ];
        body.push_str("<div class=\"wide\"><table>\n");
        for (name, value) in rows {
            let _ = writeln!(
                body,
                "<tr><th class=\"text\">{name}</th><td class=\"text\">{}</td></tr>",
                escaped(&value)
            );
        }
        body.push_str("</table></div>\n");
    }

    fn summary(&self, body: &mut String) {
        body.push_str("<h2>Summary</h2>\n<ul class=\"words\">\n");
        for sentence in self.words {
            let _ = writeln!(body, "<li>{}</li>", escaped(sentence));
        }
        body.push_str("</ul>\n<h2>All configurations at a glance</h2>\n");
        self.charts(body, "overview/");
    }

    fn tables(&self, body: &mut String) {
        heat_map(body, self.study);
        body.push_str("<h2>Configurations</h2>\n<p class=\"note\">Medians over the measurements; latencies from publication to result.</p>\n");
        body.push_str("<div class=\"wide\"><table>\n<tr>");
        for name in [
            "nodes",
            "workers per node",
            "runs",
            "primes/s median",
            "least",
            "most",
            "efficiency %",
            "CPU % of what nodes may use",
            "CPU % of usable cores",
            "memory per node MB",
            "p50 ms",
            "p95 ms",
            "p99 ms",
            "errors %",
            "joined s",
        ] {
            let _ = write!(body, "<th>{name}</th>");
        }
        body.push_str("</tr>\n");
        for one in &self.study.configurations {
            self.row(body, one);
        }
        body.push_str("</table></div>\n");
    }

    fn row(&self, body: &mut String, one: &Configuration) {
        let best = self.study.best();
        let class = if (one.nodes, one.workers) == (best.nodes, best.workers) {
            " class=\"best\""
        } else {
            ""
        };
        let median = |figure: fn(&Figures) -> f64| number(one.interval(figure).median);
        let busy = one.interval(|run| self.study.ceiling.busy_pct(one, run));
        let cells = [
            one.nodes.to_string(),
            one.workers.to_string(),
            one.runs.len().to_string(),
            number(one.throughput.median),
            number(one.throughput.least),
            number(one.throughput.most),
            number(self.study.ceiling.efficiency_pct(one).median),
            median(|run| run.cpu_pct),
            number(busy.median),
            median(|run| run.rss_bytes / MEGABYTE),
            median(|run| run.latency_ms.p50),
            median(|run| run.latency_ms.p95),
            median(|run| run.latency_ms.p99),
            median(|run| 100.0 * run.error_rate),
            median(|run| run.joined_s),
        ];
        let _ = writeln!(body, "<tr{class}><td>{}</td></tr>", cells.join("</td><td>"));
    }

    fn bounds(&self, body: &mut String) {
        body.push_str("<h2>What bounds it</h2>\n");
        for one in self.bounds {
            let _ = writeln!(body, "<p>{}</p>", escaped(&one.verdict));
            body.push_str(
                "<div class=\"wide\"><table>\n<tr><th class=\"text\">cause</th><th class=\"text\">at its limit</th><th class=\"text\">measured, median run</th></tr>\n",
            );
            for statement in &one.statements {
                let holds = if statement.holds {
                    "<span class=\"yes\">yes</span>"
                } else {
                    "no"
                };
                let _ = writeln!(
                    body,
                    "<tr><td class=\"text\">{}</td><td class=\"text\">{holds}</td><td class=\"text\">{}</td></tr>",
                    statement.cause.name(),
                    escaped(&statement.text)
                );
            }
            body.push_str("</table></div>\n");
        }
    }

    fn scalings(&self, body: &mut String) {
        self.fits(body);
        for scaling in &self.study.scalings {
            let (heading, folder) = match scaling.over {
                Over::Nodes { workers } => {
                    (scaling.over.fixed(), format!("config_workers_{workers}/"))
                }
                Over::Workers { nodes } => (scaling.over.fixed(), format!("cluster_size_{nodes}/")),
            };
            let grows = match scaling.over {
                Over::Nodes { .. } => "more nodes",
                Over::Workers { .. } => "more workers",
            };
            let _ = writeln!(body, "<h2>{heading}, {grows}</h2>");
            self.charts(body, &folder);
        }
    }

    fn fits(&self, body: &mut String) {
        body.push_str(
            "<h2>Universal Scalability Law</h2>\n<p class=\"note\">C(N) = λN / (1 + σ(N − 1) + κN(N − 1)), least squares over all measurements \
             under σ, κ ≥ 0: σ is contention, κ coherence. N counts what grows.</p>\n<div class=\"wide\"><table>\n\
             <tr><th class=\"text\">held fixed</th><th class=\"text\">N</th><th>sizes</th><th>λ primes/s</th><th>σ</th><th>κ</th><th>R²</th><th>peak N*</th></tr>\n",
        );
        for scaling in &self.study.scalings {
            let _ = write!(
                body,
                "<tr><td class=\"text\">{}</td><td class=\"text\">{}s</td><td>{}</td>",
                scaling.over.fixed(),
                scaling.over.unit(),
                scaling.sizes.len()
            );
            match &scaling.fit {
                Some(fit) => {
                    let _ = writeln!(
                        body,
                        "<td>{}</td><td>{}</td><td>{}</td><td>{:.4}</td><td>{}</td></tr>",
                        number(fit.lambda),
                        number(fit.sigma),
                        number(fit.kappa),
                        fit.r_squared,
                        fit.peak.map_or_else(|| "no peak".to_owned(), number)
                    );
                }
                None => {
                    body.push_str(
                        "<td class=\"text\" colspan=\"5\">no fit: fewer than 3 sizes</td></tr>\n",
                    );
                }
            }
        }
        body.push_str("</table></div>\n");
    }

    fn runs(&self, body: &mut String) {
        body.push_str("<h2>Median run of each configuration</h2>\n");
        for one in &self.study.configurations {
            let folder = format!("{}/", one.folder());
            if !self
                .pictures
                .iter()
                .any(|picture| picture.path.starts_with(&folder))
            {
                continue;
            }
            let run = one.median_run();
            let _ = writeln!(
                body,
                "<details><summary>{}: {} primes/s, {} jobs in {} s</summary>",
                one.name(),
                number(run.primes_per_s),
                run.jobs,
                number(run.elapsed_s)
            );
            self.charts(body, &folder);
            body.push_str("</details>\n");
        }
        for missing in self.missing {
            let _ = writeln!(body, "<p class=\"note\">{}</p>", escaped(missing));
        }
    }

    fn charts(&self, body: &mut String, folder: &str) {
        body.push_str("<div class=\"charts\">\n");
        for picture in self
            .pictures
            .iter()
            .filter(|picture| picture.path.starts_with(folder))
        {
            let _ = writeln!(body, "<div class=\"chart\">{}</div>", picture.svg);
        }
        body.push_str("</div>\n");
    }

    fn failures(&self, body: &mut String) {
        body.push_str("<h2>Failed measurements</h2>\n");
        let failures = self.study.failures();
        if failures.is_empty() {
            body.push_str("<p>None.</p>\n");
            return;
        }
        body.push_str(
            "<div class=\"wide\"><table>\n<tr><th>nodes</th><th>workers</th><th>repeat</th><th class=\"text\">reason</th></tr>\n",
        );
        for (record, reason) in failures {
            let _ = writeln!(
                body,
                "<tr><td>{}</td><td>{}</td><td>{}</td><td class=\"text\">{}</td></tr>",
                record.nodes,
                record.workers,
                record.repeat,
                escaped(reason)
            );
        }
        body.push_str("</table></div>\n");
    }
}

/// Median throughput by nodes and workers.
fn heat_map(body: &mut String, study: &Study) {
    let workers = distinct(study.configurations.iter().map(|one| one.workers));
    let nodes = distinct(study.configurations.iter().map(|one| one.nodes));
    let best = study.best().throughput.median;
    body.push_str(
        "<h3>Throughput, primes/s</h3>\n<div class=\"wide\"><table class=\"heat\">\n<tr><th></th>",
    );
    for workers in &workers {
        let _ = write!(
            body,
            "<th>{}</th>",
            super::series::count(*workers, "worker")
        );
    }
    body.push_str("</tr>\n");
    for nodes in nodes {
        let _ = write!(body, "<tr><th>{}</th>", super::series::count(nodes, "node"));
        for workers in &workers {
            let found = study
                .configurations
                .iter()
                .find(|one| (one.nodes, one.workers) == (nodes, *workers));
            let _ = match found.map(|one| one.throughput) {
                Some(Interval { median, .. }) => write!(
                    body,
                    "<td style=\"--share:{:.3}\">{}</td>",
                    median / best,
                    number(median)
                ),
                None => write!(body, "<td>–</td>"),
            };
        }
        body.push_str("</tr>\n");
    }
    body.push_str("</table></div>\n");
}

fn methods(body: &mut String, study: &Study) {
    let cores = match study.ceiling.cpus_per_node {
        Some(cpus) if cpus.is_infinite() => "one for each worker".to_owned(),
        Some(cpus) => format!("nodes × the lesser of {cpus} and the workers per node"),
        None => format!(
            "the lesser of {} and all workers",
            study.ceiling.machine_cores
        ),
    };
    let _ = writeln!(
        body,
        "<h2>How the figures are made</h2>\n<ul class=\"note\">\n\
         <li>Throughput: primes per second from the first publication to the last result.</li>\n\
         <li>Efficiency: throughput per ceiling. The ceiling is a rate per core times the cores that the configuration may really use \
         ({cores}). The rate: {}.</li>\n\
         <li>CPU: time of the consumer processes, per cent of the cores that the nodes may use. “Of usable cores” counts only cores for which there are workers.</li>\n\
         <li>Memory: the largest resident memory of a consumer, mean of the nodes.</li>\n\
         <li>Medians are over the measurements of a configuration, bars go from the least to the largest. With an even number of measurements \
         the run that is shown is the slower of the two in the middle.</li>\n\
         <li>Knee: the first size after which a further node adds less than 80 % of the throughput per node at the smallest size.</li>\n\
         <li>The fit minimises the squares of the differences of throughput by Levenberg–Marquardt, for each choice of σ and κ that may differ \
         from zero; the best admissible one counts. The peak is N* = √((1 − σ)/κ).</li>\n\
         <li>Near a limit: from 85 % on of usable cores (consumers) or of one core (broker, producer), from 95 % on of the machine. Imbalance: jobs of the nodes spread by more than 25 %, \
         or workers busy less than 85 % and less than the CPU. Crowding: more workers than cores, and less than 95 % of the best throughput.</li>\n</ul>",
        escaped(&study.ceiling.source)
    );
}
