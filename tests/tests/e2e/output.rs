//! Output to a closed pipe or to a full disk: no program panics, and a run goes on.

use std::{
    fs::File,
    io,
    path::Path,
    process::{Command, Output, Stdio},
};

use primepool_tests::{Binary, Broker, Consumer, Results, wait_for};
use tempfile::tempdir;

/// The target of an output stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    /// A pipe that the test reads.
    Test,
    /// A pipe whose reader is gone.
    ClosedPipe,
    /// A full disk.
    FullDisk,
}
use To::{ClosedPipe, FullDisk, Test};

impl To {
    fn stdio(self) -> Stdio {
        match self {
            Test => Stdio::piped(),
            ClosedPipe => io::pipe().unwrap().1.into(),
            FullDisk => File::options()
                .write(true)
                .open("/dev/full")
                .unwrap()
                .into(),
        }
    }
}

fn output(mut command: Command, stdout: To, stderr: To) -> Output {
    command.stdout(stdout.stdio()).stderr(stderr.stdio());
    command.output().unwrap()
}

fn producer(dir: &Path, broker: &Broker, args: &[&str]) -> Command {
    let mut command = Binary::Producer.command();
    command
        .current_dir(dir)
        .args(args)
        .env("PRIMEPOOL_AMQP_URL", &broker.url);
    command
}

/// Checks the exit status, and with status 1 that the error names the full output.
#[track_caller]
fn assert_ended(done: &Output, code: i32, stderr: To) {
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(code), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    if code == 1 && stderr == Test {
        assert!(
            said.contains("cannot write to standard output: No space left"),
            "{said}"
        );
    }
}

/// Combinations of standard output and standard error with at least one unusable, and the exit
/// status of a command that prints a result.
const GONE: [(To, To, i32); 5] = [
    (ClosedPipe, Test, 0),
    (FullDisk, Test, 1),
    (Test, ClosedPipe, 0),
    (Test, FullDisk, 0),
    (FullDisk, FullDisk, 1),
];

#[test]
fn a_run_ends_by_its_jobs() {
    let (broker, pool) = (Broker::vhost(), tempdir().unwrap());
    let _consumer = Consumer::start(pool.path(), &broker, "n1");
    let commands: [&[&str]; 4] = [
        &["--count", "20", "--bits", "64"],
        &["--count", "20", "--bits", "64", "--json"],
        &["factor", "91", "1000000016000000063"],
        // The producer generates the semiprimes first, and reports this.
        &["factor", "--count", "2", "--bits", "64"],
    ];
    for args in commands {
        for (stdout, stderr, code) in GONE {
            let dir = tempdir().unwrap();
            let done = output(producer(dir.path(), &broker, args), stdout, stderr);
            assert_ended(&done, code, stderr);
            let results = Results::read(dir.path());
            assert!(
                results.rows.iter().all(|row| row["outcome"] == "ok"),
                "{args:?}"
            );
            assert_eq!(
                results.rows.len(),
                if args[0] == "--count" { 20 } else { 2 }
            );
            if code == 1 && stderr == Test {
                let said = String::from_utf8_lossy(&done.stderr);
                assert!(
                    said.contains("results.jsonl"),
                    "it says where the results are: {said}"
                );
            }
        }
    }
    // The exit status of an incomplete run is the same without a reader.
    let dir = tempdir().unwrap();
    let endless = [
        "--kind",
        "safe-prime",
        "--bits",
        "8192",
        "--count",
        "1",
        "--deadline",
        "1s",
    ];
    let done = output(
        producer(dir.path(), &broker, &endless),
        ClosedPipe,
        ClosedPipe,
    );
    assert_eq!(done.status.code(), Some(1));
}

#[test]
fn progress_lines_do_not_end_a_run() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let mut running = producer(dir.path(), &broker, &["--count", "20", "--bits", "64"]);
    running
        .stdout(ClosedPipe.stdio())
        .stderr(ClosedPipe.stdio());
    let mut running = running.spawn().unwrap();
    let run = Results::wait_for_run(dir.path());
    // Beyond the first progress line, which comes after five seconds without a consumer.
    let started = std::time::Instant::now();
    wait_for("a progress line", || {
        assert_eq!(running.try_wait().unwrap(), None, "it goes on");
        (started.elapsed().as_secs() >= 6).then_some(())
    });
    assert_eq!(
        broker.ready("primepool.jobs.prime").map(|units| units > 0),
        Some(true),
        "{run}"
    );
    let _consumer = Consumer::start(dir.path(), &broker, "n1");
    let code = wait_for("the end", || running.try_wait().unwrap()).code();
    assert_eq!(code, Some(0));
    Results::read(dir.path()).assert_primes(20, 64);
}

