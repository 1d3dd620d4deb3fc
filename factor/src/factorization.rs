//! What a factorization gives.

use rug::Integer;
use rug::ops::Pow;

/// The prime factors of an integer, as far as they were found.
///
/// The number is (−1 if `negative`) · Π prime^exponent · Π value^exponent. That was checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Factorization {
    /// Whether the number is below 0.
    pub negative: bool,
    /// The prime factors, ascending, each once.
    pub factors: Vec<Factor>,
    /// What was not taken apart, ascending; empty if the factorization is complete. None is
    /// divisible by one of `factors`.
    pub composites: Vec<Composite>,
}

/// A prime factor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Factor {
    /// The prime.
    pub prime: Integer,
    /// How often it divides the number.
    pub exponent: u32,
    /// Whether it is proven to be prime: below 2^64. Above, it is a probable prime; see
    /// [`is_probable_prime`](primepool_engine::primality::is_probable_prime).
    pub proven: bool,
}

/// A divisor that was not taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Composite {
    /// The divisor, above 1.
    pub value: Integer,
    /// How often it divides the number.
    pub exponent: u32,
    /// Why it was left.
    pub reason: Reason,
}

/// Why a composite was not taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The computation was cancelled while it was at work on this composite, or before.
    Cancelled,
    /// The computation was cancelled before it was known whether this is a composite or a prime.
    Untested,
    /// It is larger than what the sieve takes or was allowed to ([`Limits::sieve_bits`]), and
    /// curves have found nothing.
    TooLarge,
    /// The sieve gave up, and curves have found nothing. That is a fault, and no property of the
    /// number.
    SieveFailed,
}

impl Reason {
    /// A short name, stable.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Untested => "untested",
            Self::TooLarge => "too-large",
            Self::SieveFailed => "sieve-failed",
        }
    }
}

impl Factorization {
    /// Whether all prime factors are known.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.composites.is_empty()
    }

    /// Whether it is incomplete because the computation was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.composites
            .iter()
            .any(|left| matches!(left.reason, Reason::Cancelled | Reason::Untested))
    }

    /// The number: sign, factors and composites multiplied.
    #[must_use]
    pub fn product(&self) -> Integer {
        let factors = self.factors.iter().map(|f| (&f.prime, f.exponent));
        let composites = self.composites.iter().map(|c| (&c.value, c.exponent));
        let mut product = Integer::from(if self.negative { -1 } else { 1 });
        for (value, exponent) in factors.chain(composites) {
            product *= Integer::from(value.pow(exponent));
        }
        product
    }
}
