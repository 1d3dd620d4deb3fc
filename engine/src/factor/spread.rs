//! One hard composite on many machines: batches of curves, and the quadratic sieve cut into ranges of polynomial families.
//!
//! Whoever coordinates makes the batches and keeps a [`Collector`]; whoever works holds [`Families`] or calls [`curves`]. Nothing
//! passes between them but the composite, ranges of numbers, and packets of relations: any batch is as good as any other, so one that
//! is lost is replaced by another, and none has to be waited for.
//!
//! # Relations
//!
//! A relation is root² ≡ (−1)^sign · Π p^e · (large primes) modulo the composite, with primes p of the factor base. The collector checks
//! each before it counts, so that nobody can spoil the sieve with wrong ones, and drops those that it has. A packet is a sequence of
//! relations, each:
//!
//! | bytes | meaning |
//! |---|---|
//! | as many as the composite has | root, least significant first |
//! | 1 | bit 0: sign; bits 1 and 2: number of large primes, 0 to 2 |
//! | LEB128 each | the large primes |
//! | LEB128 | number of pairs that follow |
//! | LEB128 each | 2 · (distance from the index before) + (1 if an exponent other than 1 follows), then that exponent; indices rise |
//!
//! At 256 bits that is about a third of what the sieve's own form takes, and half of the rest are roots, which do not get smaller by
//! compression.
//!
//! # Sources
//!
//! The sieve is that of the crate `rusqsieve`, release 0.1: the last one whose parts can be called apart. Its large primes are
//! combined as in Lenstra and Manasse, *Factoring with two large primes*, 1994.

use std::collections::HashSet;
use std::ops::Range;

use rug::Integer;
use rug::integer::Order;
use rusqsieve_parts::low_level::{
    EngineContext, EngineJob, EngineSession, execute_engine_job, prepare_engine, prepare_siqs,
};
use rusqsieve_parts::qs::{AutoOr, MultiplierChoice, QsConfig, QsError, parameters};
use rusqsieve_parts::{Natural, PARTS};

use super::{MAX_CURVE_BITS, MAX_SIEVE_BITS, ecm};
use crate::{Cancel, Error};

/// The least number of bits of a composite that this is made for: the factor base below is too small to choose polynomials from.
pub const MIN_BITS: u32 = 128;

/// Bytes of a packet above which a range of families ends early.
const MAX_PACKET: usize = 6 << 20;

/// A level of curves: a run of p − 1, and curves with one bound.
pub use super::ecm::Level;

/// What is worth trying on a composite of so many bits, of whose factors nothing is known, before the sieve is put to it; or instead of the
/// sieve, if it is too large for that; nothing beyond [`MAX_CURVE_BITS`]. What a worker has tried first is left out.
#[must_use]
pub fn levels(bits: u32) -> Vec<Level> {
    let levels = if bits <= MAX_SIEVE_BITS {
        ecm::before_sieve(bits)
    } else if bits <= MAX_CURVE_BITS {
        ecm::up_to(MOST_DIGITS)
    } else {
        Vec::new()
    };
    levels
        .into_iter()
        .filter(|level| level.digits > TRIED_DIGITS)
        .collect()
}

/// Digits of the factors that are looked for in what the sieve does not take: some minutes of one core at 400 bits, half an hour at 1024.
const MOST_DIGITS: u32 = 30;

/// Factors of so many digits have been looked for by whoever left the composite; see [`Limits::before_spreading`].
///
/// [`Limits::before_spreading`]: super::Limits::before_spreading
pub(super) const TRIED_DIGITS: u32 = 10;

/// Expected seconds of a curve with this bound.
#[must_use]
pub fn curve_seconds(b1: u32, bits: u32) -> f64 {
    ecm::curve_us(b1, bits) as f64 / 1e6
}

/// Expected seconds of the whole sieve: measured up to 256 bits.
#[must_use]
pub fn sieve_seconds(bits: u32) -> f64 {
    ecm::sieve_ms(bits) as f64 / 1e3
}

/// Expected seconds of a polynomial family: measured at 192, 224, 240, 256, 288 and 320 bits.
#[must_use]
pub fn family_seconds(bits: u32) -> f64 {
    match bits {
        0..=208 => 0.01,
        209..=224 => 0.04,
        225..=248 => 0.05,
        249..=272 => 0.07,
        273..=304 => 0.2,
        _ => 2.0,
    }
}

