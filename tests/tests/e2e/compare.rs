//! `experiment compare` where another pool is missing. The pools that the set-up installs are
//! tested in `long/compare.rs`.

use std::{fs, path::Path};

use primepool_tests::{Binary, Broker, Process, report};
use serde_json::Value;
use tempfile::{TempDir, tempdir};

/// Starts a comparison with its temporary files in a folder of its own.
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

/// Makes the report of the comparison in `dir`, with figures and a page; returns its table.
pub(crate) fn table(dir: &Path) -> String {
    let folder = dir.join("x");
    let done = report(&["comparison"]).arg(&folder).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    for file in ["compare.svg", "compare.png", "compare.html", "compare.md"] {
        assert!(fs::metadata(folder.join(file)).unwrap().len() > 1000);
    }
    String::from_utf8(done.stdout).unwrap()
}

/// The measurements of the comparison in `dir`.
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
    let records = &comparison(dir.path())["records"];
    let of = |system: &str| {
        let mut records = records.as_array().unwrap().iter();
        records.find(|record| record["system"] == system).unwrap()
    };
    let rate = &of("primepool")["measured"]["empty"]["per_s"];
    assert!(rate.as_f64().unwrap() > 0.0, "{rate}");
    assert!(of("ray").get("failed").is_some());
    let table = table(dir.path());
    assert!(table.contains("**Ray failed** in round 1"), "{table}");
    assert!(table.contains("setup.sh --peers"), "{table}");

    // An existing comparison is not overwritten.
    let again = start(&broker, dir.path(), &files, nothing, args).wait();
    assert_eq!(again.code, Some(2), "{again:?}");
    assert!(again.stderr.contains("--dir"), "{again:?}");
}
