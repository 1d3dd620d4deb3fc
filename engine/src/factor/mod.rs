//! Factoring.
//!
//! [`Engine::factor`] takes an integer apart as far as [`Limits`] say, one stage after the other, each on what those before
//! it have left.
//!
//! # Stages
//!
//! | stage | of a composite without smaller factors | finds |
//! |---|---|---|
//! | trial division | any number | primes below 2^16 |
//! | perfect power | all | roots; what comes after does not split powers of primes |
//! | rho | below 2^64, until it is split | everything |
//! | | above, 1,024 iterations up to 96 bits, else 4,096 | half of the primes of 20 to 24 bits |
//! | p − 1, curves | 65 to 91 bits: 15 curves with B1 = 200, 40 with 1,000 | nearly everything |
//! | | from 92 bits on to what the sieve may do: a sixteenth of the time that the sieve would take | see below |
//! | | beyond the sieve, up to [`MAX_CURVE_BITS`]: all levels up to [`Limits::curve_digits`] | factors of so many digits |
//! | quadratic sieve | up to [`Limits::sieve_bits`] | everything |
//!
//! p − 1 and curves before the sieve, as many as fit into a sixteenth of its time, from the smallest bound on:
//!
//! | bits | sieve, s | B1 = 200 | p − 1 to 10^4, B1 = 2,000 | p − 1 to 5.5·10^4, B1 = 11,000 | p − 1 to 2.5·10^5, B1 = 50,000 |
//! |---|---|---|---|---|---|
//! | 128 | 0.024 | 10 | | | |
//! | 160 | 0.17 | 10 | 2 | | |
//! | 192 | 1.3 | 10 | 30 | 2 | |
//! | 224 | 20 | 10 | 30 | 105 | |
//! | 256 | 141 | 10 | 30 | 107 | 153 |
//!
//! The thresholds are measured, on one core of a server, those of curves on an AMD EPYC beside other work: the sieve takes 7 to 13 ms from 66 to 96 bits, a
//! curve with B1 = 1,000 0.1 to 0.4 ms, which finds a factor of 46 bits in some twenty. A sixteenth is what a composite of two factors of
//! equal size loses at most. A random number gains more than that: its chance to have a prime factor between 2^a and
//! 2^b is about 1 − a/b.
//!
//! For whoever has several workers for one composite: [`spread`].
//!
//! # Sources
//!
//! Pollard, *Theorems on factorization and primality testing*, 1974 (p − 1), and *A Monte Carlo method for factorization*, 1975
//! (rho); Brent, *An improved Monte Carlo factorization algorithm*, 1980; Lenstra, *Factoring integers with elliptic curves*, 1987;
//! Pomerance, *The quadratic sieve factoring algorithm*, 1985; Silverman, *The multiple polynomial quadratic sieve*, 1987; Contini,
//! *Factoring integers with the self-initializing quadratic sieve*, 1997. Trial division, powers and rho are here, p − 1 and curves in
//! the crate `ecm`, the sieve in the crate `rusqsieve`.
//!
//! # What is proven
//!
//! That the factors multiply to the number is checked before it is returned. A factor below 2^64 is proven to be prime. A
//! larger one is a probable prime by the same test as everywhere, [`is_probable_prime`](crate::primality::is_probable_prime): no composite
//! is known that passes. What the crates return is never taken on trust: a divisor has to divide, and each is tested and taken
//! apart on.
//!
//! # Cancellation
//!
//! Every stage looks at the flag. The sieve does it between polynomial families (some 60 ms at 256 bits, 0.2 s at 288, 2 s at
//! 320), but not during its linear algebra, a small part of its time at the end. A sieve that is cancelled leaves its composite
//! whole, also where it had split it into smaller composites.

mod ecm;
mod fermat;
mod power;
mod rho;
mod sieve;
mod small;
pub mod spread;

use std::collections::BTreeMap;
use std::mem;

use rug::Integer;
use rug::ops::Pow;

pub(crate) use self::small::Primes;
use crate::primality::Tester;
use crate::{Cancel, Engine, Error, MAX_BITS};

/// The greatest number of bits of a composite that the sieve takes.
pub const MAX_SIEVE_BITS: u32 = 400;

/// The greatest number of bits of a composite that p − 1 and curves are tried on: beyond, they would not notice a cancellation in
/// time, and have little hope.
pub const MAX_CURVE_BITS: u32 = 2048;

