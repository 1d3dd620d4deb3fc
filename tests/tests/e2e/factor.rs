//! Factoring: integers that are factored by one worker each.

use std::{fs, path::Path};

use primepool_tests::{
    Binary, Broker, Consumer, Finished, Process, Results, assert_factored, integer, wait_for,
};
use rug::Integer;
use tempfile::tempdir;

fn factor(dir: &Path, broker: &Broker, args: &[&str]) -> Process {
    let args = [&["factor"], args].concat();
    Process::start(Binary::Producer, dir, &broker.url, &args)
}

fn lines(done: &Finished) -> Vec<&str> {
    done.stdout
        .lines()
        .take_while(|line| !line.is_empty())
        .collect()
}

#[test]
fn integers_of_all_sorts() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let _consumer = Consumer::start(dir.path(), &broker, "n1");
    fs::write(dir.path().join("numbers.txt"), "6\n\n 0x100 \n-7\n").unwrap();
    let args = [
        "-360",
        "1",
        "-1",
        "1000000016000000063",
        "0xffffffffffffffffffffffffffffffff",
        "170141183460469231731687303715884105727",
        "--file",
        "numbers.txt",
    ];
    let done = factor(dir.path(), &broker, &args).wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(
        lines(&done),
        [
            "-360 = -1 · 2^3 · 3^2 · 5",
            "1 = 1",
            "-1 = -1",
            "1000000016000000063 = 1000000007 · 1000000009",
            "340282366920938463463374607431768211455 = 3 · 5 · 17 · 257 · 641 · 65537 · 274177 · 6700417 · 67280421310721",
            "170141183460469231731687303715884105727 = 170141183460469231731687303715884105727",
            "6 = 2 · 3",
            "256 = 2^8",
            "-7 = -1 · 7",
        ]
    );
    let results = Results::read(dir.path());
    assert_factored(&results.rows);
    let proven = |job: u64| &results.rows.iter().find(|row| row["job"] == job).unwrap()["proven"];
    assert_eq!(*proven(4), true);
    assert_eq!(
        *proven(5),
        false,
        "a prime of 127 bits is a probable one here"
    );
    assert!(done.stdout.contains("9 of 9 factorisations"), "{done:?}");
}

#[test]
fn a_part_of_the_factors_is_an_outcome_of_its_own() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let _consumer = Consumer::start(dir.path(), &broker, "n1");
    // Days of work: the product of two primes of 160 bits that are not close to each other, times
    // 2^4 · 3.
    let p = Integer::from(Integer::u_pow_u(2, 160)).next_prime();
    let q = Integer::from(Integer::u_pow_u(3, 102)).next_prime();
    let hard = Integer::from(&p * &q);
    let n = Integer::from(&hard * 48).to_string();
    let done = factor(dir.path(), &broker, &[&n, "--deadline", "2s"]).wait();
    assert_eq!(done.code, Some(1), "{done:?}");
    let [line] = &lines(&done)[..] else {
        panic!("{done:?}")
    };
    assert!(
        line.starts_with(&format!("{n} = 2^4 · 3 · ({hard})   (")),
        "{line}"
    );
    assert!(line.contains("--deadline"), "{line}");
    let results = Results::read(dir.path());
    assert_eq!(results.summary["jobs_partial"], 1, "{}", results.summary);
    assert_eq!(results.rows[0]["outcome"], "partial");
    assert_eq!(integer(&results.rows[0]["composites"][0][0]), hard);
}

#[test]
fn a_killed_producer_goes_on() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let _consumer = Consumer::start(dir.path(), &broker, "n1");
    let args = ["--count", "60", "--bits", "144", "--seed", "1"];
    let producer = factor(dir.path(), &broker, &args);
    wait_for("some results", || {
        (Results::count(dir.path()) > 5).then_some(())
    });
    producer.signal("KILL");
    producer.wait();
    let run = Results::wait_for_run(dir.path());
    let resume = ["resume", &run];
    let done = Process::start(Binary::Producer, dir.path(), &broker.url, &resume).wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    let results = Results::read(dir.path());
    assert_eq!(results.rows.len(), 60);
    assert_factored(&results.rows);
    assert_eq!(lines(&done).len(), 60, "those from before too");
    for row in &results.rows {
        let factors = row["factors"].as_array().unwrap();
        let sizes = factors
            .iter()
            .map(|power| integer(&power[0]).significant_bits());
        assert_eq!(sizes.collect::<Vec<_>>(), [72, 72], "{row}");
        let stages = row["stages"].as_array().unwrap();
        assert!(stages.iter().any(|one| one["stage"] == "sieve"), "{row}");
    }
}

