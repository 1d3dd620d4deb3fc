//! Repeats the tests that use the distribution's InfluxDB with a newer InfluxDB 1.x, if it was
//! built: `infra/local/setup.sh --influxdb1`.

use std::{
    env,
    process::{Command, Stdio},
};

use primepool_sandbox::InfluxDb;

#[test]
fn a_newer_one_passes_the_same_tests() {
    let Some(program) = InfluxDb::newer() else {
        eprintln!("there is no newer InfluxDB 1.x: infra/local/setup.sh --influxdb1 makes it");
        return;
    };
    let tests = [
        "metrics",
        "dashboards::",
        "experiment_influx::",
        "make_run::an_influxdb",
    ];
    let done = Command::new(env::current_exe().unwrap())
        .args(tests)
        .args([
            "--skip",
            "long::",
            "--skip",
            "alone::",
            "--test-threads",
            "4",
        ])
        .env("PRIMEPOOL_INFLUXD", program)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    print!("{said}");
    assert!(done.status.success(), "{said}");
    assert!(
        said.contains("dashboards::every_query_gives_something ... ok"),
        "{said}"
    );
}
