//! The folder of a run, on a real disk.

#![allow(clippy::unwrap_used)]
use std::{fs, io::Write, path::Path};

use primepool_common::message::{FactorJobs, HexInteger, Method, PrimeJobs, RunId, Work};

use super::*;
use crate::request::{Packing, Request, Weights};

fn create(runs: &Path, output: Option<&Path>) -> Result<Folder, FolderError> {
    let work = Work::Prime(PrimeJobs {
        bits: 64,
        count: 9,
        method: Method::Uniform,
    });
    let request = Request {
        seed: Some(3),
        ..Request::new(work)
    };
    let packing = Packing {
        most: 4,
        least: 1,
        workers: 4,
        most_jobs: None,
    };
    Folder::create(
        runs,
        "r1".parse().unwrap(),
        request,
        None,
        packing,
        0,
        output,
    )
}

#[test]
fn a_run_can_be_opened_again() {
    let runs = tempfile::tempdir().unwrap();
    let folder = create(runs.path(), None).unwrap();
    let (journal, _) = folder.journal().unwrap();
    journal.add(&publish(&journal, &[0, 2])).unwrap();
    let manifest = folder.manifest.clone();
    let run = manifest.run.clone();
    let busy = Folder::open(runs.path(), &run).unwrap_err();
    assert!(matches!(busy, FolderError::Busy(_)), "{busy}");
    drop(folder);
    let again = Folder::open(runs.path(), &run).unwrap();
    assert_eq!(again.manifest, manifest);
    assert_eq!(units(&again), [0, 2]);
}

/// The units that are in the journal.
fn units(folder: &Folder) -> Vec<u64> {
    let (_, confirmed) = folder.journal().unwrap();
    confirmed.into_iter().flatten().collect()
}

fn publish(journal: &Journal, units: &[u64]) -> Vec<Publication> {
    units.iter().map(|unit| journal.begin(*unit)).collect()
}

#[test]
fn a_unit_to_be_done_again_is_not_published() {
    let runs = tempfile::tempdir().unwrap();
    let folder = create(runs.path(), None).unwrap();
    let (journal, _) = folder.journal().unwrap();
    let written = || units(&folder);
    journal.add(&publish(&journal, &[0, 1, 2])).unwrap();
    journal.retract(&[1]).unwrap();
    assert_eq!(written(), [0, 2]);
    journal.add(&publish(&journal, &[1])).unwrap();
    assert_eq!(written(), [0, 1, 2]);
    // An answer may be read before the confirms of its unit, which may have been published twice.
    let before = publish(&journal, &[3, 4, 3]);
    journal.retract(&[3]).unwrap();
    journal.add(&before).unwrap();
    assert_eq!(written(), [0, 1, 2, 4]);
    let twice = publish(&journal, &[3, 3]);
    journal.add(&twice).unwrap();
    assert_eq!(written(), [0, 1, 2, 3, 4]);
    journal.retract(&[3]).unwrap();
    journal.add(&twice[1..]).unwrap();
    assert_eq!(written(), [0, 1, 2, 4]);
}

#[test]
fn a_long_journal_is_written_anew_and_goes_on() {
    let runs = tempfile::tempdir().unwrap();
    let folder = create(runs.path(), None).unwrap();
    let (journal, _) = folder.journal().unwrap();
    let all: Vec<u64> = (0..150_000).collect();
    journal.add(&publish(&journal, &all)).unwrap();
    journal.retract(&[7]).unwrap();
    let length = || folder.file("published").metadata().unwrap().len();
    assert!(length() > 900_000);
    let (journal, confirmed) = folder.journal().unwrap();
    let ranges: Vec<_> = confirmed.iter().cloned().collect();
    assert_eq!(ranges, [0..7, 8..150_000]);
    assert_eq!(length(), "0..7\n8..150000\n".len() as u64);
    journal.add(&publish(&journal, &[7])).unwrap();
    journal.retract(&[9]).unwrap();
    let (_, confirmed) = folder.journal().unwrap();
    assert_eq!(
        confirmed.iter().cloned().collect::<Vec<_>>(),
        [0..9, 10..150_000]
    );
    let written = std::fs::read_to_string(folder.file("published")).unwrap();
    assert_eq!(written, "0..7\n8..150000\n7\n-9\n");
}

#[test]
fn what_was_published_before_answers_were_lost_does_not_count() {
    let runs = tempfile::tempdir().unwrap();
    let folder = create(runs.path(), None).unwrap();
    let (journal, _) = folder.journal().unwrap();
    let written = || units(&folder);
    assert!(!journal.reopen(), "nothing was lost");
    journal.add(&publish(&journal, &[0])).unwrap();
    let before = publish(&journal, &[1, 2]);
    journal.forget().unwrap();
    assert_eq!(written(), [0; 0]);
    journal.add(&before[..1]).unwrap();
    // The answer to this unit has no queue yet.
    let meanwhile = publish(&journal, &[3]);
    journal.add(&meanwhile).unwrap();
    assert!(journal.reopen());
    journal.add(&before).unwrap();
    journal.add(&meanwhile).unwrap();
    assert_eq!(written(), [0; 0]);
    journal.add(&publish(&journal, &[2])).unwrap();
    assert_eq!(written(), [2]);
    assert!(!journal.reopen(), "told once");
}