#[test]
fn wrong_usage_says_what_to_do() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    fs::write(dir.path().join("bad.txt"), "12\ntwelve\n").unwrap();
    fs::write(dir.path().join("empty.txt"), "# none\n").unwrap();
    for (args, told) in [
        (&[][..], "say which integers"),
        (&["12x"], "not an integer"),
        (&["--file", "bad.txt"], "bad.txt: line 2"),
        (&["12", "-0xff"], "--"),
        (&["--file", "missing"], "missing"),
        (&["--file", "empty.txt"], "empty.txt holds no integers"),
        (&["--count", "5"], "--bits"),
        (&["--bits", "64", "--count", "0"], "--count"),
        (&["--seed", "5", "12"], "--count"),
    ] {
        let done = factor(dir.path(), &broker, args).wait();
        assert_eq!(done.code, Some(2), "{args:?}: {done:?}");
        assert!(done.stderr.contains(told), "{args:?}: {done:?}");
    }
}

/// Starts `producer factor` with a file as its standard input.
fn factor_stdin(dir: &Path, broker: &Broker, args: &[&str], input: &str) -> Finished {
    fs::write(dir.join("stdin"), input).unwrap();
    let mut command = Binary::Producer.command();
    command
        .arg("factor")
        .args(args)
        .env("PRIMEPOOL_AMQP_URL", &broker.url);
    command.stdin(fs::File::open(dir.join("stdin")).unwrap());
    Process::spawn(command, "factor", dir).wait()
}

#[test]
fn every_number_is_printed_in_the_order_of_the_input() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let _consumers = ["n1", "n2"].map(|node| Consumer::start(dir.path(), &broker, node));
    // A hard number comes first: the others are factored before it.
    let mut input = "# numbers\n100000000000000000050700000000000000004563 # hard\n".to_owned();
    for number in 2..402 {
        input.push_str(&format!("{number}\n"));
    }
    let args = ["--file", "-", "--unit-size", "7"];
    let done = factor_stdin(dir.path(), &broker, &args, &input);
    assert_eq!(done.code, Some(0), "{done:?}");
    let printed = lines(&done);
    assert_eq!(printed.len(), 401);
    assert!(printed[0].starts_with("100000000000000000050700000000000000004563 = "));
    for (line, number) in printed[1..].iter().zip(2..) {
        assert!(line.starts_with(&format!("{number} = ")), "{line}");
    }
    assert!(
        done.stdout.contains("401 of 401 factorisations"),
        "{done:?}"
    );
}

#[test]
fn a_hopeless_number_holds_up_no_other() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let _consumer = Consumer::start(dir.path(), &broker, "n1");
    // A product of two primes of 330 bits, which the pool cannot factor, and one of two primes of
    // 101 and 102 bits.
    let above = |bits: u32| Integer::from(Integer::u_pow_u(2, bits)).next_prime();
    let hopeless = (above(330) * above(334)).to_string();
    let hard = (above(100) * above(101)).to_string();
    let args = ["--unordered", &hopeless, &hard];
    let producer = factor(dir.path(), &broker, &args);
    wait_for("the second number", || {
        let (printed, _) = producer.output();
        printed.contains(&format!("{hard} = ")).then_some(())
    });
    producer.signal("INT");
    let done = producer.wait();
    assert_eq!(done.code, Some(130), "{done:?}");
    let summary = Results::read(dir.path()).summary;
    assert_eq!(
        (&summary["jobs_ok"], &summary["jobs_missing"]),
        (&1.into(), &1.into())
    );
    let efficiency = summary["efficiency"].as_f64().unwrap();
    assert!(efficiency <= 1.0, "{summary}");
    assert!(done.stdout.contains("not done: 1"), "{done:?}");
}

