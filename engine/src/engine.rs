//! The engine: search for primes of a given form and size.

mod provable;

use rug::{Assign, Integer};

use crate::kernel::Kernel;
use crate::portable_plan::{portable_plan, portable_trial_bound};
use crate::primality::{Confirmation, Tester};
use crate::progression_sieve::ProgressionSieve;
use crate::search::PrimeSearch;
use crate::table::Table;
use crate::{Cancel, Error, Stream, small};

pub use provable::Claim;

/// Least number of bits of a prime that the engine finds.
pub const MIN_BITS: u32 = 2;

/// Greatest number of bits of a prime that the engine finds.
pub const MAX_BITS: u32 = 65_536;

/// Least number of bits of a safe prime: the least ones are 5 and 7.
const MIN_SAFE_PRIME_BITS: u32 = 3;

/// The kind of prime to search for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Form {
    /// Any prime.
    #[default]
    Prime,
    /// A prime p for which (p − 1)/2 is prime too.
    SafePrime,
}

/// How a prime is chosen among those of its size and form. The crate's documentation defines which
/// prime a stream gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Method {
    /// The first prime from a random start on: fast, but slightly biased, because primes after long
    /// gaps are more likely.
    #[default]
    Incremental,
    /// The first prime among independent random numbers: every prime is equally likely.
    Uniform,
}

/// A prime and the cost of its search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The prime.
    pub prime: Integer,
    /// Number of candidates that were put to a probable-prime test: those that passed the sieve or
    /// trial division, up to and including the prime. For a safe prime a pair p, (p − 1)/2 counts
    /// once. Depends on the depth of the sieve, so it may differ between versions.
    pub candidates: u64,
}

/// A prime search for one compute thread.
///
/// It keeps its sieve tables and buffers from one call to the next: about 35 MiB at 4096 bits and
/// above, 5 MiB at 1024 bits.
pub struct Engine {
    kernel: Kernel,
    /// `Some` unless the kernel is [`Kernel::Gmp`].
    vector: Option<PrimeSearch>,
    confirmation: Confirmation,
    sieve: ProgressionSieve,
    /// Primes for trial division of independent candidates; `residues` are the candidate's.
    trial: Table,
    residues: Vec<u32>,
    tester: Tester,
    start: Integer,
    candidate: Integer,
    half: Integer,
}

impl Engine {
    /// An engine with the fastest kernel that this processor has. Its tables are empty; the first
    /// call fills them.
    #[must_use]
    pub fn new() -> Self {
        Self::build(Kernel::fastest())
    }

    /// An engine with the given kernel.
    ///
    /// # Errors
    ///
    /// [`Error::Kernel`] if this processor does not have it.
    pub fn with_kernel(kernel: Kernel) -> Result<Self, Error> {
        kernel.require()?;
        Ok(Self::build(kernel))
    }

    /// `kernel` must be available on this processor.
    fn build(kernel: Kernel) -> Self {
        let vector = kernel.vectors().map(PrimeSearch::new);
        Self {
            kernel,
            vector,
            confirmation: Confirmation::default(),
            sieve: ProgressionSieve::default(),
            trial: Table::default(),
            residues: Vec::new(),
            tester: Tester::default(),
            start: Integer::new(),
            candidate: Integer::new(),
            half: Integer::new(),
        }
    }

    /// The kernel in use.
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// Sets how [`Engine::primes`] and [`Engine::primes_by`] confirm primes from now on; at first it
    /// is [`Confirmation::Complete`].
    pub fn set_confirmation(&mut self, confirmation: Confirmation) {
        self.confirmation = confirmation;
        if let Some(vector) = &mut self.vector {
            vector.confirmation = confirmation;
        }
    }

