//! From what is asked for to work units.

use std::{
    io::{BufRead, Read},
    ops::RangeInclusive,
    str::FromStr,
    time::Duration,
};

use primepool_common::message::{
    HexInteger, JobKind, MAX_INTEGER_BITS, MAX_UNIT_JOBS, Method, RunId, VERSION, Work, WorkUnit,
};
use primepool_engine::{Form, Kernel, estimate};
use serde::{Deserialize, Serialize};

/// Most jobs in a run: what has come back is kept track of in memory, some 30 bytes a job.
pub const MAX_COUNT: u64 = 1 << 32;

/// A worker leaves composites of more bits to the pool: at this size one worker takes some seconds.
pub const LEAVE_ABOVE_BITS: u32 = 200;

/// What a run asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// Kind of every job.
    pub kind: JobKind,
    /// Bits of each prime; 0 where the kind has no size.
    pub bits: u32,
    /// Number of jobs.
    pub count: u64,
    /// How random primes are chosen.
    #[serde(default, skip_serializing_if = "Method::is_default")]
    pub method: Method,
    /// Seed of the jobs' random streams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Milliseconds of a worker's time that each job may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
    /// For `next-prime`: where each job starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<HexInteger>,
    /// For `factor`: the integers, a job each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub numbers: Vec<HexInteger>,
    /// Whether each of them is known to be a product of two primes of one size.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_balanced: bool,
}

/// Longest line with an integer, in bytes: its decimal digits are the longest, and there is room for white space.
const LONGEST_LINE: u64 = MAX_INTEGER_BITS as u64 / 3 + 1024;

/// Reads integers, one a line. Lines are bounded while they are read, so that a file that is none of this kind is not read whole.
///
/// # Errors
/// What is wrong, with the number of the line.
pub fn read_integers(mut lines: impl BufRead) -> Result<Vec<HexInteger>, String> {
    let mut integers = Vec::new();
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let length = lines
            .by_ref()
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut line)
            .map_err(|error| error.to_string())?;
        if length == 0 {
            break;
        }
        if length as u64 == LONGEST_LINE {
            return Err(format!(
                "line {number} is longer than {LONGEST_LINE} bytes: write an integer a line"
            ));
        }
        let text = str::from_utf8(&line).map_err(|_| format!("line {number} is not a text"))?;
        if !text.trim().is_empty() {
            let integer =
                HexInteger::parse_human(text).map_err(|error| format!("line {number}: {error}"))?;
            integers.push(integer);
        }
    }
    Ok(integers)
}

/// `--unit-size`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitSize {
    /// By the expected work.
    Auto,
    /// Exactly so many, but for the last one.
    Fixed(u64),
}

impl FromStr for UnitSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(jobs) if (1..=MAX_UNIT_JOBS).contains(&jobs) => Ok(Self::Fixed(jobs)),
            _ if text == "auto" => Ok(Self::Auto),
            _ => Err(format!("write auto, or a number from 1 to {MAX_UNIT_JOBS}")),
        }
    }
}

/// Work in one unit that `auto` aims at, in seconds: long against the cost of a message, short against the run. A unit costs
/// the broker about 2 ms of a core; a long run has room for units in which that does not count.
const UNIT_SECONDS: RangeInclusive<f64> = 0.05..=0.2;

/// Units of each worker that a run is cut into before they get longer than the least.
const UNITS_A_WORKER: f64 = 25.0;

/// Most bytes of a unit's answer that `auto` aims at, and the most that a fixed size may come to.
const ANSWER_BYTES: u64 = 8 << 20;

/// How the jobs are packed into units.
///
/// The units get smaller towards the end of the run, so that the workers finish together: each takes 1/`workers` of what is
/// left (Polychronopoulos and Kuck, "Guided Self-Scheduling", IEEE Trans. Computers 36(12), 1987), but between `least` and
/// `most` jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packing {
    /// Jobs in a full unit.
    pub most: u64,
    /// Jobs in the smallest one, the run's last excepted.
    pub least: u64,
    /// Workers that are counted on.
    pub workers: u64,
}

