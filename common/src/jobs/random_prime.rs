use std::ops::Range;

use primepool_engine::{Form, Integer, Kernel, estimate};

use super::{
    Claims, Finding, JobFields, Jobs, Method, MissingField, WrittenJobs, claim::integer_of_bits,
    jobs_trait::plural,
};
use crate::wire::HexInteger;

/// Jobs that generate random primes.
pub type PrimeJobs = RandomPrimeJobs<false>;

/// Jobs that generate random safe primes: p and (p − 1) / 2 are both prime.
pub type SafePrimeJobs = RandomPrimeJobs<true>;

/// Jobs that generate random primes, safe primes if `SAFE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RandomPrimeJobs<const SAFE: bool> {
    /// Bits of each prime; its top bit is set.
    pub bits: u32,
    /// Number of jobs.
    pub count: u64,
    /// How each prime is chosen.
    pub method: Method,
}

impl<const SAFE: bool> RandomPrimeJobs<SAFE> {
    const FORM: Form = if SAFE { Form::SafePrime } else { Form::Prime };

    /// Name of a result in the singular, for descriptions.
    const NAME: &str = if SAFE { "safe prime" } else { "prime" };

    /// Least number of bits: the size of 2, or of 5, the least safe prime.
    const LEAST_BITS: u32 = if SAFE { 3 } else { 2 };

    /// Time of the uniform method relative to the incremental one.
    const UNIFORM_COST: f64 = if SAFE { 4.5 } else { 1.4 };
}

impl<const SAFE: bool> Jobs for RandomPrimeJobs<SAFE> {
    fn read(fields: JobFields) -> Result<Self, MissingField> {
        Ok(Self {
            bits: fields.bits()?,
            count: fields.count()?,
            method: if fields.prove {
                Method::Provable
            } else {
                fields.method
            },
        })
    }

    fn written(&self) -> WrittenJobs<'_> {
        WrittenJobs {
            bits: Some(self.bits),
            count: Some(self.count),
            method: self.method,
            prove: self.proves(),
            ..WrittenJobs::default()
        }
    }

    fn count(&self) -> u64 {
        self.count
    }

    fn bits(&self) -> u32 {
        self.bits
    }

    fn size(&self) -> u32 {
        self.bits
    }

    fn part(&self, range: Range<u64>, _integers: Vec<HexInteger>) -> Self {
        Self {
            count: range.end - range.start,
            ..*self
        }
    }

    fn validate(&self) -> Result<(), String> {
        if self.bits < Self::LEAST_BITS {
            return Err(format!(
                "no {} has {} bits: the least is {}",
                Self::NAME,
                self.bits,
                Self::LEAST_BITS
            ));
        }
        Ok(())
    }

    fn expected_seconds(&self, kernel: Option<Kernel>) -> f64 {
        self.method.cost(Self::UNIFORM_COST) * estimate::seconds(Self::FORM, self.bits, kernel)
    }

    fn proves(&self) -> bool {
        self.method == Method::Provable
    }

    /// A certificate contains each number at most twice, and from step to step the numbers shrink
    /// to a third of their size.
    fn answer_bytes(&self) -> u64 {
        let value = u64::from(self.bits) / 4 + 30;
        if self.proves() {
            6 * value + 100
        } else {
            value
        }
    }

    fn describe(&self) -> String {
        format!(
            "{}{}{} of {} bits",
            self.method.adjective(),
            Self::NAME,
            plural(self.count),
            self.bits
        )
    }

    fn shares_time(&self, _place: u64) -> bool {
        true
    }

    fn check(&self, finding: &Finding<'_>) -> Result<Claims, String> {
        let value = integer_of_bits(finding, self.bits)?;
        let half = SAFE.then(|| Integer::from(value >> 1));
        Ok(Claims::primes([value].into_iter().chain(&half)))
    }
}
