//! The collector of relations. Each relation is checked before it counts, so that a wrong one
//! cannot spoil the sieve. A relation that is already known is dropped.

use std::collections::{HashMap, HashSet};
use std::num::NonZero;

use rug::Integer;

use super::cycles::{self, Cycles};
use super::factor_base::{Base, FactorBase};
use super::nullspace;
use super::parameters::{BLOCK, Parameters, RELATIONS_PER_POLL};
use super::polynomials::{Family, Polynomials, Value};
use super::relation::{Reader, Relation, Writer, unpack};
use super::wide::Wide;
use crate::{Cancel, Error};

/// The result of starting a sieve.
#[derive(Debug)]
pub enum Start {
    /// The collector is ready to accept relations.
    Ready(Box<Collector>),
    /// A prime of the factor base divides the composite: no sieve is needed.
    Divisor(Integer),
}

/// Collects the relations of one composite until they give its factors.
pub struct Collector {
    number: Integer,
    checker: Checker,
    /// Relations that hold, in the format of a packet.
    kept: Writer,
    cycles: Cycles,
    /// Marks of the relations in `kept`.
    seen: HashSet<u64>,
    /// Additional relations needed after linear algebra that found nothing.
    extra: u64,
}

impl std::fmt::Debug for Collector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (has, needed) = (self.relations(), self.needed());
        write!(f, "{has} of {needed} relations of {}", self.number)
    }
}

/// Outcome of adding a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// Relations that hold and are new.
    pub new: u64,
    /// Relations that hold and were known.
    pub known: u64,
    /// Relations that do not hold. If the packet cannot be read any further, the rest of it counts
    /// as one.
    pub wrong: u64,
}

/// The data for checking relations.
struct Checker {
    base: FactorBase,
    parameters: Parameters,
    polynomials: Polynomials,
    /// The family that was used last.
    family: Option<(u64, Family)>,
}

impl Checker {
    fn family(&mut self, index: u64) -> &Family {
        let family = match self.family.take() {
            Some(known) if known.0 == index => known,
            _ => (index, self.polynomials.family(&self.base, index)),
        };
        &self.family.insert(family).1
    }

    fn value(&mut self, relation: &Relation<'_>) -> Value {
        let multiple = self.polynomials.multiple;
        let family = self.family(relation.family);
        family.value(multiple, family.b(relation.polynomial), relation.place)
    }

    /// Root and value of a relation, if it holds.
    fn check(&mut self, relation: &Relation<'_>) -> Option<Value> {
        if relation.polynomial >= self.polynomials.in_family()
            || usize::from(relation.place) >= BLOCK
            || relation
                .large
                .iter()
                .any(|&large| u64::from(large) >= self.parameters.large_bound)
        {
            return None;
        }
        let value = self.value(relation);
        let magnitude = value.value.abs();
        if magnitude.is_zero() {
            return None;
        }
        let mut rest = magnitude.shift_right(magnitude.trailing_zeros());
        for &index in relation.primes {
            // Any prime but 2, which has index 0.
            let prime = *self.base.primes.get(index as usize).filter(|_| index > 0)?;
            rest = rest.divide(prime, primepool_engine::small::inverse(prime.into()))?;
        }
        let [a, b] = relation.large.map(u64::from);
        (rest.to_word() == Some(a * b)).then_some(value)
    }

    /// The entries that are 1 in the relation's vector over GF(2), ascending: 0 if the value is
    /// negative, then the primes of the base that divide 4a·v an odd number of times, then the
    /// large primes by `number_of`.
    fn odd(&mut self, relation: &Relation<'_>, number_of: impl FnMut(u32) -> u32) -> Vec<u32> {
        let value = self.value(relation).value;
        let mut odd = Vec::with_capacity(relation.primes.len() + self.parameters.factors + 3);
        if value.is_negative() {
            odd.push(0);
        }
        if value.trailing_zeros() % 2 == 1 {
            odd.push(1);
        }
        odd.extend(relation.primes.iter().map(|index| index + 1));
        odd.extend(
            self.family(relation.family)
                .factors
                .iter()
                .map(|index| index + 1),
        );
        odd.extend(large_primes(relation).map(number_of));
        odd.sort_unstable();
        keep_odd(&mut odd);
        odd
    }
}

