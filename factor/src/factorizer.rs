//! The stages of the factorization of one integer.

use std::collections::BTreeMap;
use std::mem;

use primepool_curves::{Ecm, WordPrimality};
use primepool_engine::Kernel;
use primepool_engine::primality::Tester;
use rug::Integer;

use crate::quadratic_sieve::SieveKernel;
use crate::trial_division::{self, Primes};
use crate::{
    Cancel, Composite, Error, Factor, Factorization, Limits, MAX_BITS, MAX_CURVE_BITS,
    MAX_SIEVE_BITS, Progress, Reason, Stage, factor_many, fermat, levels, perfect_power,
    quadratic_sieve, rho,
};

/// Factors integers; reuses tables and memory from one integer to the next.
pub struct Factorizer {
    kernel: SieveKernel,
    pub(crate) ecm: Ecm,
    pub(crate) primality: WordPrimality,
    pub(crate) tester: Tester,
    pub(crate) primes: Primes,
}

impl Factorizer {
    /// Creates a factorizer with the fastest kernel that this processor has. Its tables are empty;
    /// the first call fills them.
    #[must_use]
    pub fn new() -> Self {
        Self::with_kernel(Kernel::fastest())
    }

    /// Creates a factorizer with the vectors of a kernel, which this processor must have.
    #[must_use]
    pub fn with_kernel(kernel: Kernel) -> Self {
        Self {
            kernel: SieveKernel::like(kernel),
            ecm: Ecm::new(kernel),
            primality: WordPrimality::new(kernel),
            tester: Tester::default(),
            primes: Primes::default(),
        }
    }

    /// The elliptic-curve method of this factorizer, for work on a shared composite.
    pub fn ecm(&mut self) -> &mut Ecm {
        &mut self.ecm
    }

    /// The kernel of the sieve.
    #[must_use]
    pub fn kernel(&self) -> SieveKernel {
        self.kernel
    }

    /// Factors an integer.
    ///
    /// `observer` receives the progress of the stages, so that the caller can time them, count
    /// their cost and show how far they are. The result depends on the number and the limits alone.
    ///
    /// A set [`Cancel`] flag ends the work within about 100 ms for numbers of up to
    /// [`MAX_SIEVE_BITS`] bits. This is not an error: the result contains the factors found so far,
    /// and the rest as [`Factorization::composites`].
    ///
    /// # Errors
    ///
    /// - [`Error::Invalid`] for 0, which every prime divides, and for numbers of more than
    ///   [`MAX_BITS`] bits;
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
        let mut search = FactorSearch {
            limits,
            cancel,
            observer,
            kernel: self.kernel,
            ecm: &mut self.ecm,
            tester: &mut self.tester,
            pending: Vec::new(),
            factors: BTreeMap::new(),
            composites: Vec::new(),
        };
        search.run(n, &mut self.primes)?;
        let found = search.into_factorization(n.is_negative());
        if found.product() != *n {
            return Err(Error::fault(format!(
                "the factors of {n} do not multiply to it"
            )));
        }
        Ok(found)
    }
}

impl Default for Factorizer {
    fn default() -> Self {
        Self::new()
    }
}

/// A divisor that is still to be factored.
struct Part {
    value: Integer,
    exponent: u32,
    /// The next curve to run; all curves before it have been tried.
    next: CurvePosition,
}

/// A position in the sequence of curves.
#[derive(Clone, Copy, Default)]
struct CurvePosition {
    level: usize,
    done: u32,
}

/// The result of an attempt to split a part.
enum Split {
    /// The part is the product of these divisors.
    Into(Vec<Integer>),
    /// The part is this root to this power.
    Power(Integer, u32),
    /// The part was not split.
    No(Reason),
}

/// The factorization of one integer while it is in progress.
struct FactorSearch<'a> {
    limits: &'a Limits,
    cancel: &'a Cancel,
    observer: &'a mut dyn FnMut(Progress<'_>),
    kernel: SieveKernel,
    ecm: &'a mut Ecm,
    tester: &'a mut Tester,
    pending: Vec<Part>,
    factors: BTreeMap<Integer, u32>,
    composites: Vec<Composite>,
}

