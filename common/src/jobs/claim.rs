//! What a consumer says that it found, and what has to be tested before it counts.

use primepool_engine::Integer;

/// What a consumer found for one job.
#[derive(Debug, Clone)]
pub enum Finding<'a> {
    /// No value.
    Nothing,
    /// One integer.
    Integer(&'a Integer),
    /// The prime that follows an integer.
    Next {
        /// The integer.
        after: &'a Integer,
        /// The prime.
        value: &'a Integer,
    },
    /// A factorisation of `number`.
    Factors {
        /// The integer that was taken apart.
        number: &'a Integer,
        /// Its prime factors with their exponents.
        factors: Vec<(&'a Integer, u32)>,
        /// Composites that are left, with their exponents.
        composites: Vec<(&'a Integer, u32)>,
        /// Whether the composites were left for the whole pool to take apart.
        is_left_to_pool: bool,
    },
}

/// What a finding claims besides its form: the finding is right if all of this holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    /// Integers of more than 64 bits that must be prime.
    pub primes: Vec<Integer>,
    /// Smaller ones that must be prime.
    pub small_primes: Vec<u64>,
    /// Integers that must be composite.
    pub composites: Vec<Integer>,
}

impl Claims {
    /// The claim that these integers are prime.
    pub(super) fn primes<'a>(primes: impl IntoIterator<Item = &'a Integer>) -> Self {
        let mut claims = Self::default();
        for prime in primes {
            match prime.to_u64() {
                Some(small) => claims.small_primes.push(small),
                None => claims.primes.push(prime.clone()),
            }
        }
        claims
    }
}

/// The integer of a finding that must be one, with exactly `bits` bits.
pub(super) fn integer_of_bits<'a>(finding: &Finding<'a>, bits: u32) -> Result<&'a Integer, String> {
    let value = integer(finding)?;
    if value.significant_bits() != bits {
        return Err(format!(
            "it has {} bits, not {bits}",
            value.significant_bits()
        ));
    }
    Ok(value)
}

/// The integer of a finding that must be one, and not negative.
pub(super) fn integer<'a>(finding: &Finding<'a>) -> Result<&'a Integer, String> {
    match finding {
        Finding::Integer(value) if value.is_negative() => Err("it is negative".to_owned()),
        Finding::Integer(value) => Ok(value),
        Finding::Nothing | Finding::Next { .. } | Finding::Factors { .. } => {
            Err("the value is missing".to_owned())
        }
    }
}
