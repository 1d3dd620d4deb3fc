//! Experiments that limit the CPU share of a node.

use std::{fs, path::Path};

use primepool_tests::Broker;
use tempfile::tempdir;

use crate::experiment::{any_process_with_url, records, start};

/// Whether this system allows a control group with a CPU quota.
fn may_share() -> bool {
    let name = format!("primepool-test-{}", std::process::id());
    ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup"].iter().any(|root| {
        let group = Path::new(root).join(&name);
        let made = fs::create_dir(&group).is_ok();
        let works = ["cpu.cfs_quota_us", "cpu.max"]
            .iter()
            .any(|file| group.join(file).exists());
        let _ = fs::remove_dir(&group);
        made && works
    })
}

#[test]
fn a_share_is_a_ceiling_and_what_a_node_uses_is_told_of_it() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let args = "run --nodes 1 --workers 1 --bits 256 --repeat 1 --min-time 4s --cpus-per-node 0.25 --dir x";
    let done = start(&broker, dir.path(), args).wait_long();
    if !may_share() {
        assert_eq!(done.code, Some(1), "{done:?}");
        assert!(done.stderr.contains("--cpus-per-node needs"), "{done:?}");
        return;
    }
    assert_eq!(done.code, Some(0), "{done:?}");
    let figures = &records(dir.path())[0]["measured"];
    let number = |name: &str| figures[name].as_f64().unwrap();
    let cores = number("consumer_cpu_s") / number("elapsed_s");
    assert!((0.15..0.3).contains(&cores), "{cores} cores");
    let percent = number("cpu_pct");
    assert!((60.0..120.0).contains(&percent), "{percent} % of its share");
    assert!(!any_process_with_url(&broker));
}