impl FactorSearch<'_> {
    fn run(&mut self, n: &Integer, primes: &mut Primes) -> Result<(), Error> {
        let mut rest = Integer::from(n.abs_ref());
        match self.divide(&mut rest, primes) {
            Ok(()) => self.push(rest, 1, CurvePosition::default()),
            Err(Error::Cancelled) => {
                self.push(rest, 1, CurvePosition::default());
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

    /// Divides `rest` by small primes and records them.
    fn divide(&mut self, rest: &mut Integer, primes: &mut Primes) -> Result<(), Error> {
        let mut found = Vec::new();
        let divided = self.stage(Stage::TrialDivision, &rest.clone(), |search, done| {
            let mut add = |prime: u32, exponent| found.push((Integer::from(prime), exponent));
            *done = trial_division::divide_out(
                rest,
                trial_division::BOUND,
                primes,
                search.cancel,
                &mut add,
            )?;
            Ok(())
        });
        // Also record the primes found before a cancellation.
        for (prime, exponent) in found {
            self.record(prime, exponent);
        }
        divided
    }

    /// Runs `work` and reports it to the observer as a stage, with the amount of work done.
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

    fn push(&mut self, value: Integer, exponent: u32, next: CurvePosition) {
        if value > 1 {
            self.pending.push(Part {
                value,
                exponent,
                next,
            });
        }
    }

    /// Records a prime factor, and divides it out of all pending parts and composites.
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
                self.push(left.value, left.exponent, CurvePosition::default());
            }
        }
        (self.observer)(Progress::Found {
            prime: &prime,
            exponent,
        });
        self.factors.insert(prime, exponent);
    }

    /// Processes one part that was removed from `pending`: records it, leaves it, or replaces it by
    /// its divisors.
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

    /// After a cancellation, leaves the remaining parts unsplit. Small parts are still tested for
    /// primality, which is quick.
    fn give_up(&mut self) -> Result<(), Error> {
        /// Size of a number whose test takes about a millisecond.
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

    /// Tries to split a composite that no prime below [`trial_division::BOUND`] divides.
    fn split(&mut self, n: &Integer, next: &mut CurvePosition) -> Result<Split, Error> {
        let bits = n.significant_bits();
        let power = self.stage(Stage::PerfectPower, n, |search, done| {
            let (power, tried) =
                perfect_power::root(n, trial_division::BOUND.ilog2(), search.cancel)?;
            *done = tried;
            Ok(power)
        })?;
        if let Some((root, exponent)) = power {
            return Ok(Split::Power(root, exponent));
        }
        // For a machine word, curves and rho are faster.
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
        let word = n.to_u64();
        if word.is_some_and(|n| n < factor_many::CURVES_FROM) || bits > MAX_CURVE_BITS {
            let divisor = self.rho(n)?;
            if let Some(divisor) = divisor {
                return Ok(pair(n, divisor));
            }
        }
        let sieves = bits <= self.limits.sieve_bits.min(MAX_SIEVE_BITS);
        let levels = if sieves || word.is_some() {
            levels::before_sieve(bits)
        } else {
            levels::up_to(self.limits.curve_digits)
        };
        if let Some(divisor) = self.curves(n, &levels, next)? {
            return Ok(pair(n, divisor));
        }
        if word.is_some()
            && let Some(divisor) = self.rho(n)?
        {
            return Ok(pair(n, divisor));
        }
        if !sieves {
            return Ok(Split::No(Reason::TooLarge));
        }
        let divisor = self.stage(Stage::Sieve, n, |search, done| {
            quadratic_sieve::split(n, search.kernel, search.cancel, &mut |relations, needed| {
                *done = relations;
                (search.observer)(Progress::Advanced {
                    stage: Stage::Sieve,
                    done: relations,
                    expected: needed,
                });
            })
        })?;
        if let Some(divisor) = divisor {
            return Ok(pair(n, divisor));
        }
        let levels = levels::up_to(self.limits.curve_digits);
        Ok(match self.curves(n, &levels, next)? {
            Some(divisor) => pair(n, divisor),
            None => Split::No(Reason::SieveFailed),
        })
    }

    fn rho(&mut self, n: &Integer) -> Result<Option<Integer>, Error> {
        self.stage(Stage::Rho, n, |search, done| {
            let (divisor, iterations) = match n.to_u64() {
                Some(n) => {
                    let (divisor, iterations) = rho::split_word(n, search.cancel)?;
                    (Some(divisor.into()), iterations)
                }
                None => rho::split(n, RHO_ITERATIONS, search.cancel)?,
            };
            *done = iterations;
            Ok(divisor)
        })
    }

    /// Runs p ± 1 and curves from `next` on, and advances `next`.
    fn curves(
        &mut self,
        n: &Integer,
        levels: &[levels::Level],
        next: &mut CurvePosition,
    ) -> Result<Option<Integer>, Error> {
        if n.significant_bits() > MAX_CURVE_BITS {
            return Ok(None);
        }
        for (index, level) in levels.iter().enumerate().skip(next.level) {
            if index > next.level {
                *next = CurvePosition {
                    level: index,
                    done: 0,
                };
            }
            if next.done == 0 && level.p_minus_1 > 0 {
                let b1 = level.p_minus_1;
                let divisor = self.stage(Stage::PMinus1 { b1 }, n, |search, done| {
                    *done = 1;
                    search.ecm.plus_minus(n, b1, search.cancel)
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
                let first = levels::first_curve(b1) + u64::from(next.done);
                let range = first..first + u64::from(count);
                let divisor = search
                    .ecm
                    .curves(n, b1, range, search.cancel, &mut advance)?;
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

/// A composite as the product of a divisor and its cofactor. A common divisor of the two is taken
/// out of both and added twice.
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

/// Iterations of rho on a composite too large for curves: they find half of the primes of 20 to 24
/// bits.
const RHO_ITERATIONS: u64 = 1 << 12;
