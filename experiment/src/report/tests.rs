#![allow(clippy::unwrap_used)]
use std::{collections::BTreeMap, fmt::Write as _};

use resvg::tiny_skia::Pixmap;

use super::*;
use crate::record::{self, Baseline, Figures, Machine, Outcome, Percentiles, Record, Settings};

const NODES: [u32; 3] = [1, 2, 4];
const WORKERS: [u32; 2] = [1, 2];

/// Throughput with some contention, and a little noise by repetition.
fn rate(nodes: u32, workers: u32, repeat: u32) -> f64 {
    let n = f64::from(nodes);
    let alone = 50.0 * f64::from(workers);
    alone * n / (1.0 + 0.04 * (n - 1.0) + 0.01 * n * (n - 1.0)) * (1.0 + 0.01 * f64::from(repeat))
}

pub(crate) fn settings() -> Settings {
    Settings {
        nodes: NODES.to_vec(),
        workers: WORKERS.to_vec(),
        bits: 1024,
        count: 500,
        repeat: 3,
        seed: 7,
        min_time_s: 5.0,
        launcher: Default::default(),
        cpus_per_node: Some(2.0),
        started_ms: 1_700_000_000_000,
        machine: Machine {
            processor: "Some <Processor> & Co".into(),
            cores: 8,
            memory_bytes: 16_000_000_000,
            system: "Linux".into(),
            version: "0.1.0".into(),
            kernel: "portable".into(),
        },
    }
}

pub(crate) fn figures(nodes: u32, workers: u32, repeat: u32) -> Figures {
    let rate = rate(nodes, workers, repeat);
    let elapsed_s = 10.0;
    let percentiles = |scale: f64| Percentiles {
        p50: 100.0 * scale,
        p95: 250.0 * scale,
        p99: 400.0 * scale,
        max: 900.0 * scale,
        mean: 120.0 * scale,
    };
    Figures {
        folder: format!("runs/n{nodes}w{workers}r{repeat}/1"),
        jobs: (rate * elapsed_s) as u64,
        elapsed_s,
        primes_per_s: rate,
        latency_ms: percentiles(1.0),
        queue_wait_ms: percentiles(0.8),
        error_rate: 0.0,
        node_efficiency: 0.97,
        cpu_pct: 96.0 * f64::from(workers) / 2.0,
        rss_bytes: 14e6 + 1e6 * f64::from(workers + repeat),
        consumer_cpu_s: elapsed_s * 0.96 * f64::from(nodes * workers),
        producer_cpu_s: 0.5,
        broker_cpu_s: Some(2.0),
        joined_s: 0.8,
        jobs_by_node: (0..nodes)
            .map(|node| (format!("n{node}"), (rate * 10.0) as u64 / u64::from(nodes)))
            .collect(),
    }
}

fn metrics(nodes: u32) -> String {
    let mut lines = String::new();
    for second in 0..10u64 {
        let at = 1_700_000_000_000_000_000 + second * 1_000_000_000;
        writeln!(
            lines,
            "queue,queue=primepool.jobs.prime ready={}i,consumers={nodes}i {at}",
            500 - 50 * second
        )
        .unwrap();
        for node in 0..nodes {
            let cpu = 90.0 + f64::from(node) + second as f64 / 2.0;
            writeln!(lines, "node,node=n{node},kernel=ifma512,run=R workers=2i,pool_cpu_pct={cpu},in_flight=4i {at}").unwrap();
            writeln!(lines, "job,run=R,node=n{node},kind=prime,bits=1024,outcome=ok jobs=50i,latency_ms={},compute_ms=1.0 {at}", 80 + 40 * second + u64::from(node)).unwrap();
        }
    }
    lines
}

fn experiment(dir: &Path) {
    record::write(dir, Settings::FILE, &settings()).unwrap();
    let baseline = Baseline {
        bits: 1024,
        seed: 7,
        cores: 2.0,
        threads: 2,
        primes_per_s: vec![104.0, 103.0, 105.0],
        together: BTreeMap::new(),
    };
    record::write(dir, Baseline::FILE, &baseline).unwrap();
    for nodes in NODES {
        for workers in WORKERS {
            for repeat in 0..3 {
                let figures = figures(nodes, workers, repeat);
                let folder = dir.join(&figures.folder);
                fs::create_dir_all(&folder).unwrap();
                fs::write(folder.join(crate::metrics_lp::FILE), metrics(nodes)).unwrap();
                append(
                    dir,
                    (nodes, workers, repeat),
                    Outcome::Measured(Box::new(figures)),
                );
            }
        }
    }
}

/// The report of a folder, in it.
fn report(dir: &Path) -> Result<Report> {
    super::report(&Source::Folder(dir.to_owned()), &dir.join(FOLDER))
}

fn append(dir: &Path, (nodes, workers, repeat): (u32, u32, u32), outcome: Outcome) {
    let record = Record {
        nodes,
        workers,
        repeat,
        started_ms: 1_700_000_000_000,
        outcome,
    };
    record.append(dir).unwrap();
}