/// A proper divisor of a composite by curves `range` of a level, if one of them finds it; before the first curve also by p − 1 with
/// bound `p_minus_1`, unless that is 0. `done` is told the curves done.
///
/// # Errors
///
/// [`Error::Cancelled`], and [`Error::Fault`] if a divisor is none.
pub fn curves(
    n: &Integer,
    b1: u32,
    p_minus_1: u32,
    range: Range<u32>,
    cancel: &Cancel,
    done: &mut dyn FnMut(u64),
) -> Result<Option<Integer>, Error> {
    if range.start == 0 && p_minus_1 > 0 {
        let divisor = ecm::p_minus_1(n, p_minus_1, cancel)?;
        if divisor.is_some() {
            return Ok(divisor);
        }
    }
    // Other curves than those of other ranges, and than those that `Engine::factor` tries.
    let seed = u64::from(b1) << 32 | 1 << 31 | u64::from(range.start);
    ecm::curves(n, b1, range.end - range.start, seed, cancel, done)
}

/// The sieve as a worker holds it: for one composite.
pub struct Families {
    number: Integer,
    context: EngineContext,
}

impl std::fmt::Debug for Families {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Families of {}", self.number)
    }
}

impl Families {
    /// Takes some tens of milliseconds.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for numbers out of [`MIN_BITS`]`..=`[`MAX_SIEVE_BITS`], and if a prime of the factor base divides the number.
    pub fn new(number: &Integer) -> Result<Self, Error> {
        Ok(Self {
            context: prepare_engine(natural(number)?)
                .map_err(|error| Error::invalid(format!("no sieve for {number}: {error}")))?,
            number: number.clone(),
        })
    }

    /// The composite.
    #[must_use]
    pub fn number(&self) -> &Integer {
        &self.number
    }