/// The large primes of a relation: none, one or two.
fn large_primes(relation: &Relation<'_>) -> impl Iterator<Item = u32> {
    relation.large.into_iter().filter(|&large| large > 1)
}

/// Keeps each of the sorted numbers that occurs an odd number of times, once.
fn keep_odd(numbers: &mut Vec<u32>) {
    let mut kept = 0;
    let mut i = 0;
    while i < numbers.len() {
        let number = numbers[i];
        let count = numbers[i..]
            .iter()
            .take_while(|&&other| other == number)
            .count();
        if count % 2 == 1 {
            numbers[kept] = number;
            kept += 1;
        }
        i += count;
    }
    numbers.truncate(kept);
}

impl Collector {
    /// Starts to collect relations of a composite. Takes a tenth of a second at 256 bits, some
    /// tenths at 400 bits.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for numbers that the sieve does not accept; see
    /// [`MIN_BITS`](super::MIN_BITS).
    pub fn start(number: &Integer) -> Result<Start, Error> {
        let parameters = Parameters::for_bits(number.significant_bits());
        Ok(
            match FactorBase::build(number, &parameters, &Cancel::new())? {
                Base::Ready(base) => Start::Ready(Box::new(Self::new(number, base, parameters))),
                Base::Divisor(prime) => Start::Divisor(prime.into()),
            },
        )
    }

    pub(super) fn new(number: &Integer, base: FactorBase, parameters: Parameters) -> Self {
        Self {
            number: number.clone(),
            checker: Checker {
                polynomials: Polynomials::new(&base, &parameters),
                base,
                parameters,
                family: None,
            },
            kept: Writer::default(),
            cycles: Cycles::new(),
            seen: HashSet::new(),
            extra: 0,
        }
    }

    /// Adds the relations of a packet that hold and are new.
    pub fn add(&mut self, packet: &[u8]) -> Added {
        let (relations, whole) = unpack(packet);
        let mut added = self.add_all(&relations);
        // A relation cut off at the end has already been counted.
        added.wrong = added.wrong.max((!whole).into());
        added
    }

    fn add_all(&mut self, relations: &[u8]) -> Added {
        let mut added = Added::default();
        let mut reader = Reader::new(relations);
        while reader.left() > 0 {
            let Some(relation) = reader.next() else {
                added.wrong += 1;
                break;
            };
            match self.add_one(&relation) {
                None => added.wrong += 1,
                Some(true) => added.new += 1,
                Some(false) => added.known += 1,
            }
        }
        added
    }

    /// Adds a relation and returns whether it is new; `None` if it does not hold.
    pub(super) fn add_one(&mut self, relation: &Relation<'_>) -> Option<bool> {
        let Value { root, .. } = self.checker.check(relation)?;
        let is_new = self.seen.insert(mark(root));
        if is_new {
            self.kept.write(relation);
            self.cycles.add(relation.large);
        }
        Some(is_new)
    }

    /// Number of relations without large primes, found as such or combined from others.
    #[must_use]
    pub fn relations(&self) -> u64 {
        self.cycles.closed
    }

    /// Number of [`Collector::relations`] that are needed.
    #[must_use]
    pub fn needed(&self) -> u64 {
        // A vector has an entry for each prime and one for the sign. If there are more relations
        // than entries, there is a dependency.
        self.checker.base.primes.len() as u64 + 1 + SPARE + self.extra
    }

    /// The share of the work of finding [`Collector::needed`] relations that is done, from 0 to 1:
    /// an estimate. Relations arrive faster when more large primes are known.
    #[must_use]
    pub fn share_done(&self) -> f64 {
        let whole = self.cycles.whole as f64;
        let combined = self.cycles.closed as f64 - whole;
        let growth = match self.checker.parameters.double_bound {
            0 => single_growth,
            _ => double_growth,
        };
        share_done(whole, combined, growth, self.needed() as f64)
    }

