//! What a run asks for.

use primepool_common::message::{
    HexInteger, JobKind, MAX_INTEGER_BITS, Method, RunId, VERSION, Work, WorkUnit,
};
use primepool_engine::{Form, Kernel, estimate};
use serde::{Deserialize, Serialize};

use super::Packing;

/// Most jobs in a run: what has come back is kept track of in memory, some 30 bytes a job.
pub(crate) const MAX_COUNT: u64 = 1 << 32;

/// A worker leaves composites of more bits to the pool: at this size one worker takes some seconds.
pub(crate) const LEAVE_ABOVE_BITS: u32 = 200;

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
    pub(super) fn job_seconds(&self) -> f64 {
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