    /// The relations of these families, as a packet, and how many families that are: a range with too many relations for one packet
    /// ends early. Looks at `cancel` after each family (40 ms at 224 bits, 70 ms at 256, 2 s at 320).
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`], and [`Error::Fault`] if what the sieve gives cannot be read.
    pub fn sieve(&self, families: Range<u64>, cancel: &Cancel) -> Result<(Vec<u8>, u64), Error> {
        let mut packet = Vec::new();
        let mut done = 0;
        for family in families {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let bytes = execute_engine_job(&self.context, EngineJob { family }).to_bytes();
            let relations = Raw(&bytes)
                .family()
                .ok_or_else(|| Error::fault("the sieve's relations cannot be read"))?;
            let width = width(&self.number);
            for relation in &relations {
                relation.write(width, &mut packet);
            }
            done += 1;
            if packet.len() > MAX_PACKET {
                break;
            }
        }
        Ok((packet, done))
    }
}

/// Why a composite is not put to the sieve.
#[derive(Debug)]
pub enum Start {
    /// It is: relations may come.
    Ready(Box<Collector>),
    /// This divides it.
    Divisor(Integer),
}

/// Relations of one composite, on their way to its factors.
pub struct Collector {
    number: Integer,
    base: Vec<u32>,
    session: EngineSession,
    /// The next packet goes to the session as this family.
    family: u64,
    /// Roots of the relations that it has, or rather 64 bits of each.
    seen: HashSet<u64>,
    /// More than the session asks for, once that was not enough.
    extra: u64,
}

impl std::fmt::Debug for Collector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (has, needed) = (self.relations(), self.needed());
        write!(f, "{has} of {needed} relations of {}", self.number)
    }
}

/// What came of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// Relations that hold and are new.
    pub new: u64,
    /// Relations that hold and were known.
    pub known: u64,
    /// Relations that do not hold. Where the packet cannot be read any further, the rest of it counts as one.
    pub wrong: u64,
}

/// Families that are sieved to find out how the sieve numbers its primes.
const PROBED: u64 = 64;

/// Relations to be seen for that.
const ENOUGH: usize = 8;

/// Greatest multiplier that the sieve may choose.
const MAX_MULTIPLIER: u32 = 64;

/// Largest exponent that a relation can have: numbers that are sieved have fewer bits.
const MAX_EXPONENT: u32 = 1024;

impl Collector {
    /// Starts to collect. Takes up to some seconds.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for numbers out of [`MIN_BITS`]`..=`[`MAX_SIEVE_BITS`]; [`Error::Fault`] if the sieve cannot be used on this one.
    pub fn start(number: &Integer) -> Result<Start, Error> {
        let small = natural(number)?;
        let families = match Families::new(number) {
            Ok(families) => families,
            Err(error) => {
                let prepared = prepare_siqs(&small, &config(number, 1));
                let Err(QsError::FactorFound(prime)) = prepared else {
                    return Err(error);
                };
                return Ok(Start::Divisor(prime.into()));
            }
        };
        // The multiplier decides which primes are in the base, and so what the indices in relations mean. The sieve chooses it and does
        // not say which: it is the one with which its relations hold, most often the one that it should choose.
        let mut sample = Vec::new();
        for family in 0..PROBED {
            let bytes = execute_engine_job(&families.context, EngineJob { family }).to_bytes();
            sample.extend(Raw(&bytes).family().into_iter().flatten());
            if sample.len() >= ENOUGH {
                break;
            }
        }
        let mut bases = multipliers(number).into_iter().filter_map(|multiplier| {
            let prepared = prepare_siqs(&small, &config(number, multiplier)).ok()?;
            let base = prepared.factor_base().entries().iter();
            Some(base.map(|entry| entry.prime).collect::<Vec<_>>())
        });
        let base = bases.find(|base| {
            let holds = |relation: &Relation| relation.holds(number, base);
            !sample.is_empty() && sample.iter().all(holds)
        });
        let base = base.ok_or_else(|| Error::fault(format!("the sieve of {number} is unknown")))?;
        Ok(Start::Ready(Box::new(Self {
            number: number.clone(),
            base,
            session: EngineSession::new(families.context),
            family: 0,
            seen: HashSet::new(),
            extra: 0,
        })))
    }

    /// Takes the relations of a packet that hold and are new.
    pub fn add(&mut self, packet: &[u8]) -> Added {
        let width = width(&self.number);
        let mut added = Added::default();
        let mut good = Vec::new();
        let mut rest = packet;
        while !rest.is_empty() {
            let Some(relation) = Relation::read(width, &mut rest) else {
                added.wrong += 1;
                break;
            };
            if !relation.holds(&self.number, &self.base) {
                added.wrong += 1;
            } else if self.seen.insert(relation.mark(&self.number)) {
                good.push(relation);
                added.new += 1;
            } else {
                added.known += 1;
            }
        }
        if !good.is_empty() {
            // The session merges in the order of the families' numbers and uses these for nothing else: in the order of arrival
            // nothing waits for what is slow or lost.
            self.session.submit_bytes(&Raw::write(self.family, &good));
            self.family += 1;
        }
        added
    }

    /// Relations without large primes, found or combined.
    #[must_use]
    pub fn relations(&self) -> u64 {
        self.session.relations() as u64
    }

    /// How many of them are needed.
    #[must_use]
    pub fn needed(&self) -> u64 {
        self.session.target() as u64 + self.extra
    }

    /// Whether there are enough.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.relations() >= self.needed()
    }

    /// A proper divisor of the composite by linear algebra: up to seconds of one core. `None` if these relations give none, whereupon more
    /// are needed.
    ///
    /// # Errors
    ///
    /// [`Error::Fault`] if the divisor is none.
    pub fn solve(&mut self) -> Result<Option<Integer>, Error> {
        let Ok(divisor) = self.session.extract_factor() else {
            self.extra = self.relations() - self.session.target() as u64 + MORE;
            return Ok(None);
        };
        let divisor = integer(&divisor);
        if divisor > 1 && divisor < self.number && self.number.is_divisible(&divisor) {
            Ok(Some(divisor))
        } else {
            let number = &self.number;
            Err(Error::fault(format!("{divisor} as a divisor of {number}")))
        }
    }
}

/// Relations to go on for when the linear algebra has found nothing.
const MORE: u64 = 256;

/// Small multipliers k, the best ones first: with them many small primes divide values x² − k·number. The measure is that of
/// Silverman, *The multiple polynomial quadratic sieve*, 1987, section 5.
fn multipliers(number: &Integer) -> Vec<u32> {
    const PRIMES_BELOW: u32 = 2000;
    let primes: Vec<u32> = (3..PRIMES_BELOW)
        .step_by(2)
        .filter(|n| {
            (3..)
                .step_by(2)
                .take_while(|d| d * d <= *n)
                .all(|d| n % d != 0)
        })
        .collect();
    let mut scored: Vec<(f64, u32)> = (1..=MAX_MULTIPLIER)
        .map(|k| {
            let multiple = Integer::from(number * k);
            let two = match multiple.mod_u(8) {
                1 => 2.0,
                5 => 1.0,
                _ => 0.5,
            };
            let mut score = two * std::f64::consts::LN_2 - f64::from(k).ln() / 2.0;
            for &p in &primes {
                let log = f64::from(p).ln();
                score += match multiple.jacobi(&p.into()) {
                    1 => 2.0 * log / f64::from(p - 1),
                    0 => log / f64::from(p),
                    _ => 0.0,
                };
            }
            (score, k)
        })
        .collect();
    scored.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    scored.into_iter().map(|(_, k)| k).collect()
}

fn config(number: &Integer, multiplier: u32) -> QsConfig {
    let bits = number.significant_bits() as usize;
    QsConfig {
        factor_base_bound: AutoOr::Value(parameters::engine_params(bits).factor_base_bound),
        multiplier: MultiplierChoice::Value(multiplier),
        ..QsConfig::default()
    }
}

fn natural(number: &Integer) -> Result<Natural, Error> {
    let bits = number.significant_bits();
    if number.is_negative() || !(MIN_BITS..=MAX_SIEVE_BITS).contains(&bits) {
        return Err(Error::invalid(format!(
            "the sieve takes {MIN_BITS} to {MAX_SIEVE_BITS} bits, not {bits}"
        )));
    }
    let bytes = number.to_digits::<u8>(Order::Lsf);
    Natural::from_le_bytes(&bytes).map_err(|_| Error::fault("a number does not fit"))
}

fn integer(natural: &Natural) -> Integer {
    Integer::from_digits(natural.as_parts(), Order::Lsf)
}

/// Bytes of a root.
fn width(number: &Integer) -> usize {
    number.significant_digits::<u8>()
}

/// One relation.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Relation {
    root: Integer,
    negative: bool,
    /// Indices into the factor base, rising, and exponents.
    powers: Vec<(u32, u32)>,
    large: Vec<u64>,
}

impl Relation {
    fn write(&self, width: usize, packet: &mut Vec<u8>) {
        let start = packet.len();
        packet.resize(start + width, 0);
        let digits = self.root.significant_digits::<u8>().min(width);
        self.root
            .write_digits(&mut packet[start..start + digits], Order::Lsf);
        packet.push(u8::from(self.negative) | (self.large.len() as u8) << 1);
        for prime in &self.large {
            push_leb128(*prime, packet);
        }
        push_leb128(self.powers.len() as u64, packet);
        let mut before = 0;
        for &(index, exponent) in &self.powers {
            let distance = u64::from(index - before);
            push_leb128(2 * distance + u64::from(exponent != 1), packet);
            if exponent != 1 {
                push_leb128(exponent.into(), packet);
            }
            before = index;
        }
    }

    /// Takes one from the start of `rest`. Needs no more memory than some times its bytes.
    fn read(width: usize, rest: &mut &[u8]) -> Option<Self> {
        let root = Integer::from_digits(rest.split_off(..width)?, Order::Lsf);
        let head = *rest.split_off_first()?;
        let mut large = Vec::new();
        if head >> 1 > 2 {
            return None;
        }
        for _ in 0..head >> 1 {
            large.push(pop_leb128(rest)?);
        }
        let count = pop_leb128(rest)?;
        let mut powers = Vec::new();
        let mut before = 0_u32;
        for _ in 0..count {
            let word = pop_leb128(rest)?;
            let index = before.checked_add(u32::try_from(word / 2).ok()?)?;
            // The first may be 0; each of the others is above the one before it.
            if index == before && !powers.is_empty() {
                return None;
            }
            let exponent = if word % 2 == 0 {
                1
            } else {
                u32::try_from(pop_leb128(rest)?).ok()?
            };
            powers.push((index, exponent));
            before = index;
        }
        Some(Self {
            root,
            negative: head & 1 != 0,
            powers,
            large,
        })
    }

    /// Whether it is one, with these primes.
    fn holds(&self, number: &Integer, base: &[u32]) -> bool {
        if self.root.is_zero() || self.root >= *number || self.large.contains(&0) {
            return false;
        }
        let mut right = Integer::from(if self.negative { -1 } else { 1 });
        for &prime in &self.large {
            right *= prime;
        }
        for &(index, exponent) in &self.powers {
            let Some(&prime) = base.get(index as usize) else {
                return false;
            };
            if !(1..=MAX_EXPONENT).contains(&exponent) {
                return false;
            }
            for _ in 0..exponent {
                right *= prime;
            }
            if right.significant_bits() > 2 * number.significant_bits() {
                right %= number;
            }
        }
        (Integer::from(self.root.square_ref()) - right).is_divisible(number)
    }

    /// What tells it from others: its root, up to the sign.
    fn mark(&self, number: &Integer) -> u64 {
        let other = Integer::from(number - &self.root);
        (&other).min(&self.root).to_u64_wrapping()
    }
}

fn push_leb128(mut value: u64, bytes: &mut Vec<u8>) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn pop_leb128(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..u64::BITS).step_by(7) {
        let byte = *bytes.split_off_first()?;
        let bits = u64::from(byte & 0x7f);
        value |= bits << shift;
        // No bits are lost.
        if value >> shift != bits {
            return None;
        }
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The sieve's own form of the relations of a family, as the documentation of its `EngineJobResult::to_bytes` describes it.
struct Raw<'a>(&'a [u8]);

impl Raw<'_> {
    fn write(family: u64, relations: &[Relation]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(family.to_le_bytes());
        bytes.extend(0_u64.to_le_bytes());
        bytes.extend((relations.len() as u32).to_le_bytes());
        for relation in relations {
            let mut root = [0_u64; PARTS];
            relation.root.write_digits(&mut root[..], Order::Lsf);
            bytes.extend(root.iter().flat_map(|part| part.to_le_bytes()));
            bytes.push(relation.negative.into());
            bytes.push(relation.large.len() as u8);
            bytes.extend(relation.large.iter().flat_map(|prime| prime.to_le_bytes()));
            bytes.extend((relation.powers.len() as u32).to_le_bytes());
            for &(index, exponent) in &relation.powers {
                bytes.extend(index.to_le_bytes());
                // Checked before: at most `MAX_EXPONENT`.
                bytes.extend((exponent as u16).to_le_bytes());
            }
        }
        bytes
    }

    fn family(mut self) -> Option<Vec<Relation>> {
        let (_family, _polynomials) = (self.word()?, self.word()?);
        let count = u32::from_le_bytes(self.take()?);
        let relations = (0..count).map(|_| self.relation()).collect();
        if self.0.is_empty() { relations } else { None }
    }

    fn relation(&mut self) -> Option<Relation> {
        let root = Integer::from_digits(self.0.split_off(..PARTS * 8)?, Order::Lsf);
        let [negative] = self.take()?;
        let [count] = self.take()?;
        let large = (0..count).map(|_| self.word()).collect::<Option<_>>()?;
        let count = u32::from_le_bytes(self.take()?);
        let mut powers = Vec::new();
        for _ in 0..count {
            let index = u32::from_le_bytes(self.take()?);
            powers.push((index, u16::from_le_bytes(self.take()?).into()));
        }
        powers.sort_unstable();
        Some(Relation {
            root,
            negative: negative != 0,
            powers,
            large,
        })
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.0.split_off(..N)?.try_into().ok()
    }

    fn word(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use rug::ops::Pow;

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

    #[test]
    fn ranges_in_any_order_give_the_factors() {
        let (n, p) = semiprime();
        let families = Families::new(&n).unwrap();
        let mut collector = ready(&n);
        let mut first = 1000;
        let divisor = loop {
            first -= 8;
            let (packet, done) = families.sieve(first..first + 8, &Cancel::new()).unwrap();
            assert_eq!(done, 8);
            let added = collector.add(&packet);
            assert!(added.new > 0 && added.wrong == 0, "{added:?}");
            // The same once more changes nothing.
            let again = collector.add(&packet);
            assert_eq!((again.new, again.wrong), (0, 0));
            assert_eq!(again.known, added.new + added.known);
            if collector.is_ready()
                && let Some(divisor) = collector.solve().unwrap()
            {
                break divisor;
            }
        };
        assert!(divisor == p || divisor == n / p);
    }

    #[test]
    fn relations_that_do_not_hold_do_not_count() {
        let (n, _) = semiprime();
        let families = Families::new(&n).unwrap();
        let mut collector = ready(&n);
        let (packet, _) = families.sieve(0..4, &Cancel::new()).unwrap();
        let width = width(&n);
        let mut relations = Vec::new();
        let mut rest = &packet[..];
        while !rest.is_empty() {
            relations.push(Relation::read(width, &mut rest).unwrap());
        }
        let changes: [fn(&mut Relation); 6] = [
            |relation| relation.root += 1,
            |relation| relation.negative = !relation.negative,
            |relation| relation.powers[0].1 += 1,
            |relation| relation.powers.push((u32::MAX, 1)),
            |relation| relation.large = vec![0],
            |relation| relation.root.assign_zero(),
        ];
        for change in changes {
            let mut bad = relations[0].clone();
            change(&mut bad);
            let mut packet = Vec::new();
            bad.write(width, &mut packet);
            let added = collector.add(&packet);
            assert_eq!((added.new, added.known, added.wrong), (0, 0, 1), "{bad:?}");
        }
        assert_eq!(collector.relations(), 0);
        // What comes before the end of a packet that was cut counts.
        let added = collector.add(&packet[..packet.len() - 1]);
        assert_eq!((added.new, added.wrong), (relations.len() as u64 - 1, 1));
    }

    trait AssignZero {
        fn assign_zero(&mut self);
    }

    impl AssignZero for Integer {
        fn assign_zero(&mut self) {
            *self = Integer::new();
        }
    }

    #[test]
    fn a_prime_of_the_factor_base_is_a_divisor() {
        let n = next_prime(2, 15) * next_prime(3, 100);
        let Start::Divisor(divisor) = Collector::start(&n).unwrap() else {
            panic!("{n}")
        };
        assert_eq!(divisor, next_prime(2, 15));
        assert!(Families::new(&n).is_err());
    }

    #[test]
    fn curves_find_what_their_level_is_for() {
        // A factor of 17 digits.
        let p = next_prime(10, 16);
        let n = &p * next_prime(7, 70);
        let levels = levels(n.significant_bits());
        let level = levels.iter().find(|level| level.digits == 20).unwrap();
        let found = (0..level.curves).step_by(20).find_map(|first| {
            let range = first..first + 20;
            curves(
                &n,
                level.b1,
                level.p_minus_1,
                range,
                &Cancel::new(),
                &mut |_| {},
            )
            .unwrap()
        });
        assert_eq!(found, Some(p));
    }

    #[test]
    fn a_cancel_ends_both() {
        let (n, _) = semiprime();
        let cancel = Cancel::new();
        cancel.cancel();
        let families = Families::new(&n).unwrap();
        assert!(matches!(
            families.sieve(0..9, &cancel),
            Err(Error::Cancelled)
        ));
        let cancelled = curves(&n, 11_000, 0, 0..9, &cancel, &mut |_| {});
        assert!(matches!(cancelled, Err(Error::Cancelled)));
    }

    #[test]
    fn sizes_are_checked() {
        for bits in [MIN_BITS - 1, MAX_SIEVE_BITS + 1] {
            let n = Integer::from(1) << (bits - 1);
            assert!(matches!(Families::new(&n), Err(Error::Invalid { .. })));
            assert!(matches!(Collector::start(&n), Err(Error::Invalid { .. })));
        }
    }

    proptest! {
        #[test]
        fn anything_can_come_as_a_packet(packet in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut rest = &packet[..];
            while let Some(relation) = Relation::read(17, &mut rest) {
                let mut again = Vec::new();
                relation.write(17, &mut again);
                prop_assert_eq!(Relation::read(17, &mut &again[..]), Some(relation));
            }
        }

        #[test]
        fn a_word_is_read_as_it_was_written(value: u64) {
            let mut bytes = Vec::new();
            push_leb128(value, &mut bytes);
            prop_assert_eq!(pop_leb128(&mut &bytes[..]), Some(value));
        }
    }
}