#[test]
fn results_go_to_standard_output_and_the_summary_does_not() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let _consumer = Consumer::start(dir.path(), &broker, "n1");
    let args = ["--output", "-"];
    let done = factor_stdin(
        dir.path(),
        &broker,
        &[&args[..], &["--file", "-"]].concat(),
        "91\n15\n",
    );
    assert_eq!(done.code, Some(0), "{done:?}");
    let rows = done
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let rows: Vec<serde_json::Value> = rows.collect();
    let numbers: Vec<_> = rows.iter().map(|row| row["n"].as_str().unwrap()).collect();
    assert_eq!(numbers, ["0x5b", "0xf"]);
    assert!(done.stderr.contains("2 of 2 factorisations"), "{done:?}");
    assert_eq!(
        Results::read(dir.path()).rows.len(),
        2,
        "the run's folder has them too"
    );
    for more in ["--json", "--detach"] {
        let done = factor(dir.path(), &broker, &["91", "--output", "-", more]).wait();
        assert_eq!(done.code, Some(2), "{done:?}");
    }
}

/// A file of mostly small numbers, in which some take a thousand times as long as the others.
#[test]
fn a_long_file_of_all_sizes_goes_on_after_a_kill() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let prime_above =
        |bits: u32, at: u32| ((Integer::from(1) << (bits - 1)) + 1000 * at).next_prime();
    let numbers: Vec<Integer> = (0..60_000)
        .map(|at| match at % 1000 {
            0 => prime_above(60, at) * prime_above(60, at + 1),
            _ => Integer::from(at) * (1 << 20) + 1,
        })
        .collect();
    let text: Vec<String> = numbers.iter().map(Integer::to_string).collect();
    fs::write(dir.path().join("numbers.txt"), text.join("\n")).unwrap();
    let producer = factor(dir.path(), &broker, &["--file", "numbers.txt"]);
    let run = Results::wait_for_run(dir.path());
    let consumer = Consumer::start(dir.path(), &broker, "n1");
    wait_for("some results", || {
        (Results::count(dir.path()) > 5000).then_some(())
    });
    producer.signal("KILL");
    producer.wait();
    fs::remove_file(dir.path().join("numbers.txt")).unwrap();
    let mut resumed = Process::start(Binary::Producer, dir.path(), &broker.url, &["resume", &run]);
    // Peak memory of the resumed producer in KiB; holding all numbers twice would exceed the limit.
    let mut most = 0;
    wait_for("the end of the run", || {
        let status = fs::read_to_string(format!("/proc/{}/status", resumed.pid()));
        let peak = status.ok().and_then(|status| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("VmHWM:"))?;
            line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
        });
        most = most.max(peak.unwrap_or(0));
        resumed.ended()
    });
    let done = resumed.wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!((1..48 << 10).contains(&most), "{most} KiB");
    let results = Results::read(dir.path());
    assert_eq!(results.rows.len(), numbers.len());
    assert_factored(&results.rows);
    for (line, number) in lines(&done).iter().zip(&text) {
        assert!(line.starts_with(&format!("{number} = ")), "{line} {number}");
    }
    let jobs = results.rows.iter().map(|row| row["job"].as_u64().unwrap());
    let mut jobs: Vec<u64> = jobs.collect();
    jobs.sort_unstable();
    assert!(jobs.into_iter().eq(0..60_000), "each job once");
    drop(consumer);
}

#[test]
fn an_effort_is_told_beforehand_and_what_it_may_have_missed_afterwards() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let _consumer = Consumer::start(dir.path(), &broker, "n1");
    let above = |bits: u32| Integer::from(Integer::u_pow_u(2, bits)).next_prime();
    // Both factors are too large for curves of 15 digits.
    let hard = above(205) * above(207);
    let args = [&hard.to_string(), "--effort", "15", "--timeout", "50s"];
    let done = factor(dir.path(), &broker, &args).wait();
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(
        done.stderr.contains("factors of up to 15 digits"),
        "{done:?}"
    );
    let rows = Results::read(dir.path()).rows;
    assert_eq!(integer(&rows[0]["composites"][0][0]), hard);
    let reason = rows[0]["reason"].as_str().unwrap();
    assert!(
        reason.contains("missed") && reason.contains("of 15 digits"),
        "{reason}"
    );
    let digits = rows[0]["stages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["stage"]);
    assert!(digits.clone().any(|stage| *stage == "ecm"), "{rows:?}");
    let wrong = factor(dir.path(), &broker, &["91", "--effort", "50"]).wait();
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
}
