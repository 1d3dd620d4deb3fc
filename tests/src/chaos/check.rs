//! Checks of the promises after a chaos run: results, dead letters, queues and memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use lapin::{
    BasicProperties,
    options::BasicGetOptions,
    types::{AMQPValue, FieldTable},
};
use rug::{Integer, integer::IsPrime};
use serde_json::Value;

use super::{Options, Report, memory::Growth, pool::ChaosPool};
use crate::{
    Results,
    broker::{look_at, publish},
    with_channel,
};

/// Largest allowed growth of a process's memory, in KiB; the producer may add some bytes for each
/// job.
const GROWTH_KIB: i64 = 24 << 10;

const JOBS: &str = "primepool.jobs.prime";
const DEAD: &str = "primepool.dead";

/// Malformed messages that the consumers must reject.
pub(super) struct Poison {
    /// The body of each message, and a text that the reason for its rejection must contain.
    letters: Vec<(String, &'static str)>,
}

impl Poison {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            letters: vec![
                (format!("poison {seed}"), "malformed"),
                (
                    format!(r#"{{"version":7,"run":"p{seed}","unit":0,"kind":"prime"}}"#),
                    "unknown version 7",
                ),
                (
                    format!(r#"{{"version":1,"run":"p{seed}","unit":0,"kind":"sing"}}"#),
                    "unknown kind",
                ),
                (format!("{}{seed}", "[".repeat(5000)), "malformed"),
            ],
        }
    }

    pub(super) fn publish(&self, url: &str) {
        for (body, _) in &self.letters {
            let properties = BasicProperties::default()
                .with_content_type("application/json".into())
                .with_delivery_mode(2);
            publish(url, "primepool.jobs", "prime", body.as_bytes(), properties);
        }
    }
}

/// Polls until the condition holds; false if it does not within a minute.
fn eventually(mut is_so: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(200));
    }
    true
}

/// Counts of ready messages and of consumers of a queue, if the queue exists.
fn state(pool: &ChaosPool, queue: &str) -> Option<(u32, u32)> {
    let queue = look_at(&pool.servers.admin(), queue)?;
    Some((queue.message_count(), queue.consumer_count()))
}

/// Why a message was dead-lettered: the reason given by a consumer, or else all headers.
fn reason(properties: &BasicProperties) -> String {
    let headers = properties.headers().as_ref().map(FieldTable::inner);
    match headers.and_then(|headers| headers.get("x-primepool-reason")) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        _ => format!("{headers:?}"),
    }
}

/// Checks that every malformed message was dead-lettered with its reason, and no other message was.
pub(super) fn check_dead_letters(pool: &mut ChaosPool, poison: &Poison, report: &mut Report) {
    let idle = eventually(|| state(pool, JOBS).is_some_and(|(ready, _)| ready == 0));
    if !idle {
        pool.break_promise(format!("{JOBS} was not worked off after the run"));
    }
    let mut found: BTreeMap<String, (u64, String)> = BTreeMap::new();
    eventually(|| {
        with_channel(&pool.servers.admin(), async |channel| {
            let options = BasicGetOptions { no_ack: true };
            // A queue whose nodes have just come back may refuse the first requests.
            while let Ok(Some(letter)) = channel.basic_get(DEAD.into(), options).await {
                let body = String::from_utf8_lossy(&letter.data).into_owned();
                let reason = reason(&letter.properties);
                found.entry(body).or_insert((0, reason)).0 += 1;
            }
        });
        poison
            .letters
            .iter()
            .all(|(body, _)| found.contains_key(body))
    });
    for (body, reason) in &poison.letters {
        match found.remove(body) {
            None => pool.break_promise(format!("poison is not in {DEAD}: {body:.80}")),
            Some((times, headers)) => {
                report.letters_again += times - 1;
                if !headers.contains(reason) {
                    pool.break_promise(format!(
                        "{DEAD} does not say {reason:?} but {headers:?}: {body:.80}"
                    ));
                }
            }
        }
    }
    for (body, (times, headers)) in found {
        pool.break_promise(format!("{times} in {DEAD}: {body:.200} {headers}"));
    }
}

/// Adds the duplicates counted in the producer's summary.
pub(super) fn count_duplicates(pool: &mut ChaosPool, dir: &Path) {
    let summary = Results::folder(dir).and_then(|folder| {
        let path = folder.join("summary.json");
        let summary = std::fs::read(&path).ok()?;
        // The summary is renamed, so that each session of the producer is counted once.
        let _ = std::fs::rename(&path, folder.join("summary-seen.json"));
        serde_json::from_slice::<Value>(&summary).ok()
    });
    if let Some(summary) = summary {
        pool.duplicates += summary["duplicates"].as_u64().unwrap_or(0);
    }
}

