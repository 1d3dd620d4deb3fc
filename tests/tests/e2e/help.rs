//! Snapshots of the help texts. This command updates them after an intended change:
//! `INSTA_UPDATE=always cargo test --release -p primepool-tests --test e2e help::`.

use primepool_tests::Binary;

fn help(binary: Binary, args: &[&str]) -> String {
    let output = binary.command().args(args).output().unwrap();
    assert!(output.status.success());
    assert!(output.stderr.is_empty());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn producer() {
    insta::assert_snapshot!(help(Binary::Producer, &["--help"]));
}

#[test]
fn producer_resume() {
    insta::assert_snapshot!(help(Binary::Producer, &["resume", "--help"]));
}

#[test]
fn producer_factor() {
    insta::assert_snapshot!(help(Binary::Producer, &["factor", "--help"]));
}

#[test]
fn consumer() {
    insta::assert_snapshot!(help(Binary::Consumer, &["--help"]));
}

#[test]
fn consumer_health() {
    insta::assert_snapshot!(help(Binary::Consumer, &["health", "--help"]));
}

#[test]
fn experiment() {
    insta::assert_snapshot!(help(Binary::Experiment, &["--help"]));
}

#[test]
fn experiment_run() {
    insta::assert_snapshot!(help(Binary::Experiment, &["run", "--help"]));
}

#[test]
fn experiment_compare() {
    insta::assert_snapshot!(help(Binary::Experiment, &["compare", "--help"]));
}

#[test]
fn primepool() {
    insta::assert_snapshot!(help(Binary::Monitor, &["--help"]));
}

#[test]
fn primepool_check() {
    insta::assert_snapshot!(help(Binary::Monitor, &["check", "--help"]));
}

#[test]
fn primepool_dashboard() {
    insta::assert_snapshot!(help(Binary::Monitor, &["dashboard", "--help"]));
}

#[test]
fn primepool_status() {
    insta::assert_snapshot!(help(Binary::Monitor, &["status", "--help"]));
}

#[test]
fn primepool_top() {
    insta::assert_snapshot!(help(Binary::Monitor, &["top", "--help"]));
}

#[test]
fn primepool_runs() {
    insta::assert_snapshot!(help(Binary::Monitor, &["runs", "--help"]));
}

#[test]
fn primepool_cancel() {
    insta::assert_snapshot!(help(Binary::Monitor, &["cancel", "--help"]));
}

#[test]
fn primepool_dead() {
    insta::assert_snapshot!(help(Binary::Monitor, &["dead", "--help"]));
}

#[test]
fn primepool_dead_requeue() {
    insta::assert_snapshot!(help(Binary::Monitor, &["dead", "requeue", "--help"]));
}

#[test]
fn short_help_fits_a_screen() {
    let commands = [
        (Binary::Producer, &["", "factor", "resume", "cancel"][..]),
        (Binary::Consumer, &["", "health"]),
        (
            Binary::Monitor,
            &[
                "",
                "status",
                "top",
                "dashboard",
                "dead",
                "runs",
                "cancel",
                "check",
            ],
        ),
        (Binary::Experiment, &["", "run", "compare"]),
    ];
    for (binary, subcommands) in commands {
        for subcommand in subcommands {
            let words = [*subcommand, "-h"];
            let words = if subcommand.is_empty() {
                &words[1..]
            } else {
                &words
            };
            let text = help(binary, words);
            assert!(text.lines().count() <= 40, "{words:?}\n{text}");
            let is_narrow = |line: &str| line.chars().count() <= 100;
            assert!(text.lines().all(is_narrow), "{words:?}\n{text}");
            assert!(!text.contains("[env:"), "{words:?}\n{text}");
        }
    }
}
