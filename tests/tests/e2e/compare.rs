//! `experiment compare` where another pool is missing. Those that the set-up installs are in `long/compare.rs`.

use std::{fs, path::Path};

use primepool_tests::{Binary, Broker, Process};
use serde_json::Value;
use tempfile::{TempDir, tempdir};

/// A comparison with its temporary files in a folder of its own.
pub(crate) fn start(
    broker: &Broker,
    dir: &Path,
    files: &TempDir,
    python: &Path,
    args: &str,
) -> Process {
    let mut command = Binary::Experiment.command();
    command
        .env("PRIMEPOOL_AMQP_URL", &broker.url)
        .env("TMPDIR", files.path())
        .env("HOME", files.path())
        .args(["compare", "--dir", "x", "--python"])
        .arg(python)
        .args(args.split(' '));
    Process::spawn(command, "compare", dir)
}

/// What the comparison in `dir` has measured.
pub(crate) fn comparison(dir: &Path) -> Value {
    let text = fs::read_to_string(dir.join("x/compare.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_pool_that_is_not_there_is_told_and_does_not_end_the_comparison() {
    let (broker, dir, files) = (Broker::vhost(), tempdir().unwrap(), tempdir().unwrap());
    let args = "--systems primepool,ray --bits 64 --repeat 1 --min-time 100ms --round-trips 5";
    let nothing = Path::new("/nonexistent/python");
    let done = start(&broker, dir.path(), &files, nothing, args).wait_long();
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(
        done.stdout.contains("**Ray failed** in round 1"),
        "{done:?}"
    );
    assert!(done.stdout.contains("setup.sh --peers"), "{done:?}");
    let medians = &comparison(dir.path())["medians"];
    assert!(medians["primepool"]["empty"]["median"].as_f64().unwrap() > 0.0);
    assert!(medians.get("ray").is_none());

    // What is there is not written over.
    let again = start(&broker, dir.path(), &files, nothing, args).wait();
    assert_eq!(again.code, Some(2), "{again:?}");
    assert!(again.stderr.contains("--dir"), "{again:?}");
}
