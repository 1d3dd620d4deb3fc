//! The finding of a consumer for a job, and the claims to test before it counts.

use primepool_engine::Integer;

/// The value that a consumer found for one job.
#[derive(Debug, Clone)]
pub enum Finding<'a> {
    /// No value: the job asked for none.
    Nothing,
    /// One integer.
    Integer(&'a Integer),
    /// The prime that follows an integer.
    Next {
        /// The integer that the search started above.
        after: &'a Integer,
        /// The prime that was found.
        value: &'a Integer,
    },
    /// A factorisation of `number`.
    Factors {
        /// The integer that was factored.
        number: &'a Integer,
        /// Its prime factors with their exponents.
        factors: Vec<(&'a Integer, u32)>,
        /// Composites that remain, with their exponents.
        composites: Vec<(&'a Integer, u32)>,
        /// Whether the composites were left for the whole pool to factor.
        is_left_to_pool: bool,
    },
}

/// The claims of a finding beyond its form: the finding is correct if all of them hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    /// Integers of more than 64 bits that must be prime.
    pub primes: Vec<Integer>,
    /// Integers of at most 64 bits that must be prime.
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

/// The integer of a finding that must consist of one integer with exactly `bits` bits.
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

/// The integer of a finding that must consist of one integer that is not negative.
pub(super) fn integer<'a>(finding: &Finding<'a>) -> Result<&'a Integer, String> {
    match finding {
        Finding::Integer(value) if value.is_negative() => Err("it is negative".to_owned()),
        Finding::Integer(value) => Ok(value),
        Finding::Nothing | Finding::Next { .. } | Finding::Factors { .. } => {
            Err("the value is missing".to_owned())
        }
    }
}