fn files() -> Vec<String> {
    let mut files = Vec::new();
    for figure in ["throughput", "avg_cpu", "avg_memory", "efficiency"] {
        files.extend(NODES.map(|n| format!("cluster_size_{n}/{figure}_vs_total_workers")));
        files.extend(WORKERS.map(|w| format!("config_workers_{w}/{figure}_vs_cluster_size")));
    }
    for chart in ["queue", "cpu", "latency"] {
        for n in NODES {
            files.extend(WORKERS.map(|w| format!("runs/nodes_{n}_workers_{w}/{chart}")));
        }
    }
    files.extend(["overview/throughput".into(), "overview/efficiency".into()]);
    files
}

#[test]
fn all_that_a_report_has() {
    let dir = tempfile::tempdir().unwrap();
    experiment(dir.path());
    append(
        dir.path(),
        (4, 2, 3),
        Outcome::Failed("the broker <went> away".into()),
    );
    let report = report(dir.path()).unwrap();
    let folder = dir.path().join(FOLDER);
    assert_eq!(report.missing, Vec::<String>::new());

    for file in files() {
        let svg = fs::read_to_string(folder.join(format!("{file}.svg"))).unwrap();
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{file}");
        let png = fs::read(folder.join(format!("{file}.png"))).unwrap();
        assert_eq!(
            Pixmap::decode_png(&png).unwrap().width(),
            png::WIDTH,
            "{file}"
        );
    }

    let html = fs::read_to_string(&report.html).unwrap();
    assert!(
        !html
            .replace("xmlns=\"http://www.w3.org/2000/svg\"", "")
            .contains("http")
    );
    assert_eq!(html.matches("<svg ").count(), files().len());
    assert!(html.contains("the broker &lt;went&gt; away"));
    assert!(html.contains("Some &lt;Processor&gt; &amp; Co"));

    let words = report.words.join("\n");
    let best = format!(
        "best configuration is 4 nodes × 2 workers: {:.0} primes/s",
        rate(4, 2, 1)
    );
    assert!(words.contains(&best), "{words}");
    assert!(
        words.contains("bounds 4 nodes × 2 workers: the CPU time of the consumers"),
        "{words}"
    );
    assert!(
        words.contains("Knee with 2 workers per node: at 2 nodes"),
        "{words}"
    );
    assert!(words.contains("σ = 0.04, coherence κ = 0.01"), "{words}");
    assert!(
        words.contains("predicted peak at N* = 9.8 nodes"),
        "{words}"
    );
    assert!(
        words.contains("On 1 node that may use 2 cores the peak is at 2 workers each; others reach of its throughput: 1 worker 50.0 %."),
        "{words}"
    );
    assert!(
        words.contains("Dispatch with 4 nodes") && words.contains("no node went without"),
        "{words}"
    );
    assert!(words.contains("1 failed and is left out"), "{words}");

    let measurements = fs::read_to_string(folder.join("measurements.csv")).unwrap();
    assert_eq!(measurements.lines().count(), 1 + 18 + 1);
    let configurations = fs::read_to_string(folder.join("configurations.csv")).unwrap();
    assert_eq!(configurations.lines().count(), 1 + 6);
    for table in [measurements, configurations] {
        let columns = |line: &str| line.matches(',').count();
        let head = table.lines().next().map(columns);
        assert!(
            table.lines().all(|line| Some(columns(line)) == head),
            "{table}"
        );
    }
    let json: serde_json::Value = record::read(&folder, "report.json").unwrap().unwrap();
    assert_eq!(json["best"]["nodes"], 4);
    assert!((json["scalings"][1]["fit"]["kappa"].as_f64().unwrap() - 0.01).abs() < 1e-3);
}

#[test]
fn what_is_missing_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let error = report(dir.path()).unwrap_err().to_string();
    assert!(
        error.ends_with("holds no records: run `experiment run` first"),
        "{error}"
    );

    append(dir.path(), (1, 1, 0), Outcome::Failed("no broker".into()));
    let error = report(dir.path()).unwrap_err().to_string();
    assert!(error.contains("has no settings.json"), "{error}");

    record::write(dir.path(), Settings::FILE, &settings()).unwrap();
    let error = format!("{:#}", report(dir.path()).unwrap_err());
    assert!(
        error.contains("no measurement succeeded") && error.contains("no broker"),
        "{error}"
    );

    append(
        dir.path(),
        (1, 1, 0),
        Outcome::Measured(Box::new(figures(1, 1, 0))),
    );
    let report = report(dir.path()).unwrap();
    assert_eq!(report.missing.len(), 1);
    assert!(
        report.missing[0].contains("metrics.lp is not there"),
        "{:?}",
        report.missing
    );
    let words = report.words.join("\n");
    assert!(
        words.contains("No fit of the Universal Scalability Law"),
        "{words}"
    );
    assert!(words.contains("also the smallest configuration"), "{words}");
    assert!(words.contains("no measurement failed"), "{words}");
}

#[test]
fn an_older_report_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    record::write(dir.path(), Settings::FILE, &settings()).unwrap();
    append(
        dir.path(),
        (1, 1, 0),
        Outcome::Measured(Box::new(figures(1, 1, 0))),
    );
    let old = dir.path().join(FOLDER).join("cluster_size_9");
    fs::create_dir_all(&old).unwrap();
    report(dir.path()).unwrap();
    assert!(!old.exists());
}