    /// [`Engine::primes_by`] with [`Method::Incremental`].
    ///
    /// # Errors
    ///
    /// Those of [`Engine::primes_by`].
    pub fn primes(
        &mut self,
        form: Form,
        bits: u32,
        streams: &mut [Stream],
        cancel: &Cancel,
        found: &mut dyn FnMut(usize, Found),
    ) -> Result<(), Error> {
        self.primes_by(Method::Incremental, form, bits, streams, cancel, found)
    }

    /// Finds for each stream a prime with exactly `bits` bits: the top bit is set. The crate's
    /// documentation defines which prime a stream gives.
    ///
    /// Each stream is left just after the bits from which its prime was drawn. So the next call
    /// gives its next prime, with either method and on every kernel.
    ///
    /// Calls `found(i, ...)` as soon as the prime of `streams[i]` is known, in no particular order.
    /// After an error the primes that were already passed to `found` are valid.
    ///
    /// # Errors
    ///
    /// - [`Error::Invalid`] if `bits` is outside [`MIN_BITS`]`..=`[`MAX_BITS`], or 2 for safe
    ///   primes: there are none;
    /// - [`Error::Cancelled`];
    /// - [`Error::Randomness`] if the operating system's generator failed.
    pub fn primes_by(
        &mut self,
        method: Method,
        form: Form,
        bits: u32,
        streams: &mut [Stream],
        cancel: &Cancel,
        found: &mut dyn FnMut(usize, Found),
    ) -> Result<(), Error> {
        check_bits(form, bits)?;
        if PrimeSearch::handles(bits)
            && let Some(vector) = &mut self.vector
        {
            match (method, form) {
                (_, Form::SafePrime) if !PrimeSearch::handles(bits - 1) => {}
                (Method::Uniform, _) => return vector.uniform(form, bits, streams, cancel, found),
                (Method::Incremental, Form::Prime) => {
                    return vector.primes(bits, streams, cancel, found);
                }
                (Method::Incremental, Form::SafePrime) => {
                    return vector.safe_primes(bits, streams, cancel, found);
                }
            }
        }
        for (index, stream) in streams.iter_mut().enumerate() {
            let prime = match method {
                Method::Incremental => self.prime(form, bits, stream, cancel)?,
                Method::Uniform => self.uniform_prime(form, bits, stream, cancel)?,
            };
            found(index, prime);
        }
        Ok(())
    }

    /// Finds the least prime greater than `after`, which may be negative.
    ///
    /// # Errors
    ///
    /// - [`Error::Invalid`] if `after` has more than [`MAX_BITS`] bits;
    /// - [`Error::Cancelled`];
    /// - [`Error::Randomness`] if the operating system's generator failed.
    pub fn next_prime(&mut self, after: &Integer, cancel: &Cancel) -> Result<Found, Error> {
        cancel.check()?;
        if after.is_positive() && after.significant_bits() > MAX_BITS {
            return Err(Error::invalid(format!(
                "the number has {} bits, more than {MAX_BITS}",
                after.significant_bits()
            )));
        }
        self.start.assign(after + 1_u32);
        if *after < 2 {
            self.start.assign(2);
        }
        let mut candidates = 0;
        if let Some(start) = self.start.to_u64() {
            let (prime, tested) = small::least_prime(start, u64::MAX);
            candidates += tested;
            if let Some(prime) = prime {
                return Ok(Found {
                    prime: prime.into(),
                    candidates,
                });
            }
            // `start` is above the greatest prime below 2^64: go on from 2^64.
            self.start.assign(1);
            self.start <<= 64;
        }
        if PrimeSearch::handles(self.start.significant_bits() + 1)
            && let Some(vector) = &mut self.vector
        {
            let mut found = vector.next_prime(&self.start, cancel)?;
            found.candidates += candidates;
            return Ok(found);
        }
        loop {
            // The first search always succeeds: a prime gap never doubles a number.
            let limit = self.start.significant_bits() + 1;
            let (prime, tested) =
                self.search(Form::Prime, limit, Confirmation::Complete, cancel)?;
            candidates += tested;
            if let Some(prime) = prime {
                return Ok(Found { prime, candidates });
            }
        }
    }