/// The prime factors of an integer, as far as they were found.
///
/// The number is (−1 if `negative`) · Π prime^exponent · Π value^exponent. That was checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Factorization {
    /// Whether the number is below 0.
    pub negative: bool,
    /// The prime factors, ascending, each once.
    pub factors: Vec<Factor>,
    /// What was not taken apart, ascending; empty if the factorization is complete. None is divisible by one of `factors`.
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
    /// [`is_probable_prime`](crate::primality::is_probable_prime).
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
    /// It is larger than what the sieve takes or was allowed to ([`Limits::sieve_bits`]), and curves have found nothing.
    TooLarge,
    /// The sieve gave up, and curves have found nothing. That is a fault, and no property of the number.
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

/// How far a factorization goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// The sieve is put to composites of at most so many bits; 0 for none. At most [`MAX_SIEVE_BITS`] count.
    pub sieve_bits: u32,
    /// On composites that the sieve is not put to, curves go on until a prime factor of so many decimal digits would have been
    /// found with probability 1 − 1/e: 10, 15, 20, 25, 30 or 35; 0 for no curves.
    pub curve_digits: u32,
}

impl Limits {
    /// For who leaves composites above so many bits to several workers ([`spread`]): what one worker should try first.
    #[must_use]
    pub fn before_spreading(sieve_bits: u32) -> Self {
        Self {
            sieve_bits,
            curve_digits: spread::TRIED_DIGITS,
        }
    }
}

impl Default for Limits {
    /// Everything up to [`MAX_SIEVE_BITS`], and factors of 30 digits of what is larger.
    fn default() -> Self {
        Self {
            sieve_bits: MAX_SIEVE_BITS,
            curve_digits: 30,
        }
    }
}

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
    /// Pollard's p − 1 method; counts runs.
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

impl Engine {
    /// Factors an integer.
    ///
    /// `observer` is told of stages, so that the caller can time them, count what they cost and show how far they are. What is
    /// found depends on the number and the limits alone.
    ///
    /// A set [`Cancel`] flag ends the work, within about 100 ms for numbers of up to 256 bits (see the module's documentation
    /// for the exception), and is no error: what was found is in the result, with the rest as [`Factorization::composites`].
    ///
    /// # Errors
    ///
    /// - [`Error::Invalid`] for 0, of which every prime is a divisor, and for more than [`MAX_BITS`] bits;
    /// - [`Error::Randomness`] if the operating system's generator failed;
    /// - [`Error::Fault`] if a result turned out to be wrong.
    pub fn factor(
        &mut self,
        n: &Integer,
        limits: &Limits,
        cancel: &Cancel,
        observer: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Factorization, Error> {
        if n.is_zero() {
            return Err(Error::invalid("0 has no factorization"));
        }
        if n.significant_bits() > MAX_BITS {
            return Err(Error::invalid(format!(
                "the number has {} bits, more than {MAX_BITS}",
                n.significant_bits()
            )));
        }
        let (tester, primes) = self.for_factoring();
        let mut search = Search {
            limits,
            cancel,
            observer,
            tester,
            pending: Vec::new(),
            factors: BTreeMap::new(),
            composites: Vec::new(),
        };
        search.run(n, primes)?;
        let found = search.into_factorization(n.is_negative());
        if found.product() != *n {
            return Err(Error::fault(format!(
                "the factors of {n} do not multiply to it"
            )));
        }
        Ok(found)
    }
}

/// A divisor that is still to be taken apart.
struct Part {
    value: Integer,
    exponent: u32,
    /// Where curves go on: those before have been tried.
    next: Curves,
}

/// A place in the sequence of curves.
#[derive(Clone, Copy, Default)]
struct Curves {
    level: usize,
    done: u32,
}

/// What was found out about a part.
enum Split {
    /// It is the product of these.
    Into(Vec<Integer>),
    /// It is this to the power.
    Power(Integer, u32),
    /// It stays.
    No(Reason),
}

struct Search<'a> {
    limits: &'a Limits,
    cancel: &'a Cancel,
    observer: &'a mut dyn FnMut(Progress<'_>),
    tester: &'a mut Tester,
    pending: Vec<Part>,
    factors: BTreeMap<Integer, u32>,
    composites: Vec<Composite>,
}

