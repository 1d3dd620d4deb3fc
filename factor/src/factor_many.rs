//! Factors many numbers side by side: curves with a different number in each lane.
//!
//! Numbers of 64 bits stay machine words throughout. Composites are processed in classes of size,
//! from the largest on, so that a divisor split off a number joins the class of its own size.

use std::collections::BTreeMap;

use primepool_curves::{Number, WordPrimality};
use primepool_engine::small;
use rug::Integer;

use crate::factorizer::Factorizer;
use crate::trial_division;
use crate::{Cancel, Error, Factor, Factorization, Limits, Progress, Stage, rho};

/// Largest size in bits of a number that is worth factoring side by side with others.
pub const MANY_BITS: u32 = 120;

/// Largest size in bits of the composites of each class, and the bound of their curves. Measured on
/// one core of an Intel Xeon (Sapphire Rapids); a bound that is 30 % larger or smaller costs some
/// percent.
const CLASSES: [(u32, u32); 11] = [
    (40, 30),
    (48, 50),
    (56, 100),
    (64, 180),
    (72, 330),
    (80, 600),
    (88, 1_100),
    (96, 2_000),
    (104, 3_200),
    (112, 5_000),
    (MANY_BITS, 9_000),
];

/// The bound of curves for composites of this many bits, up to [`MANY_BITS`].
pub(crate) fn curve_bound(bits: u32) -> u32 {
    let class = CLASSES.iter().find(|&&(most, _)| bits <= most);
    class.unwrap_or(&CLASSES[CLASSES.len() - 1]).1
}

/// Most curves on one composite. About twenty find a factor of half the bits, so hardly any
/// composite is left.
pub(crate) const MOST_CURVES: u32 = 200;

/// Composites below this are split by rho: curves would find both of two small factors at once.
pub(crate) const CURVES_FROM: u64 = 1 << 32;

/// The numbers that are factored side by side: enough to keep the lanes full, and few enough for
/// the processor's cache.
const AT_A_TIME: usize = 4096;

/// Numbers above 64 bits are divided by the primes below this.
const TRIAL_BOUND: u32 = 1 << 12;

/// Odd primes for the trial division of words.
const TRIAL_PRIMES: [u64; 53] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
    101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167, 173, 179, 181, 191, 193,
    197, 199, 211, 223, 227, 229, 233, 239, 241, 251,
];

/// The square of the least odd prime not in [`TRIAL_PRIMES`].
const PRIME_BELOW: u64 = 257 * 257;

/// Constants of the divisibility test for each trial prime: its inverse modulo 2^64, and the
/// greatest quotient (Granlund & Montgomery, *Division by invariant integers using multiplication*,
/// 1994).
const DIVISORS: [(u64, u64); TRIAL_PRIMES.len()] = {
    let mut divisors = [(0, 0); TRIAL_PRIMES.len()];
    let mut i = 0;
    while i < divisors.len() {
        divisors[i] = (small::inverse(TRIAL_PRIMES[i]), u64::MAX / TRIAL_PRIMES[i]);
        i += 1;
    }
    divisors
};

/// The prime factors and composite divisors of all numbers, each with the index of its number.
#[derive(Default)]
struct Numbers {
    /// Prime factors found.
    small_primes: Vec<(usize, u64)>,
    large_primes: Vec<(usize, Integer)>,
    /// Composites that are still to be split, by class.
    words: [Vec<(usize, u64)>; CLASSES.len()],
    large: [Vec<(usize, Integer)>; CLASSES.len()],
    tiny: Vec<(usize, u64)>,
    /// Words not yet tested for primality.
    untested: Vec<(usize, u64)>,
}

impl Numbers {
    /// Adds a divisor without prime factors in [`TRIAL_PRIMES`].
    fn add_word(&mut self, place: usize, n: u64) {
        if n == 1 {
        } else if n < PRIME_BELOW {
            self.small_primes.push((place, n));
        } else {
            self.untested.push((place, n));
        }
    }