    /// Whether there are enough relations for [`Collector::solve`].
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.relations() >= self.needed()
    }

    /// A proper divisor of the composite by linear algebra on up to `threads` threads. `None` if
    /// these relations give none; then more of them are needed.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`], and [`Error::Fault`] if a dependency turns out to be wrong.
    pub fn solve(
        &mut self,
        threads: NonZero<usize>,
        cancel: &Cancel,
    ) -> Result<Option<Integer>, Error> {
        let Self { checker, kept, .. } = self;
        // Most relations with two large primes are in no cycle, and need no vector.
        let mut large = Vec::new();
        let mut reader = Reader::new(&kept.bytes);
        while reader.left() > 0 {
            if large.len() % RELATIONS_PER_POLL == 0 {
                cancel.check()?;
            }
            large.push(reader.next().ok_or_else(unreadable)?.large);
        }
        let are_in_cycles = cycles::in_cycles(&large, cancel)?;
        drop(large);
        let (mut starts, mut vectors, mut large) = (Vec::new(), Vec::new(), HashMap::new());
        let entries_of_base = checker.base.primes.len() as u32 + 1;
        let mut reader = Reader::new(&kept.bytes);
        for (i, is_in_cycle) in are_in_cycles.into_iter().enumerate() {
            if i % RELATIONS_PER_POLL == 0 {
                cancel.check()?;
            }
            let start = (kept.bytes.len() - reader.left(), reader.family());
            let relation = reader.next().ok_or_else(unreadable)?;
            if !is_in_cycle {
                continue;
            }
            starts.push(start);
            vectors.push(checker.odd(&relation, |prime| {
                let next = entries_of_base + large.len() as u32;
                *large.entry(prime).or_insert(next)
            }));
        }
        let entries = entries_of_base as usize + large.len();
        drop(large);
        let found = nullspace::dependencies(&vectors, entries, MOST_TRIED, threads, cancel)?;
        drop(vectors);
        for set in found.iter() {
            let mut product = Product::new(&self.number, &mut self.checker);
            for (i, at) in set.into_iter().enumerate() {
                if i % RELATIONS_PER_POLL == 0 {
                    cancel.check()?;
                }
                let (start, family) = starts[at as usize];
                let mut reader = Reader::at(&self.kept.bytes[start..], family);
                product.multiply(&reader.next().ok_or_else(unreadable)?);
            }
            let divisor = product.divisor()?;
            if divisor > 1 && divisor < self.number {
                return Ok(Some(divisor));
            }
        }
        self.extra += (self.relations() + MORE).saturating_sub(self.needed());
        Ok(None)
    }
}

/// The share of all combined relations that exist after a share of the work, if relations have at
/// most one large prime. They combine in pairs.
fn single_growth(share: f64) -> f64 {
    share.powi(2)
}

/// The same if relations have at most two large primes: pairs first, then longer cycles; measured
/// at 288 bits.
fn double_growth(share: f64) -> f64 {
    share.powi(2).mul_add(0.25, 0.75 * share.powi(3))
}

/// The share of the work after which there are this many relations, if there are `needed` relations
/// at its end.
fn share_done(whole: f64, combined: f64, growth: fn(f64) -> f64, needed: f64) -> f64 {
    if whole + combined >= needed {
        return 1.0;
    }
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..40 {
        let share = f64::midpoint(low, high);
        if whole / share + combined / growth(share) > needed {
            low = share;
        } else {
            high = share;
        }
    }
    high
}

fn unreadable() -> Error {
    Error::fault("a relation that was kept cannot be read")
}

/// Identifies a relation by its root.
fn mark(root: Wide) -> u64 {
    let [low, high] = root.lowest();
    low ^ high.rotate_left(17)
}

/// The product of relations whose right sides multiply to a square.
struct Product<'a> {
    number: &'a Integer,
    checker: &'a mut Checker,
    /// Product of the left sides' roots.
    left: Integer,
    is_negative: bool,
    exponents: Vec<u64>,
    large: HashMap<u32, u64>,
}

