//! What an observer of a factorization is told.

use rug::Integer;

/// A stage of a factorization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Division by small primes; counts these.
    TrialDivision,
    /// Whether it is a perfect power; counts exponents.
    PerfectPower,
    /// Fermat's method, for close factors; counts squares.
    Fermat,
    /// Pollard's rho method; counts iterations.
    Rho,
    /// Pollard's p − 1 method and Williams' p + 1, at once; counts runs.
    PMinus1 {
        /// Bound of the first phase.
        b1: u32,
    },
    /// The elliptic-curve method; counts curves.
    Ecm {
        /// Bound of the first phase.
        b1: u32,
    },
    /// The quadratic sieve; counts relations.
    Sieve,
}

impl Stage {
    /// A short name, stable.
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

    /// What it counts.
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

/// What an observer of a factorization is told.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// A stage begins on a number.
    Begun {
        /// The stage.
        stage: Stage,
        /// What it is to take apart.
        number: &'a Integer,
    },
    /// So much of the stage that began last is done: curves and relations.
    Advanced {
        /// The stage.
        stage: Stage,
        /// In the stage's unit.
        done: u64,
        /// When the stage will end at the latest (curves), or about (relations: those needed).
        expected: u64,
    },
    /// The stage that began last has ended, whether it found something or not, or was cancelled.
    Ended {
        /// The stage.
        stage: Stage,
        /// What it did, in its unit.
        done: u64,
    },
    /// A prime factor is known, with its final exponent.
    Found {
        /// The prime.
        prime: &'a Integer,
        /// How often it divides the number.
        exponent: u32,
    },
}