impl Packing {
    /// Chooses the sizes; `consumers` is how many are subscribed now.
    ///
    /// # Errors
    /// A fixed size whose answers would be too large for one message.
    pub fn choose(ask: &Ask, size: UnitSize, consumers: u32) -> Result<Self, String> {
        let bits = ask.largest_bits();
        let answer_limit = (ANSWER_BYTES / ask.answer_bytes()).clamp(1, MAX_UNIT_JOBS);
        match size {
            UnitSize::Fixed(jobs) if jobs > answer_limit => Err(format!(
                "--unit-size {jobs} makes the answers of {bits} bits too large for one message: {answer_limit} at most"
            )),
            UnitSize::Fixed(jobs) => Ok(Self {
                most: jobs,
                least: jobs,
                workers: 1,
            }),
            UnitSize::Auto => {
                // Consumers do not say how many workers they have; two cores are the least a node has.
                let workers = u64::from(consumers).saturating_mul(2).max(4);
                let (least, most) = UNIT_SECONDS.into_inner();
                let run_s = ask.job_seconds() * ask.count as f64;
                let unit_s = (run_s / workers as f64 / UNITS_A_WORKER).clamp(least, most);
                let most = ((unit_s / ask.job_seconds()) as u64).clamp(1, answer_limit);
                Ok(Self {
                    most,
                    least: most.div_ceil(10),
                    workers,
                })
            }
        }
    }

    /// Expected time of a full unit.
    #[must_use]
    pub fn unit_time(&self, ask: &Ask) -> Duration {
        let seconds = ask.job_seconds() * self.most as f64;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// Index of each unit's first job, in order, and `count` at the end.
    #[must_use]
    pub fn bounds(&self, count: u64) -> Vec<u64> {
        let mut bounds = vec![0];
        let mut first = 0;
        while first < count {
            let left = count - first;
            let size = left.div_ceil(self.workers).clamp(self.least, self.most);
            first += size.min(left);
            bounds.push(first);
        }
        bounds
    }
}

impl Packing {
    /// Whether it packs anything.
    ///
    /// # Errors
    /// Why it does not.
    fn validate(&self) -> Result<(), String> {
        let fits = 1 <= self.least && self.least <= self.most && self.most <= MAX_UNIT_JOBS;
        if !fits || self.workers == 0 {
            return Err(format!(
                "units of {} to {} jobs for {} workers (1 to {MAX_UNIT_JOBS} jobs, a worker at least)",
                self.least, self.most, self.workers
            ));
        }
        Ok(())
    }
}

/// Expected seconds for an integer of so many bits, if it is a product of two primes of one size: measured, and between and beyond what
/// was measured ten bits more take twice as long.
fn factor_seconds(bits: u32) -> f64 {
    let doublings = (f64::from(bits) - 128.0) / 10.0;
    0.02 * doublings.exp2().clamp(1e-3, 1e9)
}

impl Ask {
    /// Whether there are such jobs, and whether they can be packed so.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn validate(&self, packing: &Packing) -> Result<(), String> {
        if !(1..=MAX_COUNT).contains(&self.count) {
            return Err(format!("{} jobs (1 to {MAX_COUNT})", self.count));
        }
        let sizes = match self.kind {
            JobKind::Prime => 2..=MAX_INTEGER_BITS,
            JobKind::SafePrime => 3..=MAX_INTEGER_BITS,
            JobKind::NextPrime | JobKind::Factor | JobKind::Noop => 0..=0,
        };
        if !sizes.contains(&self.bits) {
            return Err(format!("no {} has {} bits", self.kind, self.bits));
        }
        for (integers, kind, what) in [
            (&self.after, JobKind::NextPrime, "start above"),
            (&self.numbers, JobKind::Factor, "factor"),
        ] {
            let wanted = if self.kind == kind { self.count } else { 0 };
            if integers.len() as u64 != wanted {
                return Err(format!(
                    "{} integers to {what} for {} jobs of kind {}",
                    integers.len(),
                    self.count,
                    self.kind
                ));
            }
        }
        packing.validate()
    }

    /// Bytes of the answer to one job: digits and columns.
    #[must_use]
    pub fn answer_bytes(&self) -> u64 {
        let bits = u64::from(self.largest_bits());
        match self.kind {
            // With many small factors the brackets, commas and exponents are more than the digits; the stages come on top.
            JobKind::Factor => 2 * bits + 600,
            _ => bits / 4 + 30,
        }
    }

    /// Expected seconds of one job.
    fn job_seconds(&self) -> f64 {
        let bits = self.largest_bits().max(2);
        // The consumers' processors are not known; most pools are of one kind of machine.
        let kernel = Kernel::choose().ok();
        let (form, uniform) = match self.kind {
            JobKind::Prime | JobKind::NextPrime => (Form::Prime, 1.4),
            JobKind::SafePrime => (Form::SafePrime, 4.5),
            // Of what is above, a unit does no more than what is quickly done.
            JobKind::Factor => return factor_seconds(bits.min(LEAVE_ABOVE_BITS)),
            JobKind::Noop => return 20e-6,
        };
        let slower = match self.method {
            Method::Incremental => 1.0,
            Method::Uniform => uniform,
        };
        slower * estimate::seconds(form, bits, kernel)
    }