/// Checks the results of a complete run.
pub(super) fn check_results(
    pool: &mut ChaosPool,
    options: &Options,
    dir: &Path,
    report: &mut Report,
) {
    let folder = Results::folder(dir).unwrap();
    let text = std::fs::read_to_string(folder.join("results.jsonl")).unwrap();
    let mut jobs = BTreeSet::new();
    let mut wrong = Vec::new();
    for line in text.lines() {
        let row: Value = match serde_json::from_str(line) {
            Ok(row) => row,
            Err(error) => {
                wrong.push(format!("a line is none: {error}: {line:.200}"));
                continue;
            }
        };
        report.redelivered += u64::from(row["redelivered"] == true);
        let job = row["job"].as_u64().unwrap_or(u64::MAX);
        if job >= options.units {
            wrong.push(format!("there is no job {job}"));
        } else if !jobs.insert(job) {
            wrong.push(format!("job {job} is there twice"));
        }
        if row["outcome"] != "ok" {
            wrong.push(format!("job {job} is not ok: {line:.300}"));
            continue;
        }
        let digits = row["prime"]
            .as_str()
            .and_then(|text| text.strip_prefix("0x"));
        let prime = digits.and_then(|digits| Integer::from_str_radix(digits, 16).ok());
        let good = prime.is_some_and(|prime| {
            prime.significant_bits() == options.bits && prime.is_probably_prime(25) != IsPrime::No
        });
        if !good {
            wrong.push(format!("job {job} has a wrong result: {line:.300}"));
        }
    }
    report.results += jobs.len() as u64;
    if jobs.len() as u64 != options.units {
        wrong.push(format!(
            "{} of {} jobs have a result",
            jobs.len(),
            options.units
        ));
    }
    let seen = std::fs::read(folder.join("summary-seen.json")).unwrap_or_default();
    let summary: Value = serde_json::from_slice(&seen).unwrap_or_default();
    let ok = summary["jobs_ok"]
        .as_u64()
        .zip(summary["jobs_ok_before"].as_u64());
    if ok.map(|(now, before)| now + before) != Some(options.units) || summary["jobs_missing"] != 0 {
        wrong.push(format!(
            "the summary does not agree with the results: {summary}"
        ));
    }
    let more = wrong.len().saturating_sub(10);
    for what in wrong.into_iter().take(10) {
        pool.break_promise(what);
    }
    if more > 0 {
        pool.break_promise(format!("and {more} more of these"));
    }
    let run = folder.file_name().unwrap().to_str().unwrap();
    let queue = format!("primepool.results.{run}");
    if state(pool, &queue).is_some() {
        pool.break_promise(format!("{queue} is left over"));
    }
}

/// Checks the memory growth, then stops the consumers: they exit cleanly and leave nothing behind.
pub(super) fn check_shutdown(pool: &mut ChaosPool, report: &mut Report) {
    report.growth = pool
        .memory
        .growth()
        .into_iter()
        .max_by_key(|growth| growth.kib);
    for growth in pool.memory.growth() {
        let Growth { name, kib, seconds } = growth;
        let jobs = i64::try_from(report.jobs).unwrap_or(i64::MAX);
        let bound = GROWTH_KIB
            + if name.starts_with("producer") {
                jobs / 2
            } else {
                0
            };
        if kib > bound {
            pool.break_promise(format!(
                "the memory of {name} grew by {kib} KiB in {seconds} s"
            ));
        }
    }
    pool.kill_producer();
    for n in 0..pool.consumers.len() {
        if let Some(process) = &pool.consumers[n].process {
            process.signal("TERM");
        }
    }
    for n in 0..pool.consumers.len() {
        let Some(mut process) = pool.consumers[n].process.take() else {
            continue;
        };
        pool.memory.leave(process.pid());
        let name = pool.consumers[n].name.clone();
        if !eventually(|| process.ended().is_some()) {
            pool.break_promise(format!("consumer {name} did not end within a minute"));
            continue;
        }
        let done = process.wait();
        if done.code != Some(0) {
            pool.break_promise(format!("consumer {name} ended with {:?}", done.code));
        }
        let (_, log) = (done.stdout, done.stderr);
        if log.contains("panicked") {
            pool.break_promise(format!("consumer {name} panicked"));
        }
    }
    if pool.broken.is_empty() {
        let left = state(pool, JOBS);
        if left != Some((0, 0)) {
            pool.break_promise(format!(
                "{JOBS} has (messages, consumers) {left:?} when all have ended"
            ));
        }
    }
}