#[test]
fn a_detached_run_is_not_lost_with_its_name() {
    let (broker, pool) = (Broker::vhost(), tempdir().unwrap());
    for (stdout, stderr, code) in GONE {
        let dir = tempdir().unwrap();
        let detach = ["--count", "3", "--bits", "64", "--detach"];
        let done = output(producer(dir.path(), &broker, &detach), stdout, stderr);
        assert_ended(&done, code, stderr);
        let folder = Results::folder(dir.path()).unwrap();
        let run = folder.file_name().unwrap().to_str().unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(
            stderr != Test || said.contains(&format!("producer resume {run}")),
            "{said}"
        );

        let cancel = producer(dir.path(), &broker, &["cancel", run]);
        assert_ended(&output(cancel, stdout, stderr), code, stderr);
        let resume = producer(dir.path(), &broker, &["resume", run]);
        let resumed = output(resume, ClosedPipe, stderr);
        assert_eq!(resumed.status.code(), Some(2), "the run was cancelled");
    }
    let dir = tempdir().unwrap();
    let detach = ["--count", "3", "--bits", "64", "--detach"];
    output(
        producer(dir.path(), &broker, &detach),
        ClosedPipe,
        ClosedPipe,
    );
    let run = Results::wait_for_run(dir.path());
    let _consumer = Consumer::start(pool.path(), &broker, "n1");
    let resume = producer(dir.path(), &broker, &["resume", &run]);
    assert_ended(&output(resume, FullDisk, Test), 1, Test);
    Results::read(dir.path()).assert_primes(3, 64);
}

#[test]
fn health_does_not_depend_on_an_output() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let consumer = Consumer::start(dir.path(), &broker, "n1");
    for (stdout, stderr, _) in GONE {
        let mut health = Binary::Consumer.command();
        health
            .args(["health", "--health-file"])
            .arg(consumer.health_file());
        assert_ended(&output(health, stdout, stderr), 0, stderr);
        let mut health = Binary::Consumer.command();
        health.args(["health", "--health-file", "/nonexistent/health"]);
        assert_eq!(output(health, stdout, stderr).status.code(), Some(1));
    }
}

#[test]
fn a_consumer_works_without_a_log() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    for to in [ClosedPipe, FullDisk] {
        let mut consumer = Binary::Consumer.command();
        consumer.args(["--node", "n1", "--concurrency", "1", "--log", "debug"]);
        consumer.env("PRIMEPOOL_AMQP_URL", &broker.url);
        consumer.stdout(to.stdio()).stderr(to.stdio());
        let mut consumer = consumer.spawn().unwrap();
        let run = tempdir().unwrap();
        let done = producer(run.path(), &broker, &["--count", "5", "--bits", "64"]);
        assert_ended(&output(done, Test, Test), 0, Test);
        assert_eq!(consumer.try_wait().unwrap(), None);
        let pid = consumer.id().to_string();
        assert!(Command::new("kill").arg(&pid).status().unwrap().success());
        let status = wait_for("the end of the consumer", || consumer.try_wait().unwrap());
        assert_eq!(status.code(), Some(0), "{to:?} in {}", dir.path().display());
    }
}

#[test]
fn an_experiment_measures_and_says_what_is_full() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let experiment = |args: &str| {
        let mut command = Binary::Experiment.command();
        command.args(args.split(' ')).current_dir(dir.path());
        command.env("PRIMEPOOL_AMQP_URL", &broker.url);
        command
    };
    let run = "run --nodes 1 --workers 1 --bits 64 --repeat 1 --min-time 300ms --dir x";
    assert_ended(&output(experiment(run), FullDisk, Test), 1, Test);
}

#[test]
fn help_is_as_any_result() {
    for binary in [
        Binary::Producer,
        Binary::Consumer,
        Binary::Experiment,
        Binary::Monitor,
    ] {
        for (stdout, code) in [(ClosedPipe, 0), (FullDisk, 1)] {
            let mut help = binary.command();
            help.arg("--help");
            assert_eq!(output(help, stdout, Test).status.code(), Some(code));
            let mut wrong = binary.command();
            wrong.arg("--wrong");
            assert_eq!(output(wrong, Test, stdout).status.code(), Some(2));
        }
    }
}