    /// Whether there are integers for which the whole pool works together.
    #[must_use]
    pub fn is_spread(&self) -> bool {
        self.kind == JobKind::Factor && self.largest_bits() > LEAVE_ABOVE_BITS
    }

    /// Bits of the largest number in question.
    #[must_use]
    pub fn largest_bits(&self) -> u32 {
        let given = self.after.iter().chain(&self.numbers);
        let bits = given.map(|n| n.0.significant_bits());
        bits.max().unwrap_or(0).max(self.bits)
    }

    /// The unit of jobs `first..end`.
    #[must_use]
    pub fn unit(
        &self,
        run: &RunId,
        unit: u64,
        first: u64,
        end: u64,
        published_ns: u64,
    ) -> WorkUnit {
        let (bits, count, method) = (self.bits, end - first, self.method);
        let work = match self.kind {
            JobKind::Prime => Work::Prime {
                bits,
                count,
                method,
            },
            JobKind::SafePrime => Work::SafePrime {
                bits,
                count,
                method,
            },
            JobKind::NextPrime => Work::NextPrime {
                after: self.after[first as usize..end as usize].to_vec(),
            },
            JobKind::Factor => Work::Factor {
                numbers: self.numbers[first as usize..end as usize].to_vec(),
                leave_above: Some(LEAVE_ABOVE_BITS),
                share: None,
            },
            JobKind::Noop => Work::Noop { count },
        };
        WorkUnit {
            version: VERSION,
            run: run.clone(),
            unit,
            first,
            published_ns,
            seed: self.seed,
            avoid: Vec::new(),
            deadline_ms: self.deadline_ms,
            work,
        }
    }

    /// What the jobs are, for people: `primes of 1024 bits`.
    #[must_use]
    pub fn describe(&self) -> String {
        let method = match self.method {
            Method::Incremental => "",
            Method::Uniform => "uniform ",
        };
        match self.kind {
            JobKind::Prime => format!("{method}primes of {} bits", self.bits),
            JobKind::SafePrime => format!("{method}safe primes of {} bits", self.bits),
            JobKind::NextPrime => "next primes".to_owned(),
            JobKind::Factor => "factorisations".to_owned(),
            JobKind::Noop => "empty jobs".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn ask(bits: u32, count: u64) -> Ask {
        Ask {
            kind: JobKind::Prime,
            bits,
            count,
            method: Method::Incremental,
            seed: None,
            deadline_ms: None,
            after: vec![],
            numbers: vec![],
            is_balanced: false,
        }
    }

    proptest! {
        #[test]
        fn every_job_is_in_one_unit(count in 1u64..5000, most in 1u64..300, workers in 1u64..64) {
            let packing = Packing { most, least: most.div_ceil(10), workers };
            let bounds = packing.bounds(count);
            prop_assert_eq!(bounds[0], 0);
            prop_assert_eq!(*bounds.last().unwrap(), count);
            for pair in bounds.windows(2) {
                prop_assert!(pair[0] < pair[1] && pair[1] - pair[0] <= most);
            }
        }
    }

    #[test]
    fn integers_are_read_line_by_line() {
        let read = |text: &str| read_integers(text.as_bytes());
        let three = read("5\n\n 0xff\r\n-1").unwrap();
        assert_eq!(three, [5, 255, -1].map(|n| HexInteger(n.into())));
        assert!(read("5\nx").unwrap_err().starts_with("line 2: "));
        assert!(read_integers(&b"\xff"[..]).is_err());
        // A file without end.
        let endless = std::io::BufReader::new(std::io::repeat(b'1'));
        assert!(read_integers(endless).unwrap_err().contains("longer than"));
    }

    #[test]
    fn units_shrink_towards_the_end() {
        let packing = Packing::choose(&ask(256, 100_000), UnitSize::Auto, 1).unwrap();
        assert!(packing.most > 10, "{packing:?}");
        let bounds = packing.bounds(100_000);
        let size = |i: usize| bounds[i + 1] - bounds[i];
        assert_eq!(size(0), packing.most);
        assert!(size(bounds.len() - 2) <= packing.least);
    }

    #[test]
    fn large_primes_go_one_by_one() {
        let packing = Packing::choose(&ask(8192, 100), UnitSize::Auto, 3).unwrap();
        assert_eq!((packing.most, packing.least), (1, 1));
    }

    #[test]
    fn a_fixed_size_is_kept_or_refused() {
        let packing = Packing::choose(&ask(1024, 10), UnitSize::Fixed(3), 1).unwrap();
        assert_eq!(packing.bounds(10), [0, 3, 6, 9, 10]);
        assert!(Packing::choose(&ask(65_536, 10), UnitSize::Fixed(10_000), 1).is_err());
    }
}
