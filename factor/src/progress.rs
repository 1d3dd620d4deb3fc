//! Progress reports of a factorization to its observer.

use rug::Integer;

/// A stage of a factorization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Trial division; counts primes.
    TrialDivision,
    /// Test for perfect powers; counts exponents.
    PerfectPower,
    /// Fermat's method, for close factors; counts squares.
    Fermat,
    /// Pollard's rho method; counts iterations.
    Rho,
    /// Pollard's p − 1 method and Williams' p + 1 method in one; counts runs.
    PMinus1 {
        /// Bound of the first stage of the method.
        b1: u32,
    },
    /// The elliptic-curve method; counts curves.
    Ecm {
        /// Bound of the first stage of the method.
        b1: u32,
    },
    /// The quadratic sieve; counts relations.
    Sieve,
}

impl Stage {
    /// A short and stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TrialDivision => "trial-division",
            Self::PerfectPower => "perfect-power",
            Self::Fermat => "fermat",
            Self::Rho => "rho",
            Self::PMinus1 { .. } => "p-1",
            Self::Ecm { .. } => "ecm",
            Self::Sieve => "sieve",
        }
    }

    /// The unit that the stage counts in.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Self::TrialDivision => "primes",
            Self::PerfectPower => "exponents",
            Self::Fermat => "squares",
            Self::Rho => "iterations",
            Self::PMinus1 { .. } => "runs",
            Self::Ecm { .. } => "curves",
            Self::Sieve => "relations",
        }
    }
}

/// A progress report of a factorization to its observer.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// A stage begins on a number.
    Begun {
        /// The stage that begins.
        stage: Stage,
        /// The number that the stage is to factor.
        number: &'a Integer,
    },
    /// Progress of the stage that began last; only curves and the sieve report it.
    Advanced {
        /// The stage in progress.
        stage: Stage,
        /// Work done so far, in the stage's unit.
        done: u64,
        /// The whole work in the same unit: for curves an upper bound, for the sieve about the
        /// number of relations needed.
        expected: u64,
    },
    /// The stage that began last has ended: with or without a result, or cancelled.
    Ended {
        /// The stage that has ended.
        stage: Stage,
        /// Work done, in the stage's unit.
        done: u64,
    },
    /// A prime factor was found. Its exponent is final.
    Found {
        /// The prime factor.
        prime: &'a Integer,
        /// How often it divides the number.
        exponent: u32,
    },
}
