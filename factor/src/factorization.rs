//! The result of a factorization.

use rug::Integer;
use rug::ops::Pow;

/// The prime factors of an integer that were found, and the divisors that were not factored.
///
/// The number is (−1 if `negative`) · Π prime^exponent · Π value^exponent; this has been checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Factorization {
    /// Whether the number is below 0.
    pub negative: bool,
    /// The prime factors, ascending, each once.
    pub factors: Vec<Factor>,
    /// The divisors that were not factored, ascending; empty if the factorization is complete. None
    /// of them is divisible by one of `factors`.
    pub composites: Vec<Composite>,
}

/// A prime factor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Factor {
    /// The prime.
    pub prime: Integer,
    /// How often it divides the number.
    pub exponent: u32,
    /// Whether it is proven to be prime, as every prime below 2^64 is. A larger one is a probable
    /// prime; see
    /// [`is_probable_prime`](primepool_engine::primality::is_probable_prime).
    pub proven: bool,
}

/// A divisor that was not factored: a composite, or a number not yet tested for primality.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Composite {
    /// The divisor, above 1.
    pub value: Integer,
    /// How often it divides the number.
    pub exponent: u32,
    /// Why it was not factored.
    pub reason: Reason,
}

/// Why a divisor was not factored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The computation was cancelled while it worked on this composite, or before.
    Cancelled,
    /// The computation was cancelled before it was known whether this is a composite or a prime.
    Untested,
    /// It is larger than the sieve accepts or than
    /// [`Limits::sieve_bits`](crate::Limits::sieve_bits) allows, and curves have found nothing.
    TooLarge,
    /// The sieve gave up, and curves have found nothing. This is a fault of the program, not a
    /// property of the number.
    SieveFailed,
}

impl Reason {
    /// A short and stable name.
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

    /// The number: the product of its sign, factors and composites.
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