impl<'a> Product<'a> {
    fn new(number: &'a Integer, checker: &'a mut Checker) -> Self {
        Self {
            number,
            left: Integer::from(1),
            is_negative: false,
            exponents: vec![0; checker.base.primes.len()],
            large: HashMap::new(),
            checker,
        }
    }

    fn multiply(&mut self, relation: &Relation<'_>) {
        let Value { root, value } = self.checker.value(relation);
        self.left *= root.to_integer();
        self.left %= self.number;
        self.is_negative ^= value.is_negative();
        self.exponents[0] += 2 + u64::from(value.trailing_zeros());
        let factors = &self.checker.family(relation.family).factors;
        for &index in factors.iter().chain(relation.primes) {
            self.exponents[index as usize] += 1;
        }
        for large in large_primes(relation) {
            *self.large.entry(large).or_default() += 1;
        }
    }

    /// The greatest common divisor of the number and x − y, where x² ≡ y² are the two sides of the
    /// product.
    fn divisor(self) -> Result<Integer, Error> {
        let number = self.number;
        if self.is_negative {
            return Err(Error::fault(format!("a negative square modulo {number}")));
        }
        let mut root = Integer::from(1);
        let primes = self
            .checker
            .base
            .primes
            .iter()
            .map(|prime| u64::from(*prime));
        let large = self
            .large
            .into_iter()
            .map(|(prime, exponent)| (prime.into(), exponent));
        for (prime, exponent) in primes.zip(self.exponents).chain(large) {
            if exponent % 2 != 0 {
                return Err(Error::fault(format!("no square modulo {number}")));
            }
            match exponent / 2 {
                0 => {}
                1 => root = root * prime % number,
                half => {
                    let power = Integer::from(prime).pow_mod(&half.into(), number);
                    root = root * power.map_err(|_| Error::fault("a power that is none"))? % number;
                }
            }
        }
        Ok((self.left - root).gcd(number))
    }
}

/// Dependencies that are tried before more relations are needed. They are random sums of all
/// dependencies, so that each gives a proper divisor with a probability of at least 1/2.
const MOST_TRIED: usize = 48;

/// Relations that are collected beyond the number of entries of their vectors: at least as many
/// independent dependencies exist.
const SPARE: u64 = 32;

