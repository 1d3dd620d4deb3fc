use std::ops::Range;

use primepool_engine::{Form, Kernel, estimate};

use super::{
    Claims, Finding, JobFields, Jobs, MissingField, WrittenJobs,
    claim::integer,
    jobs_trait::{plural, slice_of},
};
use crate::wire::HexInteger;

/// For each integer the least prime above it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextPrimeJobs {
    /// The integers, a job each.
    pub after: Vec<HexInteger>,
}

impl Jobs for NextPrimeJobs {
    fn read(fields: JobFields) -> Result<Self, MissingField> {
        let after = fields.after.ok_or(MissingField("after"))?;
        Ok(Self { after })
    }

    fn written(&self) -> WrittenJobs<'_> {
        WrittenJobs {
            after: Some(&self.after),
            ..WrittenJobs::default()
        }
    }

    fn count(&self) -> u64 {
        self.after.len() as u64
    }

    fn bits(&self) -> u32 {
        let bits = self.after.iter().map(|n| n.0.significant_bits());
        bits.max().unwrap_or(0)
    }

    fn slice(&self, range: Range<u64>) -> Self {
        Self {
            after: slice_of(&self.after, range),
        }
    }

    fn expected_seconds(&self, kernel: Option<Kernel>) -> f64 {
        estimate::seconds(Form::Prime, self.bits().max(2), kernel)
    }

    fn describe(&self) -> String {
        format!("next prime{}", plural(self.count()))
    }

    /// That the number is prime and above the start. That no prime lies between is not checked: it
    /// would be the search again.
    fn check(&self, job: u64, finding: &Finding<'_>) -> Result<Claims, String> {
        let value = integer(finding)?;
        if *value <= self.after[job as usize].0 {
            return Err("it is not above the start".to_owned());
        }
        Ok(Claims::primes([value.clone()]))
    }
}
