use std::ops::Range;

use primepool_engine::{Integer, Kernel};
use primepool_factor::MANY_BITS;

use super::{
    Claims, Finding, Integers, JobFields, Jobs, MissingField, Share, WrittenJobs,
    jobs_trait::{certificate_bytes, plural},
};
use crate::wire::HexInteger;

/// Jobs that factor integers: for each integer, its prime factors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactorJobs {
    /// The integers, one per job.
    pub numbers: Integers,
    /// Composites with more bits than this are left to the producer, which distributes them over
    /// several workers.
    pub leave_above: Option<u32>,
    /// The share of the work to do, for a unit that covers only part of the work on a single
    /// integer.
    pub share: Option<Share>,
    /// Whether to certify each prime factor, as far as a certificate can be built.
    pub prove: bool,
}

impl Jobs for FactorJobs {
    fn read(fields: JobFields) -> Result<Self, MissingField> {
        Ok(Self {
            numbers: Integers::read(fields.numbers, fields.count, fields.most_bits, "numbers")?,
            leave_above: fields.leave_above,
            share: fields.share,
            prove: fields.prove,
        })
    }

    fn written(&self) -> WrittenJobs<'_> {
        let (numbers, most_bits) = self.numbers.written();
        WrittenJobs {
            numbers,
            most_bits,
            leave_above: self.leave_above,
            share: self.share,
            prove: self.prove,
            ..WrittenJobs::default()
        }
    }

    fn count(&self) -> u64 {
        self.numbers.count()
    }

    fn bits(&self) -> u32 {
        self.numbers.bits()
    }

    fn part(&self, _range: Range<u64>, integers: Vec<HexInteger>) -> Self {
        Self {
            numbers: integers.into(),
            ..*self
        }
    }

    fn has_integers(&self) -> bool {
        true
    }

    fn validate(&self) -> Result<(), String> {
        let Some(share) = self.share else {
            return Ok(());
        };
        if self.count() != 1 {
            return Err(format!(
                "a share of the work on {} integers (1 is allowed)",
                self.count()
            ));
        }
        share.validate(self.bits())
    }

    fn proves(&self) -> bool {
        self.prove
    }

    fn needs_other_build(&self) -> Option<String> {
        self.share.and_then(|share| share.needs_other_build())
    }

    /// The estimate is for a product of two primes of equal size. A composite that is left to the
    /// pool takes this worker no longer than the largest integer that is not left.
    fn expected_seconds(&self, _kernel: Option<Kernel>) -> f64 {
        let bits = self.bits().min(self.leave_above.unwrap_or(u32::MAX));
        primepool_factor::expected_seconds(bits)
    }

    /// With many small factors, the brackets, commas and exponents take more bytes than the digits.
    /// The stages are added; integers that are factored side by side share them.
    fn answer_bytes(&self) -> u64 {
        let bits = self.bits();
        let are_side_by_side = self.count() > 1 && bits <= MANY_BITS;
        let stages = if are_side_by_side { 100 } else { 600 };
        let factors = 2 * u64::from(bits) + stages;
        if self.prove {
            factors + certificate_bytes(bits)
        } else {
            factors
        }
    }

    fn shares_time(&self, place: u64) -> bool {
        let is_small = |n: &HexInteger| n.0.significant_bits() <= MANY_BITS;
        let number = self.numbers.listed().get(place as usize);
        self.share.is_none() && self.count() > 1 && number.is_some_and(is_small)
    }

    fn describe(&self) -> String {
        format!("factorisation{}", plural(self.count()))
    }

    fn check(&self, finding: &Finding<'_>) -> Result<Claims, String> {
        let Finding::Factors {
            number,
            factors,
            composites,
            is_left_to_pool,
        } = finding
        else {
            return Err("the factors are missing".to_owned());
        };
        check_product(number, factors, composites)?;
        let claims = Claims {
            composites: composites.iter().map(|(n, _)| (*n).clone()).collect(),
            ..Claims::primes(factors.iter().map(|(prime, _)| *prime))
        };
        let bits = claims.composites.iter().map(Integer::significant_bits);
        if *is_left_to_pool
            && let Some(bits) = bits.min()
            && bits <= self.leave_above.unwrap_or(u32::MAX)
        {
            return Err(format!("it leaves a composite of {bits} bits"));
        }
        Ok(claims)
    }
}

/// Checks a factorisation, except for primality: each factor is above 1, the factors are in rising
/// order, and their product is the absolute value of the number. The time is bounded by the size of
/// the number, whatever the exponents are.
fn check_product(
    number: &Integer,
    factors: &[(&Integer, u32)],
    composites: &[(&Integer, u32)],
) -> Result<(), String> {
    let is_rising = |powers: &[(&Integer, u32)]| powers.windows(2).all(|two| two[0].0 < two[1].0);
    if !is_rising(factors) || !is_rising(composites) {
        return Err("its factors are not in rising order".to_owned());
    }
    if let Some(product) = word_product(factors, composites)
        && *number.as_abs() == product
    {
        return Ok(());
    }
    let wrong_product = || Err("its factors do not multiply to the number".to_owned());
    let mut left = Integer::from(number.abs_ref());
    for &(factor, exponent) in factors.iter().chain(composites) {
        if *factor <= 1 || exponent == 0 {
            return Err("it has a factor that is none".to_owned());
        }
        for _ in 0..exponent {
            if left == 0 || !left.is_divisible(factor) {
                return wrong_product();
            }
            left.div_exact_mut(factor);
        }
    }
    if left == 1 { Ok(()) } else { wrong_product() }
}

/// The product of the alleged factors, if it has at most 64 bits.
fn word_product(factors: &[(&Integer, u32)], composites: &[(&Integer, u32)]) -> Option<u64> {
    let mut product = 1_u64;
    for (factor, exponent) in factors.iter().chain(composites) {
        let factor = factor.to_u64().filter(|&factor| factor > 1)?;
        let power = factor.checked_pow(*exponent).filter(|_| *exponent > 0)?;
        product = product.checked_mul(power)?;
    }
    Some(product)
}
