//! The choice of the results to verify.

use clap::ValueEnum;

use super::Request;

/// Which results are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Verify {
    /// Every one
    All,
    /// Every one, with 32 bases: finds even a composite chosen by an attacker
    Strict,
    /// One in sixteen, chosen at random
    Sample,
    /// None: only their size is checked
    None,
}

impl Verify {
    /// Whether every result is checked.
    #[must_use]
    pub fn is_complete(self) -> bool {
        matches!(self, Self::All | Self::Strict)
    }

    /// The choice for a run: [`Verify::All`] instead of less, if its consumers rely on a test of
    /// every prime.
    #[must_use]
    pub fn for_run(self, request: &Request) -> Self {
        if request.verified && !self.is_complete() {
            Self::All
        } else {
            self
        }
    }
}

#[cfg(test)]
mod tests {
    use primepool_common::message::{Method, PrimeJobs, Work};

    use super::*;

    #[test]
    fn a_run_that_relies_on_verification_is_verified() {
        let mut request = Request::new(Work::Prime(PrimeJobs {
            bits: 1024,
            count: 1,
            method: Method::Incremental,
        }));
        let all = [Verify::All, Verify::Strict, Verify::Sample, Verify::None];
        assert_eq!(all.map(|verify| verify.for_run(&request)), all);
        request.verified = true;
        assert_eq!(
            all.map(|verify| verify.for_run(&request)),
            [Verify::All, Verify::Strict, Verify::All, Verify::All]
        );
    }
}
