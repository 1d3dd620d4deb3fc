//! Files of a run's folder that `resume` reads back; the first byte of the input selects the file.

use std::collections::{HashMap, HashSet};

use primepool_common::message::{HexInteger, MAX_BODY_BYTES, MAX_INTEGER_BITS, decode_unit};
use primepool_fuzz::assert_brief;
use primepool_producer::request::{Bounds, Weights};
use primepool_producer::run_dir::{
    EndedJobs, Manifest, Origin, Row, factorization, note_line, write_lines,
};
use rangemap::RangeSet;

pub(crate) fn run(data: &[u8]) {
    match data.split_first() {
        Some((b'm', text)) => manifest(text),
        Some((b'r', text)) => results(&String::from_utf8_lossy(text)),
        Some((b'j', text)) => journal(&String::from_utf8_lossy(text)),
        _ => {}
    }
}

fn manifest(text: &[u8]) {
    let run = "r1".parse().expect("a name");
    let manifest = match Manifest::read(text, &run) {
        Ok(manifest) => manifest,
        Err(reason) => return assert_brief(&reason),
    };
    let written = serde_json::to_vec_pretty(&manifest).expect("it has a JSON form");
    assert_eq!(Manifest::read(&written, &run).as_ref(), Ok(&manifest));
    assert!(manifest.largest_answer() <= MAX_BODY_BYTES);
    assert!(!manifest.request.work.jobs().describe().is_empty());
    let count = manifest.request.count();
    if count > 10_000 {
        return;
    }
    let mut bounds = Bounds::from(0);
    manifest.packing.extend(&mut bounds, &Weights::equal(count));
    let mut next = 0;
    for (unit, jobs) in (0..).zip(bounds.iter()) {
        assert!(jobs.start == next && !jobs.is_empty());
        assert!(jobs.end - jobs.start <= manifest.packing.most);
        next = jobs.end;
        if unit < 3 {
            let integers = (jobs.clone()).map(|job| HexInteger(job.into())).collect();
            let unit = manifest.request.unit(&run, unit, jobs, integers, 1);
            assert_eq!(unit.validate(MAX_INTEGER_BITS), Ok(()));
            let body = serde_json::to_vec(&unit).expect("it has a JSON form");
            assert_eq!(decode_unit(&body), Ok(unit));
        }
    }
    assert_eq!((next, bounds.end()), (count, count));
}

fn read_back(text: &str, count: u64) -> Result<EndedJobs, String> {
    let mut ended = EndedJobs::new(count);
    text.lines()
        .try_for_each(|line| ended.add(line.as_bytes()))?;
    Ok(ended)
}

fn results(text: &str) {
    let count = 16;
    let read = match read_back(text, count) {
        Ok(read) => read,
        Err(reason) => return assert_brief(&reason),
    };
    let ended = read.done.len();
    assert_eq!(ended, text.lines().count() as u64, "a line for each job");
    assert!(read.ok <= ended);
    for line in text
        .lines()
        .filter_map(|line| factorization(line.as_bytes()))
    {
        assert!(!line.is_empty() && !line.contains('\n'), "{line:?}");
    }
    // `resume` reads only parts of each line, so a line that it accepts may still be no valid row.
    let rows = text.lines().map(serde_json::from_str);
    let Ok(rows) = rows.collect::<Result<Vec<Row>, _>>() else {
        return;
    };
    let origin = Origin {
        node: "n".to_owned(),
        worker: 0,
        latency_ms: 1.5,
        queue_wait_ms: 0.5,
        redelivered: false,
    };
    let mut written = Vec::new();
    write_lines(&origin, &rows, &mut written).expect("all of it has a JSON form");
    let written = String::from_utf8(written).expect("a text");
    assert_eq!(read_back(&written, count), Ok(read));
    for (line, row) in written.lines().zip(&rows) {
        assert_eq!(serde_json::from_str::<Row>(line).expect("a row"), *row);
    }
}

fn journal(text: &str) {
    let mut units = RangeSet::new();
    text.lines().for_each(|line| note_line(&mut units, line));
    let mut last: HashMap<&str, bool> = HashMap::new();
    for line in text.lines() {
        let unit = line.strip_prefix('-').unwrap_or(line);
        last.insert(unit, unit == line);
    }
    // A number has several forms (007, +7); the journal that the producer writes uses only one.
    let is_ours = |unit: &&str| unit.parse::<u64>().is_ok_and(|n| n.to_string() == **unit);
    if text
        .lines()
        .all(|line| is_ours(&line.strip_prefix('-').unwrap_or(line)))
    {
        let expected: HashSet<u64> = last
            .into_iter()
            .filter(|(_, is_published)| *is_published)
            .filter_map(|(unit, _)| unit.parse().ok())
            .collect();
        assert_eq!(
            units.iter().cloned().flatten().collect::<HashSet<u64>>(),
            expected
        );
    }
    assert!(units.len() <= text.lines().count());
}
