//! The dashboard's page in a browser. PRIMEPOOL_TEST_PICTURES=FOLDER keeps screenshots of it.

use std::{env, fs, path::PathBuf};

use primepool_tests::{Broker, Browser, Consumer, Process, Results, wait_for};
use tempfile::tempdir;

use crate::dashboard::Dashboard;

fn keep(name: &str, picture: &[u8]) {
    assert!(picture.starts_with(b"\x89PNG"));
    if let Some(folder) = env::var_os("PRIMEPOOL_TEST_PICTURES") {
        fs::write(PathBuf::from(folder).join(name), picture).unwrap();
    }
}

#[test]
fn the_page_shows_the_pool_and_a_click_its_run() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let dashboard = Dashboard::start(dir.path(), &broker);
    let nodes = [("n1", "2"), ("n2", "1")].map(|(node, workers)| {
        let args = ["--node", node, "--concurrency", workers];
        Consumer::with(dir.path(), &broker, &args)
    });
    let produce = |folder: &str, args: &[&str]| {
        let dir = dir.path().join(folder);
        fs::create_dir(&dir).unwrap();
        let producer = Process::start(primepool_tests::Binary::Producer, &dir, &broker.url, args);
        (producer, Results::wait_for_run(&dir))
    };
    let runs = [
        produce("a", &["--count", "400000", "--bits", "512"]),
        produce(
            "b",
            &["factor", "--count", "3000", "--bits", "150", "--share", "2"],
        ),
    ];
    let browser = Browser::start(1200, 1000);
    browser.open(&format!("http://{}/", dashboard.address));
    wait_for("both runs and nodes on the page", || {
        let text = browser.text();
        let all = [
            &*runs[0].1,
            &runs[1].1,
            "n1",
            "n2",
            "primepool.jobs.prime",
            "live",
        ];
        all.iter().all(|part| text.contains(part)).then_some(())
    });
    wait_for("a line in each plot", || {
        let lines = "return [...document.querySelectorAll('#plots svg')].map(svg => svg.querySelector('path.main').getTotalLength())";
        let lengths = browser.evaluate(lines);
        let lengths = lengths.as_array()?.iter().map(|length| length.as_f64());
        lengths
            .into_iter()
            .all(|length| length > Some(50.0))
            .then_some(())
    });
    keep("dashboard.png", &browser.screenshot());

    browser.click(&format!("a[href='#run={}']", runs[0].1));
    wait_for("the page of the run", || {
        let text = browser.text();
        (text.contains("primes of 512 bits") && text.contains("at work")).then_some(())
    });
    keep("dashboard-run.png", &browser.screenshot());
    runs[0].0.signal("INT");
    wait_for("its end", || browser.text().contains("ended").then_some(()));
    browser.click("main#run a");
    wait_for("the pool again", || {
        browser.text().contains("n2").then_some(())
    });
    // The page loads nothing from other servers.
    let loaded = browser
        .evaluate("return performance.getEntriesByType('resource').map(entry => entry.name)");
    for name in loaded.as_array().unwrap() {
        let name = name.as_str().unwrap();
        assert!(
            name.starts_with(&format!("http://{}/", dashboard.address)),
            "{name}"
        );
    }
    drop(nodes);
}