#[test]
fn half_a_line_is_cut_off() {
    let runs = tempfile::tempdir().unwrap();
    let folder = create(runs.path(), None).unwrap();
    fs::write(folder.file("results.jsonl"), "{\"a\":1}\n{\"b\":").unwrap();
    let mut lines = Vec::new();
    let mut file = folder.results(|line| lines.push(line.to_vec())).unwrap();
    assert_eq!(lines, [b"{\"a\":1}\n"]);
    file.write_all(b"{\"c\":3}\n").unwrap();
    let whole = fs::read_to_string(folder.file("results.jsonl")).unwrap();
    assert_eq!(whole, "{\"a\":1}\n{\"c\":3}\n");
}

#[test]
fn integers_are_in_a_file_also_those_of_earlier_versions() {
    let runs = tempfile::tempdir().unwrap();
    let numbers = [91, 255, -7].map(|n| HexInteger(n.into()));
    let request = Request::new(Work::Factor(FactorJobs {
        numbers: numbers.to_vec().into(),
        leave_above: None,
        share: None,
        prove: false,
    }));
    let packing = Packing {
        most: 4,
        least: 1,
        workers: 4,
        most_jobs: Some(1000),
    };
    let run: RunId = "r1".parse().unwrap();
    let folder = Folder::create(runs.path(), run.clone(), request, None, packing, 0, None).unwrap();
    let read = |folder: &Folder| folder.integers.as_ref().unwrap().read(0..3).unwrap();
    assert_eq!(read(&folder), numbers);
    let (manifest, integers) = (folder.file("manifest.json"), folder.file("integers"));
    drop(folder);
    let again = Folder::open(runs.path(), &run).unwrap();
    assert_eq!(read(&again), numbers);
    assert_eq!(again.weights().count(), 3);
    drop(again);
    let written = fs::read_to_string(&manifest).unwrap();
    assert!(written.contains("\"version\": 3") && written.contains("\"most_bits\": 8"));

    // Lost integers are an error.
    fs::write(&integers, "0x5b\n0xff\n").unwrap();
    let error = Folder::open(runs.path(), &run).unwrap_err().to_string();
    assert!(error.contains("2 integers"), "{error}");

    // A manifest of version 2 lists the integers itself.
    let old = r#"{"version":2,"run":"r1","kind":"factor","bits":0,"count":3,
        "numbers":["5b","ff","-7"],"packing":{"most":2,"least":1,"workers":4},
        "priority":0,"output":"/tmp/results.jsonl"}"#;
    fs::write(&manifest, old).unwrap();
    fs::remove_file(&integers).unwrap();
    let old = Folder::open(runs.path(), &run).unwrap();
    assert_eq!(read(&old), numbers);
    assert_eq!(old.weights(), Weights::equal(3), "packed as it was");
}

#[test]
fn never_writes_over_somebodys_file() {
    let runs = tempfile::tempdir().unwrap();
    let output = runs.path().join("mine.jsonl");
    fs::write(&output, "precious").unwrap();
    assert!(create(runs.path(), Some(&output)).is_err());
    assert_eq!(fs::read_to_string(&output).unwrap(), "precious");
}

#[test]
fn a_damaged_manifest_is_refused_with_what_to_do() {
    let runs = tempfile::tempdir().unwrap();
    let folder = create(runs.path(), None).unwrap();
    let file = folder.file("manifest.json");
    let run = folder.manifest.run.clone();
    drop(folder);
    let whole = fs::read_to_string(&file).unwrap();
    for (good, bad) in [
        ("\"workers\": 4", "\"workers\": 0"),
        ("\"least\": 1", "\"least\": 0"),
        ("\"least\": 1", "\"least\": 5"),
        ("\"most\": 4", "\"most\": 18446744073709551615"),
        ("\"count\": 9", "\"count\": 18446744073709551615"),
        ("\"count\": 9", "\"count\": 0"),
        ("\"bits\": 64", "\"bits\": 1"),
        ("\"bits\": 64", "\"bits\": 4294967295"),
        ("\"kind\": \"prime\"", "\"kind\": \"next-prime\""),
        ("\"priority\": 0", "\"priority\": 10"),
        ("\"version\": 2", "\"version\": 5"),
        ("\"run\": \"r1\"", "\"run\": \"r2\""),
        ("}", ""),
    ] {
        assert!(whole.contains(good), "{good}");
        fs::write(&file, whole.replacen(good, bad, 1)).unwrap();
        let error = Folder::open(runs.path(), &run).unwrap_err();
        assert!(matches!(error, FolderError::Damaged { .. }), "{error}");
        let text = error.to_string();
        assert!(
            text.contains("manifest.json") && text.contains("new run"),
            "{text}"
        );
    }
    fs::write(&file, whole).unwrap();
    assert!(Folder::open(runs.path(), &run).is_ok());
}

#[test]
fn an_unknown_run_is_named() {
    let runs = tempfile::tempdir().unwrap();
    let error = Folder::open(runs.path(), &"r9".parse().unwrap()).unwrap_err();
    assert!(error.to_string().contains("r9"), "{error}");
}
