use std::ops::Range;

use primepool_engine::{Form, Kernel, estimate};

use super::{
    Claims, Finding, Integers, JobFields, Jobs, MissingField, WrittenJobs,
    claim::integer,
    jobs_trait::{certificate_bytes, plural},
};
use crate::wire::HexInteger;

/// Jobs that search for the next prime: for each integer, the least prime above it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextPrimeJobs {
    /// The integers to search above, one per job.
    pub after: Integers,
    /// Whether to certify each prime, if a certificate can be built.
    pub prove: bool,
}

impl Jobs for NextPrimeJobs {
    fn read(fields: JobFields) -> Result<Self, MissingField> {
        let after = Integers::read(fields.after, fields.count, fields.most_bits, "after")?;
        Ok(Self {
            after,
            prove: fields.prove,
        })
    }

    fn written(&self) -> WrittenJobs<'_> {
        let (after, most_bits) = self.after.written();
        WrittenJobs {
            after,
            most_bits,
            prove: self.prove,
            ..WrittenJobs::default()
        }
    }

    fn count(&self) -> u64 {
        self.after.count()
    }

    fn bits(&self) -> u32 {
        self.after.bits()
    }

    fn part(&self, _range: Range<u64>, integers: Vec<HexInteger>) -> Self {
        Self {
            after: integers.into(),
            ..*self
        }
    }

    fn proves(&self) -> bool {
        self.prove
    }

    fn answer_bytes(&self) -> u64 {
        let value = u64::from(self.bits()) / 4 + 30;
        if self.prove {
            value + certificate_bytes(self.bits())
        } else {
            value
        }
    }

    fn has_integers(&self) -> bool {
        true
    }

    fn expected_seconds(&self, kernel: Option<Kernel>) -> f64 {
        estimate::seconds(Form::Prime, self.bits().max(2), kernel)
    }

    fn describe(&self) -> String {
        format!("next prime{}", plural(self.count()))
    }

    /// The number must be prime and above the start. Whether a smaller prime lies between them is
    /// not checked: that would repeat the search.
    fn check(&self, finding: &Finding<'_>) -> Result<Claims, String> {
        let Finding::Next { after, value } = finding else {
            return Err("the value is missing".to_owned());
        };
        if value <= after {
            return Err("it is not above the start".to_owned());
        }
        let value = integer(&Finding::Integer(value))?;
        Ok(Claims::primes([value]))
    }
}
