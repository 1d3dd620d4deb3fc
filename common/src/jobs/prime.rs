use std::ops::Range;

use primepool_engine::{Form, Kernel, estimate};

use super::{
    Claims, Finding, JobFields, Jobs, Method, MissingField, WrittenJobs, claim::integer_of_bits,
    jobs_trait::plural,
};

/// Random primes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrimeJobs {
    /// Bits of each prime; its top bit is set.
    pub bits: u32,
    /// Number of jobs.
    pub count: u64,
    /// How each prime is chosen.
    pub method: Method,
}

/// Least number of bits of a prime.
const LEAST_BITS: u32 = 2;

/// How many times longer the uniform method takes.
const UNIFORM_COST: f64 = 1.4;

impl Jobs for PrimeJobs {
    fn read(fields: JobFields) -> Result<Self, MissingField> {
        Ok(Self {
            bits: fields.bits()?,
            count: fields.count()?,
            method: fields.method,
        })
    }

    fn written(&self) -> WrittenJobs<'_> {
        WrittenJobs {
            bits: Some(self.bits),
            count: Some(self.count),
            method: self.method,
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

    fn slice(&self, range: Range<u64>) -> Self {
        Self {
            count: range.end - range.start,
            ..*self
        }
    }

    fn validate(&self) -> Result<(), String> {
        if self.bits < LEAST_BITS {
            return Err(format!(
                "no prime has {} bits: the least is {LEAST_BITS}",
                self.bits
            ));
        }
        Ok(())
    }

    fn expected_seconds(&self, kernel: Option<Kernel>) -> f64 {
        self.method.cost(UNIFORM_COST) * estimate::seconds(Form::Prime, self.bits, kernel)
    }

    fn describe(&self) -> String {
        format!(
            "{}prime{} of {} bits",
            self.method.adjective(),
            plural(self.count),
            self.bits
        )
    }

    fn is_side_by_side(&self) -> bool {
        true
    }

    fn check(&self, _job: u64, finding: &Finding<'_>) -> Result<Claims, String> {
        let value = integer_of_bits(finding, self.bits)?;
        Ok(Claims::primes([value.clone()]))
    }
}