    /// Checks numbers that are claimed to be prime: for each of `numbers`, in order, whether it
    /// passes a strong probable-prime (Miller–Rabin) test to a base that the operating system draws
    /// at random.
    ///
    /// A prime always passes. A composite passes with a probability of at most 1/4, even if an
    /// attacker chose it (Rabin 1980), and of far less if a faulty search returned it. Below 2^64
    /// the answer is exact. The length is not checked. The call cannot be cancelled: each number
    /// costs one modular power.
    ///
    /// # Errors
    ///
    /// [`Error::Randomness`] if the operating system's generator failed.
    pub fn verify(&mut self, numbers: &[Integer]) -> Result<Vec<bool>, Error> {
        let mut bases = Stream::os();
        let never = Cancel::new();
        let mut results = vec![false; numbers.len()];
        let mut in_lanes = Vec::new();
        for (index, n) in numbers.iter().enumerate() {
            results[index] = if n.is_negative() {
                false
            } else if let Some(n) = n.to_u64() {
                small::is_prime(n)
            } else if n.is_even() {
                false
            } else if self.vector.is_some() && PrimeSearch::handles(n.significant_bits()) {
                in_lanes.push((index, n));
                continue;
            } else {
                self.tester.miller_rabin_round(n, &mut bases, &never)?
            };
        }
        if let Some(vector) = &mut self.vector {
            let mut bases = Stream::from_os_key()?;
            vector.verify(&mut in_lanes, &mut bases, &mut |index, passed| {
                results[index] = passed;
            })?;
        }
        Ok(results)
    }

    /// The prime of a stream; `bits` is valid for the form.
    fn prime(
        &mut self,
        form: Form,
        bits: u32,
        stream: &mut Stream,
        cancel: &Cancel,
    ) -> Result<Found, Error> {
        let mut candidates = 0;
        loop {
            cancel.check()?;
            stream.draw_start(&mut self.start, bits)?;
            let (prime, tested) = match self.start.to_u64() {
                Some(start) => {
                    let last = u64::MAX >> (u64::BITS - bits);
                    let (prime, tested) = match form {
                        Form::Prime => small::least_prime(start, last),
                        Form::SafePrime => small::least_safe_prime(start, last),
                    };
                    (prime.map(Integer::from), tested)
                }
                None => self.search(form, bits, self.confirmation, cancel)?,
            };
            candidates += tested;
            if let Some(prime) = prime {
                return Ok(Found { prime, candidates });
            }
        }
    }

    /// The first prime among a stream's candidates; `bits` is valid for the form.
    fn uniform_prime(
        &mut self,
        form: Form,
        bits: u32,
        stream: &mut Stream,
        cancel: &Cancel,
    ) -> Result<Found, Error> {
        let mut candidates = 0;
        loop {
            cancel.check()?;
            stream.draw_candidate(&mut self.candidate, form, bits)?;
            let passed = match self.candidate.to_u64() {
                Some(n) => {
                    candidates += 1;
                    small::is_prime(n) && (form == Form::Prime || small::is_prime(n / 2))
                }
                None if self.divides(form, cancel)? => false,
                None => {
                    candidates += 1;
                    self.is_prime(form, self.confirmation, cancel)?
                }
            };
            if passed {
                return Ok(Found {
                    prime: self.candidate.clone(),
                    candidates,
                });
            }
        }
    }