impl Search<'_> {
    fn run(&mut self, n: &Integer, primes: &mut Primes) -> Result<(), Error> {
        let mut rest = Integer::from(n.abs_ref());
        match self.divide(&mut rest, primes) {
            Ok(()) => self.push(rest, 1, Curves::default()),
            Err(Error::Cancelled) => {
                self.push(rest, 1, Curves::default());
                return self.give_up();
            }
            Err(error) => return Err(error),
        }
        while let Some(part) = self.pending.pop() {
            match self.take_apart(&part) {
                Ok(()) => {}
                Err(Error::Cancelled) => {
                    self.pending.push(part);
                    return self.give_up();
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Trial division.
    fn divide(&mut self, rest: &mut Integer, primes: &mut Primes) -> Result<(), Error> {
        let mut found = Vec::new();
        let divided = self.stage(Stage::TrialDivision, &rest.clone(), |search, done| {
            let mut add = |prime: u32, exponent| found.push((Integer::from(prime), exponent));
            *done = small::divide_out(rest, small::BOUND, primes, search.cancel, &mut add)?;
            Ok(())
        });
        // Also those before a cancellation.
        for (prime, exponent) in found {
            self.record(prime, exponent);
        }
        divided
    }

    /// Tells the observer of the stage that `work` is, and what it has done.
    fn stage<T>(
        &mut self,
        stage: Stage,
        number: &Integer,
        work: impl FnOnce(&mut Self, &mut u64) -> Result<T, Error>,
    ) -> Result<T, Error> {
        (self.observer)(Progress::Begun { stage, number });
        let mut done = 0;
        let result = work(self, &mut done);
        (self.observer)(Progress::Ended { stage, done });
        result
    }

    fn push(&mut self, value: Integer, exponent: u32, next: Curves) {
        if value > 1 {
            self.pending.push(Part {
                value,
                exponent,
                next,
            });
        }
    }

    /// Adds a prime factor, and takes it out of all that is left.
    fn record(&mut self, prime: Integer, exponent: u32) {
        let mut exponent = exponent;
        for part in &mut self.pending {
            exponent += part.exponent * part.value.remove_factor_mut(&prime);
        }
        self.pending.retain(|part| part.value > 1);
        for mut left in mem::take(&mut self.composites) {
            let times = left.value.remove_factor_mut(&prime);
            if times == 0 {
                self.composites.push(left);
            } else {
                exponent += left.exponent * times;
                self.push(left.value, left.exponent, Curves::default());
            }
        }
        (self.observer)(Progress::Found {
            prime: &prime,
            exponent,
        });
        self.factors.insert(prime, exponent);
    }

    /// One step with a part that is out of `pending`: to record it, to leave it, or to replace it by its divisors.
    fn take_apart(&mut self, part: &Part) -> Result<(), Error> {
        if self.tester.is_probable_prime(&part.value, self.cancel)? {
            self.record(part.value.clone(), part.exponent);
            return Ok(());
        }
        let mut next = part.next;
        match self.split(&part.value, &mut next)? {
            Split::Into(divisors) => {
                for divisor in divisors {
                    self.push(divisor, part.exponent, next);
                }
            }
            Split::Power(root, power) => self.push(root, part.exponent * power, next),
            Split::No(reason) => self.composites.push(Composite {
                value: part.value.clone(),
                exponent: part.exponent,
                reason,
            }),
        }
        Ok(())
    }

    /// After a cancellation: what is left stays as it is. That part of it which is quickly tested is.
    fn give_up(&mut self) -> Result<(), Error> {
        /// A test takes a millisecond at this size.
        const QUICKLY_TESTED_BITS: u32 = 1024;
        while let Some(part) = self.pending.pop() {
            let mut reason = Reason::Untested;
            if part.value.significant_bits() <= QUICKLY_TESTED_BITS {
                let never = Cancel::new();
                if self.tester.is_probable_prime(&part.value, &never)? {
                    self.record(part.value, part.exponent);
                    continue;
                }
                reason = Reason::Cancelled;
            }
            self.composites.push(Composite {
                value: part.value,
                exponent: part.exponent,
                reason,
            });
        }
        Ok(())
    }

    /// Divisors of a composite that no prime below [`small::BOUND`] divides.
    fn split(&mut self, n: &Integer, next: &mut Curves) -> Result<Split, Error> {
        let bits = n.significant_bits();
        let power = self.stage(Stage::PerfectPower, n, |search, done| {
            let (power, tried) = power::root(n, small::BOUND.ilog2(), search.cancel)?;
            *done = tried;
            Ok(power)
        })?;
        if let Some((root, exponent)) = power {
            return Ok(Split::Power(root, exponent));
        }
        // In a machine word rho is quicker.
        if n.to_u64().is_none() {
            let divisor = self.stage(Stage::Fermat, n, |search, done| {
                let (divisor, tried) = fermat::split(n, fermat::STEPS, search.cancel)?;
                *done = tried;
                Ok(divisor)
            })?;
            if let Some(divisor) = divisor {
                return Ok(pair(n, divisor));
            }
        }
        let divisor = self.stage(Stage::Rho, n, |search, done| {
            let (divisor, iterations) = match n.to_u64() {
                Some(n) => {
                    let (divisor, iterations) = rho::split_word(n, search.cancel)?;
                    (Some(divisor.into()), iterations)
                }
                None => rho::split(n, rho_iterations(bits), search.cancel)?,
            };
            *done = iterations;
            Ok(divisor)
        })?;
        if let Some(divisor) = divisor {
            return Ok(pair(n, divisor));
        }
        let sieves = bits <= self.limits.sieve_bits.min(MAX_SIEVE_BITS);
        let levels = if sieves {
            ecm::before_sieve(bits)
        } else {
            ecm::up_to(self.limits.curve_digits)
        };
        if let Some(divisor) = self.curves(n, &levels, next)? {
            return Ok(pair(n, divisor));
        }
        if !sieves {
            return Ok(Split::No(Reason::TooLarge));
        }
        let factors = self.stage(Stage::Sieve, n, |search, done| {
            sieve::split(n, search.cancel, &mut |relations, needed| {
                *done = relations;
                (search.observer)(Progress::Advanced {
                    stage: Stage::Sieve,
                    done: relations,
                    expected: needed,
                });
            })
        })?;
        if let Some(factors) = factors {
            return Ok(Split::Into(factors));
        }
        let levels = ecm::up_to(self.limits.curve_digits);
        Ok(match self.curves(n, &levels, next)? {
            Some(divisor) => pair(n, divisor),
            None => Split::No(Reason::SieveFailed),
        })
    }

    /// p − 1 and curves from `next` on, which is moved on.
    fn curves(
        &mut self,
        n: &Integer,
        levels: &[ecm::Level],
        next: &mut Curves,
    ) -> Result<Option<Integer>, Error> {
        if n.significant_bits() > MAX_CURVE_BITS {
            return Ok(None);
        }
        for (index, level) in levels.iter().enumerate().skip(next.level) {
            if index > next.level {
                *next = Curves {
                    level: index,
                    done: 0,
                };
            }
            if next.done == 0 && level.p_minus_1 > 0 {
                let b1 = level.p_minus_1;
                let divisor = self.stage(Stage::PMinus1 { b1 }, n, |search, done| {
                    *done = 1;
                    ecm::p_minus_1(n, b1, search.cancel)
                })?;
                if divisor.is_some() {
                    return Ok(divisor);
                }
            }
            let count = level.curves.saturating_sub(next.done);
            if count == 0 {
                continue;
            }
            let b1 = level.b1;
            let stage = Stage::Ecm { b1 };
            let mut curves = 0;
            let divisor = self.stage(stage, n, |search, done| {
                let mut advance = |curve| {
                    *done = curve;
                    (search.observer)(Progress::Advanced {
                        stage,
                        done: curve,
                        expected: count.into(),
                    });
                };
                // Other curves than those that this level has already tried.
                let seed = u64::from(b1) << 32 | u64::from(next.done);
                let divisor = ecm::curves(n, b1, count, seed, search.cancel, &mut advance)?;
                curves = *done as u32;
                Ok(divisor)
            })?;
            next.done += curves;
            if divisor.is_some() {
                return Ok(divisor);
            }
        }
        Ok(None)
    }

    fn into_factorization(self, negative: bool) -> Factorization {
        let mut composites = self.composites;
        composites.sort_by(|a, b| a.value.cmp(&b.value));
        let factors = self.factors.into_iter().map(|(prime, exponent)| Factor {
            proven: prime.significant_bits() <= u64::BITS,
            prime,
            exponent,
        });
        Factorization {
            negative,
            factors: factors.collect(),
            composites,
        }
    }
}

/// A composite as the product of a divisor and its cofactor, and what they have in common once more.
fn pair(n: &Integer, divisor: Integer) -> Split {
    let cofactor = Integer::from(n.div_exact_ref(&divisor));
    let common = Integer::from(divisor.gcd_ref(&cofactor));
    Split::Into(if common == 1 {
        vec![divisor, cofactor]
    } else {
        vec![
            divisor.div_exact(&common),
            cofactor.div_exact(&common),
            common.clone(),
            common,
        ]
    })
}

/// Iterations of rho on a composite above 2^64.
fn rho_iterations(bits: u32) -> u64 {
    if bits <= 96 { 1 << 10 } else { 1 << 12 }
}