/// Relations to collect in addition when linear algebra has found nothing.
const MORE: u64 = 256;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rug::ops::Pow;

    use super::super::relation::pack;
    use super::super::{Families, SieveKernel};
    use super::*;

    fn next_prime(base: u32, power: u32) -> Integer {
        Integer::from(base).pow(power).next_prime()
    }

    /// A product of two primes with 136 bits.
    fn semiprime() -> (Integer, Integer) {
        let p = next_prime(3, 43);
        (&p * next_prime(5, 29), p)
    }

    fn ready(number: &Integer) -> Box<Collector> {
        match Collector::start(number).unwrap() {
            Start::Ready(collector) => collector,
            Start::Divisor(divisor) => panic!("{divisor}"),
        }
    }

    fn families(number: &Integer) -> Families {
        Families::new(number, SieveKernel::fastest(), &Cancel::new()).unwrap()
    }

    #[test]
    fn ranges_in_any_order_give_the_factors() {
        let (n, p) = semiprime();
        let mut families = families(&n);
        let mut collector = ready(&n);
        let mut first = 1000;
        let divisor = loop {
            first -= 4;
            let (packet, done) = families.sieve(first..first + 4, &Cancel::new()).unwrap();
            assert_eq!(done, 4);
            let added = collector.add(&packet);
            assert!(added.new > 0 && added.wrong == 0, "{added:?}");
            // Adding the packet again changes nothing.
            let again = collector.add(&packet);
            assert_eq!((again.new, again.wrong), (0, 0));
            assert_eq!(again.known, added.new + added.known);
            if collector.is_ready()
                && let Some(divisor) = collector
                    .solve(NonZero::<usize>::MIN, &Cancel::new())
                    .unwrap()
            {
                break divisor;
            }
        };
        assert!(divisor == p || divisor == n / p);
    }

    #[test]
    fn relations_that_do_not_hold_do_not_count() {
        let (n, _) = semiprime();
        let mut collector = ready(&n);
        let (packet, _) = families(&n).sieve(0..2, &Cancel::new()).unwrap();
        let (unpacked, _) = unpack(&packet);
        let mut reader = Reader::new(&unpacked);
        let good = reader.next().unwrap();
        let more = [good.primes, &[40]].concat();
        let two = [&[0], good.primes].concat();
        let outside = [good.primes, &[u32::MAX]].concat();
        let bad = [
            Relation {
                family: good.family + 1,
                ..good
            },
            Relation {
                polynomial: good.polynomial ^ 1,
                ..good
            },
            Relation {
                polynomial: u32::MAX,
                ..good
            },
            Relation {
                place: good.place ^ 1,
                ..good
            },
            Relation {
                place: u16::MAX,
                ..good
            },
            Relation {
                primes: &good.primes[1..],
                ..good
            },
            Relation {
                primes: &more,
                ..good
            },
            Relation {
                primes: &two,
                ..good
            },
            Relation {
                primes: &outside,
                ..good
            },
            Relation {
                large: good.large.map(|large| large + 1),
                ..good
            },
            Relation {
                large: [0, 0],
                ..good
            },
            Relation {
                large: [1, u32::MAX],
                ..good
            },
        ];
        for relation in bad {
            assert_eq!(collector.add_one(&relation), None, "{relation:?}");
        }
        // The cofactor of a value is not a large prime if it exceeds the bound.
        let all_large = good.primes.iter().fold(good.large[1], |product, &index| {
            product.saturating_mul(collector.checker.base.primes[index as usize])
        });
        assert_eq!(
            collector.add_one(&Relation {
                primes: &[],
                large: [1, all_large],
                ..good
            }),
            None
        );
        assert_eq!(collector.relations(), 0);
        assert_eq!(collector.add_one(&good), Some(true));
        assert_eq!(collector.add_one(&good), Some(false));
        // The relations before the cut in a packet count.
        let mut collector = ready(&n);
        let all = collector.add(&packet).new;
        let mut collector = ready(&n);
        let added = collector.add(&pack(&unpacked[..unpacked.len() - 1]).unwrap());
        assert_eq!((added.new, added.wrong), (all - 1, 1));
        let added = collector.add(&packet[..packet.len() - 1]);
        assert_eq!((added.new, added.wrong), (1, 1));
    }

    #[test]
    fn a_prime_of_the_factor_base_is_a_divisor() {
        let n = next_prime(2, 10) * next_prime(3, 100);
        let Start::Divisor(divisor) = Collector::start(&n).unwrap() else {
            panic!("{n}")
        };
        assert_eq!(divisor, next_prime(2, 10));
        assert!(Families::new(&n, SieveKernel::fastest(), &Cancel::new()).is_err());
    }

    #[test]
    fn the_share_of_the_work_is_what_the_growth_makes_of_it() {
        for growth in [single_growth, double_growth] {
            assert_eq!(growth(1.0), 1.0);
            let share = |whole, combined| share_done(whole, combined, growth, 1000.0);
            assert!(share(0.0, 0.0) < 1e-9);
            assert!((share(250.0, 0.0) - 0.25).abs() < 1e-9);
            // At the end, 400 relations are whole and 600 combined.
            assert!((share(200.0, 600.0 * growth(0.5)) - 0.5).abs() < 1e-9);
            assert_eq!(share(400.0, 600.0), 1.0);
            assert_eq!(share(400.0, 700.0), 1.0);
        }
    }

    #[test]
    fn numbers_that_are_there_an_odd_number_of_times_are_kept() {
        let mut numbers = vec![1, 2, 2, 3, 3, 3, 7, 9, 9, 9, 9];
        keep_odd(&mut numbers);
        assert_eq!(numbers, [1, 3, 7]);
    }
}