    /// Whether a small prime divides the candidate or, for a safe prime, its half; for candidates
    /// above 2^64.
    fn divides(&mut self, form: Form, cancel: &Cancel) -> Result<bool, Error> {
        let bound = portable_trial_bound(self.candidate.significant_bits());
        self.trial.grow(bound, cancel)?;
        // A few primes rule out most numbers.
        for bound in [64, bound] {
            self.trial
                .negative_residues(&self.candidate, bound, &mut self.residues, cancel)?;
            // p divides (n − 1)/2 where n ≡ 1 (mod p), that is −n ≡ p − 1.
            let mut residues = self.residues.iter().zip(self.trial.primes());
            if residues.any(|(&r, &p)| r == 0 || form == Form::SafePrime && r == p - 1) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The least prime of a form from `self.start` (at least 2^64) to below 2^`limit_bits`, or
    /// `None`, and the number of candidates tested.
    fn search(
        &mut self,
        form: Form,
        limit_bits: u32,
        confirmation: Confirmation,
        cancel: &Cancel,
    ) -> Result<(Option<Integer>, u64), Error> {
        let plan = portable_plan(form, self.start.significant_bits());
        self.sieve.begin(form, &self.start, plan, cancel)?;
        let mut candidates = 0;
        loop {
            cancel.check()?;
            self.sieve.next(&mut self.candidate);
            if self.candidate.significant_bits() > limit_bits {
                return Ok((None, candidates));
            }
            candidates += 1;
            if self.is_prime(form, confirmation, cancel)? {
                return Ok((Some(self.candidate.clone()), candidates));
            }
        }
    }

    /// Whether the candidate is a prime of the form.
    fn is_prime(
        &mut self,
        form: Form,
        confirmation: Confirmation,
        cancel: &Cancel,
    ) -> Result<bool, Error> {
        let tester = &mut self.tester;
        match form {
            Form::Prime => Ok(tester.is_strong_probable_prime_2(&self.candidate, cancel)?
                && tester.confirm(&self.candidate, confirmation, cancel)?),
            Form::SafePrime => {
                self.half.assign(&self.candidate >> 1_u32);
                // Once q is prime the test to base 2 proves p = 2q + 1: 2^(p − 1) ≡ 1 (mod p), and
                // 2^((p − 1)/q) − 1 = 3 is coprime to p, so by Pocklington's theorem (1914) every
                // prime factor of p is 1 mod q and p is prime.
                Ok(tester.is_strong_probable_prime_2(&self.half, cancel)?
                    && tester.is_strong_probable_prime_2(&self.candidate, cancel)?
                    && tester.confirm(&self.half, confirmation, cancel)?)
            }
        }
    }
}

impl Default for Engine {
    fn default() -> Self {
        Self::new()
    }
}

/// Checks that primes of the form and size exist and are supported.
fn check_bits(form: Form, bits: u32) -> Result<(), Error> {
    if !(MIN_BITS..=MAX_BITS).contains(&bits) {
        return Err(Error::invalid(format!(
            "{bits} bits, must be {MIN_BITS} to {MAX_BITS}"
        )));
    }
    if form == Form::SafePrime && bits < MIN_SAFE_PRIME_BITS {
        return Err(Error::invalid(format!(
            "there is no safe prime of {bits} bits, the least are the {MIN_SAFE_PRIME_BITS}-bit 5 and 7"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use rug::integer::IsPrime;

    use super::*;

    fn is_prime(n: &Integer) -> bool {
        n.is_probably_prime(40) != IsPrime::No
    }

    /// The prime by its definition, found with GMP's own search.
    fn by_definition(form: Form, bits: u32, mut stream: Stream) -> Integer {
        let mut start = Integer::new();
        loop {
            stream.draw_start(&mut start, bits).unwrap();
            let mut p = Integer::from(&start - 1_u32);
            loop {
                p.next_prime_mut();
                if p.significant_bits() > bits {
                    break;
                }
                if form == Form::Prime || is_prime(&Integer::from(&p / 2)) {
                    return p;
                }
            }
        }
    }

    fn primes(form: Form, bits: u32, seed: u64, count: usize) -> Vec<Found> {
        let mut streams: Vec<Stream> = (0..count)
            .map(|index| Stream::seeded(seed, index as u64))
            .collect();
        let mut results = vec![None; count];
        Engine::new()
            .primes(form, bits, &mut streams, &Cancel::new(), &mut |i, found| {
                assert!(results[i].replace(found).is_none(), "twice");
            })
            .unwrap();
        results.into_iter().map(Option::unwrap).collect()
    }

    #[test]
    fn primes_follow_the_definition() {
        for bits in (2..=70)
            .chain((71..=300).step_by(7))
            .chain([511, 512, 513, 768, 1000, 1024, 1537])
        {
            let count = if bits < 24 { 40 } else { 4 };
            for (index, found) in primes(Form::Prime, bits, 11, count).iter().enumerate() {
                assert_eq!(found.prime.significant_bits(), bits);
                assert!(is_prime(&found.prime));
                let stream = Stream::seeded(11, index as u64);
                assert_eq!(
                    found.prime,
                    by_definition(Form::Prime, bits, stream),
                    "{bits} {index}"
                );
            }
        }
    }

    #[test]
    fn safe_primes_follow_the_definition() {
        for bits in (3..=80).chain([96, 127, 128, 129, 160]) {
            let count = if bits < 24 { 40 } else { 2 };
            for (index, found) in primes(Form::SafePrime, bits, 12, count).iter().enumerate() {
                assert_eq!(found.prime.significant_bits(), bits);
                assert!(is_prime(&found.prime) && is_prime(&Integer::from(&found.prime / 2)));
                let stream = Stream::seeded(12, index as u64);
                assert_eq!(
                    found.prime,
                    by_definition(Form::SafePrime, bits, stream),
                    "{bits} {index}"
                );
            }
        }
    }

    #[test]
    fn larger_safe_primes() {
        for bits in [255, 256, 384] {
            for found in primes(Form::SafePrime, bits, 13, 2) {
                assert_eq!(found.prime.significant_bits(), bits);
                assert!(is_prime(&found.prime) && is_prime(&Integer::from(&found.prime / 2)));
            }
        }
    }

    #[test]
    fn all_primes_of_a_few_bits_are_found() {
        let all = |form, bits| {
            let mut all: Vec<u32> = primes(form, bits, 14, 300)
                .iter()
                .map(|found| found.prime.to_u32().unwrap())
                .collect();
            all.sort_unstable();
            all.dedup();
            all
        };
        assert_eq!(all(Form::Prime, 2), [2, 3]);
        assert_eq!(all(Form::Prime, 3), [5, 7]);
        assert_eq!(all(Form::Prime, 4), [11, 13]);
        assert_eq!(all(Form::Prime, 5), [17, 19, 23, 29, 31]);
        assert_eq!(all(Form::SafePrime, 3), [5, 7]);
        assert_eq!(all(Form::SafePrime, 4), [11]);
        assert_eq!(all(Form::SafePrime, 6), [47, 59]);
    }

    #[test]
    fn search_gives_up_at_the_limit() {
        // From just below a power of two there is no prime with the same number of bits.
        for bits in [65_u32, 100, 128, 1000] {
            let mut engine = Engine::new();
            engine.start = (Integer::from(1) << bits) - 1_u32;
            let (prime, _) = engine
                .search(
                    Form::SafePrime,
                    bits,
                    Confirmation::Complete,
                    &Cancel::new(),
                )
                .unwrap();
            assert_eq!(prime, None);
        }
    }

    #[test]
    fn one_engine_serves_all_sizes_and_forms() {
        let mut engine = Engine::new();
        for (form, bits) in [
            (Form::Prime, 700),
            (Form::SafePrime, 100),
            (Form::Prime, 20),
            (Form::Prime, 66),
            (Form::SafePrime, 90),
            (Form::Prime, 700),
        ] {
            let mut streams = [Stream::seeded(15, 0)];
            let mut prime = Integer::new();
            engine
                .primes(form, bits, &mut streams, &Cancel::new(), &mut |_, found| {
                    prime = found.prime;
                })
                .unwrap();
            assert_eq!(prime, by_definition(form, bits, Stream::seeded(15, 0)));
        }
    }
}
