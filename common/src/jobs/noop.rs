use std::ops::Range;

use primepool_engine::Kernel;

use super::{Claims, Finding, JobFields, Jobs, MissingField, WrittenJobs, jobs_trait::plural};
use crate::wire::HexInteger;

/// Jobs without work, to measure the cost of dispatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoopJobs {
    /// Number of jobs.
    pub count: u64,
}

impl Jobs for NoopJobs {
    fn read(fields: JobFields) -> Result<Self, MissingField> {
        let count = fields.count()?;
        Ok(Self { count })
    }

    fn written(&self) -> WrittenJobs<'_> {
        WrittenJobs {
            count: Some(self.count),
            ..WrittenJobs::default()
        }
    }

    fn count(&self) -> u64 {
        self.count
    }

    fn bits(&self) -> u32 {
        0
    }

    fn part(&self, range: Range<u64>, _integers: Vec<HexInteger>) -> Self {
        Self {
            count: range.end - range.start,
        }
    }

    /// The cost of the messages of one job.
    fn expected_seconds(&self, _kernel: Option<Kernel>) -> f64 {
        20e-6
    }

    fn describe(&self) -> String {
        format!("empty job{}", plural(self.count))
    }

    fn check(&self, finding: &Finding<'_>) -> Result<Claims, String> {
        match finding {
            Finding::Nothing => Ok(Claims::default()),
            _ => Err("an empty job has no value".to_owned()),
        }
    }
}
