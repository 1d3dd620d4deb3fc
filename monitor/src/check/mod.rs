//! `primepool check`: verifies a file of results.

mod judge;

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read as _},
    num::NonZero,
    path::Path,
    thread,
};

use anyhow::anyhow;
use primepool_common::{exit::Exit, output};
use primepool_engine::Error;
use serde::Serialize;

use crate::{Failure, cli::CheckArgs};
use judge::{Judge, Verdict};

/// Longest line that is read, in bytes; the rest of a longer one is skipped.
const MOST_BYTES: u64 = 12 << 20;

/// A batch for one thread ends after this many lines or bytes, whichever comes first.
const LINES: usize = 256;
const BYTES: usize = 4 << 20;

/// Most wrong lines that are reported one by one; the others are only counted.
const MOST_TOLD: u64 = 20;

/// Number of lines by verdict.
#[derive(Debug, Default, Serialize, PartialEq, Eq)]
struct Figures {
    /// Results whose primes are all proven.
    proven: u64,
    /// Results with primes that are only probable.
    probable: u64,
    /// Jobs without a result, or with only a valid part of one.
    incomplete: u64,
    /// Lines that are wrong.
    wrong: u64,
}

impl Figures {
    fn count(&mut self, verdict: &Verdict) {
        *match verdict {
            Verdict::Proven => &mut self.proven,
            Verdict::Probable => &mut self.probable,
            Verdict::Incomplete => &mut self.incomplete,
            Verdict::Wrong(_) => &mut self.wrong,
        } += 1;
    }

    /// The exit status: whether the file is good enough for the command.
    fn exit(&self, is_proof_needed: bool) -> Exit {
        let is_enough = self.wrong == 0 && (self.probable == 0 || !is_proof_needed);
        if is_enough {
            Exit::Ok
        } else {
            Exit::Incomplete
        }
    }
}

/// Checks a file of results.
///
/// # Errors
/// The file cannot be read, or standard output cannot be written.
pub(crate) fn run(args: &CheckArgs) -> Result<Exit, Failure> {
    let unreadable = |error: io::Error| {
        let error = anyhow!("cannot read {}: {error}", args.file.display());
        (Exit::Usage, error)
    };
    let incomplete = |error: anyhow::Error| (Exit::Incomplete, error);
    let mut reader = open(&args.file).map_err(unreadable)?;
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let mut judges: Vec<Judge> = (0..threads).map(|_| Judge::new(args.safe)).collect();
    let (mut figures, mut line) = (Figures::default(), 0_u64);
    loop {
        let lines = read_lines(&mut reader, threads).map_err(unreadable)?;
        if lines.is_empty() {
            break;
        }
        let verdicts = judge(&mut judges, &lines).map_err(|error| incomplete(error.into()))?;
        for verdict in verdicts {
            line += 1;
            // An empty line has no verdict.
            let Some(verdict) = verdict else {
                continue;
            };
            figures.count(&verdict);
            if let Verdict::Wrong(fault) = verdict
                && figures.wrong <= MOST_TOLD
            {
                output::notice(&format!("line {line}: {fault}"));
            }
        }
    }
    if figures.wrong > MOST_TOLD {
        let more = figures.wrong - MOST_TOLD;
        output::notice(&format!("and {more} more lines are wrong"));
    }
    let text = if args.json {
        // Plain data: it always has a JSON form.
        serde_json::to_string_pretty(&figures).unwrap_or_default()
    } else {
        let Figures {
            proven,
            probable,
            incomplete,
            wrong,
        } = &figures;
        format!(
            "proven: {proven}   probable: {probable}   without a result: {incomplete}   wrong: {wrong}"
        )
    };
    output::print(&text).map_err(|error| incomplete(error.into()))?;
    Ok(figures.exit(args.proven))
}

fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = if path.is_dir() {
        path.join("results.jsonl")
    } else {
        path.to_owned()
    };
    Ok(Box::new(BufReader::new(File::open(file)?)))
}

/// Reads the next lines, without line ends: a batch for each of `threads` threads. Empty at the end
/// of the file. A line that is too long is truncated and therefore is not valid JSON.
fn read_lines(reader: &mut impl BufRead, threads: usize) -> io::Result<Vec<Vec<u8>>> {
    let (mut lines, mut bytes) = (Vec::new(), 0);
    while lines.len() < LINES * threads && bytes < BYTES * threads {
        let mut line = Vec::new();
        if reader
            .by_ref()
            .take(MOST_BYTES)
            .read_until(b'\n', &mut line)?
            == 0
        {
            break;
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        } else if line.len() as u64 == MOST_BYTES {
            reader.skip_until(b'\n')?;
        }
        bytes += line.len();
        lines.push(line);
    }
    Ok(lines)
}

/// Judges lines on all threads, in order: one verdict for each line, `None` for an empty one.
fn judge(judges: &mut [Judge], lines: &[Vec<u8>]) -> Result<Vec<Option<Verdict>>, Error> {
    let share = lines.len().div_ceil(judges.len());
    let judge_share = |judge: &mut Judge, lines: &[Vec<u8>]| {
        let is_empty = |line: &[u8]| line.trim_ascii().is_empty();
        let full: Vec<&[u8]> = lines
            .iter()
            .map(Vec::as_slice)
            .filter(|line| !is_empty(line))
            .collect();
        let mut verdicts = judge.judge(&full)?.into_iter();
        let verdicts = lines.iter().map(|line| {
            if is_empty(line) {
                None
            } else {
                verdicts.next()
            }
        });
        Ok::<Vec<_>, Error>(verdicts.collect())
    };
    thread::scope(|scope| {
        let shares = lines.chunks(share).zip(judges);
        let threads: Vec<_> = shares
            .map(|(lines, judge)| scope.spawn(move || judge_share(judge, lines)))
            .collect();
        let mut all = Vec::with_capacity(lines.len());
        for thread in threads {
            match thread.join() {
                Ok(verdicts) => all.extend(verdicts?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(all)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lines_are_bounded_and_keep_their_places() {
        let mut text = b"{\"prime\":\"97\"}\n\n".to_vec();
        text.extend(std::iter::repeat_n(b'1', MOST_BYTES as usize + 10));
        text.extend(b"\n{\"prime\":\"91\"}");
        let lines = read_lines(&mut &text[..], 2).unwrap();
        let lengths: Vec<_> = lines.iter().map(Vec::len).collect();
        assert_eq!(lengths[..2], [14, 0]);
        let mut rest = &text[..];
        let mut judges = [Judge::new(false), Judge::new(false)];
        let mut verdicts = Vec::new();
        loop {
            let lines = read_lines(&mut rest, 1).unwrap();
            if lines.is_empty() {
                break;
            }
            verdicts.extend(judge(&mut judges, &lines).unwrap());
        }
        assert_eq!(verdicts.len(), 4);
        assert_eq!(verdicts[..2], [Some(Verdict::Proven), None]);
        assert!(matches!(
            verdicts[2..],
            [Some(Verdict::Wrong(_)), Some(Verdict::Wrong(_))]
        ));
    }

    #[test]
    fn the_status_says_whether_all_holds() {
        let figures = |probable, wrong| Figures {
            proven: 1,
            probable,
            incomplete: 1,
            wrong,
        };
        assert_eq!(figures(1, 0).exit(false), Exit::Ok);
        assert_eq!(figures(1, 0).exit(true), Exit::Incomplete);
        assert_eq!(figures(0, 0).exit(true), Exit::Ok);
        assert_eq!(figures(0, 1).exit(false), Exit::Incomplete);
    }
}