    /// Tests the untested words and moves each to the primes or to a class of composites.
    fn test_words(&mut self, primality: &mut WordPrimality) {
        let untested = std::mem::take(&mut self.untested);
        let words: Vec<u64> = untested.iter().map(|&(_, n)| n).collect();
        for ((place, n), is_prime) in untested.into_iter().zip(primality.are_prime(&words)) {
            if is_prime {
                self.small_primes.push((place, n));
            } else if n < CURVES_FROM {
                self.tiny.push((place, n));
            } else {
                self.words[class(bits_of(n))].push((place, n));
            }
        }
    }
}

fn bits_of(n: u64) -> u32 {
    u64::BITS - n.leading_zeros()
}

fn class(bits: u32) -> usize {
    CLASSES.partition_point(|&(most, _)| most < bits)
}

impl Factorizer {
    /// Factors integers of up to [`MANY_BITS`] bits side by side, and larger ones one after the
    /// other. `found` receives the index and the factorization of each. The factorizations depend
    /// on the numbers and the limits alone.
    ///
    /// `observer` receives the stages, anew for every few thousand numbers. The number of a stage is
    /// the first of the numbers that the stage works on.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`], within about 100 ms, and [`Error::Randomness`]; numbers that were not
    /// passed to `found` before have no result then. `found` also receives the errors of single
    /// numbers, which are those of [`Factorizer::factor`].
    pub fn factor_many(
        &mut self,
        numbers: &[Integer],
        limits: &Limits,
        cancel: &Cancel,
        observer: &mut dyn FnMut(Progress<'_>),
        found: &mut dyn FnMut(usize, Result<Factorization, Error>),
    ) -> Result<(), Error> {
        for (i, some) in numbers.chunks(AT_A_TIME).enumerate() {
            let found = &mut |place, result| found(i * AT_A_TIME + place, result);
            self.factor_some(some, limits, cancel, observer, found)?;
        }
        Ok(())
    }

    /// [`Factorizer::factor_many`] for at most [`AT_A_TIME`] numbers.
    fn factor_some(
        &mut self,
        numbers: &[Integer],
        limits: &Limits,
        cancel: &Cancel,
        observer: &mut dyn FnMut(Progress<'_>),
        found: &mut dyn FnMut(usize, Result<Factorization, Error>),
    ) -> Result<(), Error> {
        let mut parts = Numbers::default();
        let is_small = |n: &Integer| !n.is_zero() && n.significant_bits() <= MANY_BITS;
        if let Some(first) = numbers.iter().find(|n| is_small(n)) {
            let stage = Stage::TrialDivision;
            (observer)(Progress::Begun {
                stage,
                number: first,
            });
            let divided = self.divide_many(numbers, &mut parts, cancel);
            let done = *divided.as_ref().unwrap_or(&0);
            parts.test_words(&mut self.primality);
            (observer)(Progress::Ended { stage, done });
            divided?;
        }
        let mut left = Vec::new();
        for class in (0..CLASSES.len()).rev() {
            self.split_class(class, &mut parts, &mut left, cancel, observer)?;
        }
        while let Some(&(_, first)) = parts.tiny.first() {
            split_tiny(&first.into(), &mut parts, cancel, observer)?;
            parts.test_words(&mut self.primality);
        }
        let mut all: Vec<Factorization> = Vec::with_capacity(numbers.len());
        all.extend(numbers.iter().map(|n| Factorization {
            negative: n.is_negative(),
            ..Factorization::default()
        }));
        for (place, prime) in parts.small_primes {
            add(&mut all[place], prime.into(), true);
        }
        for (place, prime) in parts.large_primes {
            add(&mut all[place], prime, false);
        }
        // Curves hardly ever leave a composite.
        let mut failed = BTreeMap::new();
        for (place, composite) in left {
            let rest = match self.factor(&composite, limits, cancel, observer) {
                Ok(rest) if rest.is_cancelled() => return Err(Error::Cancelled),
                Err(error @ (Error::Cancelled | Error::Randomness(_))) => return Err(error),
                Err(error) => {
                    failed.insert(place, error);
                    continue;
                }
                Ok(rest) => rest,
            };
            all[place].composites.extend(rest.composites);
            for factor in rest.factors {
                for _ in 0..factor.exponent {
                    add(&mut all[place], factor.prime.clone(), factor.proven);
                }
            }
        }
        for ((place, n), mut factorization) in numbers.iter().enumerate().zip(all) {
            if !is_small(n) {
                match self.factor(n, limits, cancel, observer) {
                    Ok(found) if found.is_cancelled() => return Err(Error::Cancelled),
                    Err(error @ (Error::Cancelled | Error::Randomness(_))) => return Err(error),
                    result => found(place, result),
                }
                continue;
            }
            factorization
                .factors
                .sort_unstable_by(|a, b| a.prime.cmp(&b.prime));
            found(
                place,
                if let Some(error) = failed.remove(&place) {
                    Err(error)
                } else if is_product(&factorization, n) {
                    Ok(factorization)
                } else {
                    Err(Error::fault(format!(
                        "the factors of {n} do not multiply to it"
                    )))
                },
            );
        }
        Ok(())
    }

    /// Divides the small ones of the numbers by small primes, and puts each cofactor into its
    /// class. Returns the number of trial divisions.
    fn divide_many(
        &mut self,
        numbers: &[Integer],
        parts: &mut Numbers,
        cancel: &Cancel,
    ) -> Result<u64, Error> {
        let mut done = 0;
        for (place, n) in numbers.iter().enumerate() {
            if place.is_multiple_of(1024) {
                cancel.check()?;
            }
            if n.is_zero() || n.significant_bits() > MANY_BITS {
                continue;
            }
            if n.significant_bits() <= u64::BITS {
                let word = Integer::from(n.abs_ref()).to_u64().unwrap_or(1);
                let rest = divide_word(word, &mut |prime| parts.small_primes.push((place, prime)));
                done += TRIAL_PRIMES.len() as u64;
                parts.add_word(place, rest);
                continue;
            }
            let mut rest = Integer::from(n.abs_ref());
            let mut add = |prime: u32, exponent| {
                for _ in 0..exponent {
                    parts.small_primes.push((place, prime.into()));
                }
            };
            let primes = &mut self.primes;
            done += trial_division::divide_out(&mut rest, TRIAL_BOUND, primes, cancel, &mut add)?;
            self.add_part(place, rest, parts, cancel)?;
        }
        Ok(done)
    }

    /// Adds a divisor without small prime factors.
    fn add_part(
        &mut self,
        place: usize,
        n: Integer,
        parts: &mut Numbers,
        cancel: &Cancel,
    ) -> Result<(), Error> {
        if let Some(word) = n.to_u64() {
            parts.add_word(place, word);
        } else if self.tester.is_probable_prime(&n, cancel)? {
            parts.large_primes.push((place, n));
        } else {
            parts.large[class(n.significant_bits())].push((place, n));
        }
        Ok(())
    }

    /// Splits the composites of a class, including divisors that fall into the same class.
    /// Composites that resist are added to `left`.
    fn split_class(
        &mut self,
        class: usize,
        parts: &mut Numbers,
        left: &mut Vec<(usize, Integer)>,
        cancel: &Cancel,
        observer: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), Error> {
        while !parts.large[class].is_empty() {
            let composites = std::mem::take(&mut parts.large[class]);
            for (place, n, divisor) in self.split_all(class, composites, cancel, observer)? {
                match divisor {
                    Some(divisor) => {
                        let cofactor = Integer::from(n.div_exact_ref(&divisor));
                        self.add_part(place, divisor, parts, cancel)?;
                        self.add_part(place, cofactor, parts, cancel)?;
                    }
                    None => left.push((place, n)),
                }
            }
            parts.test_words(&mut self.primality);
        }
        while !parts.words[class].is_empty() {
            let composites = std::mem::take(&mut parts.words[class]);
            for (place, n, divisor) in self.split_all(class, composites, cancel, observer)? {
                match divisor {
                    Some(divisor) => {
                        parts.add_word(place, divisor);
                        parts.add_word(place, n / divisor);
                    }
                    None => left.push((place, n.into())),
                }
            }
            parts.test_words(&mut self.primality);
        }
        Ok(())
    }

    /// Runs curves on the composites of a class and returns each with a divisor, if one was found.
    fn split_all<N: Number + Clone>(
        &mut self,
        class: usize,
        composites: Vec<(usize, N)>,
        cancel: &Cancel,
        observer: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Vec<(usize, N, Option<N>)>, Error>
    where
        Integer: From<N>,
    {
        let (bits, b1) = CLASSES[class];
        let stage = Stage::Ecm { b1 };
        let (places, composites): (Vec<_>, Vec<_>) = composites.into_iter().unzip();
        if let Some(first) = composites.first().cloned() {
            let number = &Integer::from(first);
            (observer)(Progress::Begun { stage, number });
        }
        let mut divisors = vec![None; composites.len()];
        let found = &mut |i, divisor| divisors[i] = Some(divisor);
        let curves = self
            .ecm
            .split_many(&composites, bits, b1, MOST_CURVES, cancel, found);
        let done = *curves.as_ref().unwrap_or(&0);
        (observer)(Progress::Ended { stage, done });
        curves?;
        let composites = places.into_iter().zip(composites).zip(divisors);
        let split = composites.map(|((place, n), divisor)| (place, n, divisor));
        Ok(split.collect())
    }
}

/// Divides the small primes out of a word, which is not 0, passes them to `found`, and returns the
/// rest.
fn divide_word(mut n: u64, found: &mut dyn FnMut(u64)) -> u64 {
    let twos = n.trailing_zeros();
    n >>= twos;
    (0..twos).for_each(|_| found(2));
    // Test all primes before dividing: nearly all of the tests fail.
    let mut hits = 0_u64;
    for (i, &(inverse, most)) in DIVISORS.iter().enumerate() {
        hits |= u64::from(n.wrapping_mul(inverse) <= most) << i;
    }
    while hits != 0 {
        let i = hits.trailing_zeros() as usize;
        hits &= hits - 1;
        let (inverse, most) = DIVISORS[i];
        while n.wrapping_mul(inverse) <= most {
            n = n.wrapping_mul(inverse);
            found(TRIAL_PRIMES[i]);
        }
    }
    n
}

/// Splits composites of 32 bits by rho.
fn split_tiny(
    first: &Integer,
    parts: &mut Numbers,
    cancel: &Cancel,
    observer: &mut dyn FnMut(Progress<'_>),
) -> Result<(), Error> {
    let stage = Stage::Rho;
    (observer)(Progress::Begun {
        stage,
        number: first,
    });
    let mut done = 0;
    for (place, n) in std::mem::take(&mut parts.tiny) {
        // Rho cannot split the square of a prime.
        let root = n.isqrt();
        let divisor = if root * root == n {
            root
        } else {
            let (divisor, iterations) = rho::split_word(n, cancel)?;
            done += iterations;
            divisor
        };
        parts.add_word(place, divisor);
        parts.add_word(place, n / divisor);
    }
    (observer)(Progress::Ended { stage, done });
    Ok(())
}

/// Whether the product of the factors is the number. Words are multiplied without the arithmetic of
/// large integers.
fn is_product(factorization: &Factorization, n: &Integer) -> bool {
    let factors = factorization.factors.iter();
    let word = factors.rev().try_fold(1_u64, |product, factor| {
        let power = factor.prime.to_u64()?.checked_pow(factor.exponent)?;
        product.checked_mul(power)
    });
    match word {
        Some(word) if factorization.composites.is_empty() => *n.as_abs() == word,
        _ => factorization.product() == *n,
    }
}

/// Adds a prime factor, or increments its exponent.
fn add(factorization: &mut Factorization, prime: Integer, proven: bool) {
    let mut factors = factorization.factors.iter_mut();
    match factors.find(|factor| factor.prime == prime) {
        Some(factor) => factor.exponent += 1,
        None => factorization.factors.push(Factor {
            prime,
            exponent: 1,
            proven,
        }),
    }
}
