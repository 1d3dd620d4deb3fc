//! `BASE=DIR`: compares these programs with those of an earlier build in DIR. The two take turns,
//! each with a consumer of its own.

use std::{fmt::Write as _, path::Path};

use primepool_tests::{Binary, Broker, Process, wait_for};
use tempfile::tempdir;

use crate::{Spread, jobs_per_s, stop};

/// Jobs per second of a run with the programs in `folder`, or with those of this build.
fn measure(broker: &Broker, folder: Option<&Path>, workers: usize, args: &[&str]) -> f64 {
    let (dir, here) = (tempdir().unwrap(), tempdir().unwrap());
    let start = |binary: Binary, name: &str, args: &[&str]| {
        let mut command = binary.command();
        if let Some(folder) = folder {
            command = std::process::Command::new(folder.join(name));
            command.env_clear();
        }
        command.args(args).env("PRIMEPOOL_AMQP_URL", &broker.url);
        Process::spawn(command, name, dir.path())
    };
    let (health, concurrency) = (here.path().join("health"), workers.to_string());
    let consumer = start(
        Binary::Consumer,
        "consumer",
        &[
            "--concurrency",
            &concurrency,
            "--log",
            "warn",
            "--health-file",
            health.to_str().unwrap(),
        ],
    );
    wait_for("the consumer", || {
        let text = std::fs::read_to_string(&health).ok()?;
        text.contains(r#""connected":true"#).then_some(())
    });
    let done = start(Binary::Producer, "producer", args).wait_long();
    stop(consumer);
    jobs_per_s(dir.path(), &done)
}

/// Measures both builds; returns the table.
pub(crate) fn report(broker: &Broker, base: &Path, workers: usize, rounds: usize) -> String {
    let mut table = format!(
        "| jobs | jobs/s | of {} | ratio |\n|---|---|---|---|\n",
        base.display()
    );
    for (name, args) in [
        (
            "primes of 1024 bits",
            &["--bits", "1024", "--count", "6000", "--seed", "1"][..],
        ),
        (
            "primes of 256 bits",
            &["--bits", "256", "--count", "500000", "--seed", "1"],
        ),
        (
            "primes of 1024 bits, one a message",
            &[
                "--bits",
                "1024",
                "--count",
                "3000",
                "--seed",
                "1",
                "--unit-size",
                "1",
            ],
        ),
        (
            "empty, one a message",
            &["--kind", "noop", "--count", "20000", "--unit-size", "1"],
        ),
        ("empty, packed", &["--kind", "noop", "--count", "1000000"]),
    ] {
        let (mut ours, mut theirs, mut ratios) = (vec![], vec![], vec![]);
        for round in 0..rounds {
            let mut both = [0.0; 2];
            // The order alternates: a machine that gets slower or faster would favour the first
            // one.
            for turn in [round % 2, 1 - round % 2] {
                both[turn] = measure(broker, [None, Some(base)][turn], workers, args);
            }
            ours.push(both[0]);
            theirs.push(both[1]);
            ratios.push(both[0] / both[1]);
        }
        let (ours, theirs) = (Spread::of(ours).rate(), Spread::of(theirs).rate());
        let ratio = Spread::of(ratios).percent();
        writeln!(table, "| {name} | {ours} | {theirs} | {ratio} |").unwrap();
    }
    table
}
