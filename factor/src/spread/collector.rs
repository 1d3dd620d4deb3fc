//! Whoever coordinates the sieve: checks relations, counts those that can be combined, and gets a divisor from them.
//!
//! Large primes are combined as in Lenstra and Manasse, *Factoring with two large primes*, 1994, with the count of cycles as there. Which
//! relations make a square is for [`nullspace`] to say, to which a large prime is a prime like any other.

use std::collections::{HashMap, HashSet};
use std::num::NonZero;

use rug::Integer;
use rusqsieve_parts::low_level::{EngineJob, execute_engine_job, prepare_siqs};
use rusqsieve_parts::qs::{AutoOr, MultiplierChoice, QsConfig, QsError, parameters};

use super::relation::{Raw, Relation, unpack};
use super::{Families, natural, nullspace, width};
use crate::Error;

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
    /// Relations that hold, one after the other as in a packet.
    kept: Vec<u8>,
    cycles: Cycles,
    /// Roots of the relations that it has, or rather 64 bits of each.
    seen: HashSet<u64>,
    /// More than that, once it was not enough.
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
            kept: Vec::new(),
            cycles: Cycles::new(),
            seen: HashSet::new(),
            extra: 0,
        })))
    }

    /// Takes the relations of a packet that hold and are new.
    pub fn add(&mut self, packet: &[u8]) -> Added {
        let (relations, whole) = unpack(packet);
        let mut added = self.take(&relations);
        added.wrong = added.wrong.max((!whole).into()); // half a relation at the end counts already
        added
    }

    fn take(&mut self, relations: &[u8]) -> Added {
        let width = width(&self.number);
        let mut added = Added::default();
        let mut rest = relations;
        while !rest.is_empty() {
            let from = rest;
            let Some(relation) = Relation::read(width, &mut rest) else {
                added.wrong += 1;
                break;
            };
            if !relation.holds(&self.number, &self.base) {
                added.wrong += 1;
            } else if self.seen.insert(relation.mark(&self.number)) {
                self.kept.extend(&from[..from.len() - rest.len()]);
                self.cycles.add(&relation.large);
                added.new += 1;
            } else {
                added.known += 1;
            }
        }
        added
    }

    /// Relations without large primes, found or combined.
    #[must_use]
    pub fn relations(&self) -> u64 {
        self.cycles.closed
    }

    /// How many of them are needed.
    #[must_use]
    pub fn needed(&self) -> u64 {
        // One for each prime and one for the sign are enough for one dependency.
        self.base.len() as u64 + 1 + SPARE + self.extra
    }

    /// Whether there are enough.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.relations() >= self.needed()
    }

    /// A proper divisor of the composite by linear algebra on up to `threads` threads. `None` if
    /// these relations give none, whereupon more are needed.
    ///
    /// # Errors
    ///
    /// [`Error::Fault`] if a dependency is none.
    pub fn solve(&mut self, threads: NonZero<usize>) -> Result<Option<Integer>, Error> {
        let (mut starts, mut vectors, mut large) = (Vec::new(), Vec::new(), HashMap::new());
        let entries_of_base = self.base.len() as u32 + 1;
        let mut rest = &self.kept[..];
        while !rest.is_empty() {
            starts.push(self.kept.len() - rest.len());
            let relation = self.read(&mut rest)?;
            vectors.push(relation.odd(|prime| {
                let next = entries_of_base + large.len() as u32;
                *large.entry(prime).or_insert(next)
            }));
        }
        let entries = entries_of_base as usize + large.len();
        drop(large);
        for set in nullspace::dependencies(&vectors, entries, MOST_TRIED, threads) {
            let relations = set.into_iter().map(|at| {
                let mut rest = &self.kept[starts[at as usize]..];
                self.read(&mut rest)
            });
            let divisor = self.divisor(relations)?;
            if divisor > 1 && divisor < self.number {
                return Ok(Some(divisor));
            }
        }
        self.extra += (self.relations() + MORE).saturating_sub(self.needed());
        Ok(None)
    }

    fn read(&self, rest: &mut &[u8]) -> Result<Relation, Error> {
        Relation::read(width(&self.number), rest)
            .ok_or_else(|| Error::fault("a relation that was kept cannot be read"))
    }

    /// The greatest common divisor of the number and x − y, where x² ≡ y² are the sides of the product of relations.
    fn divisor(
        &self,
        relations: impl Iterator<Item = Result<Relation, Error>>,
    ) -> Result<Integer, Error> {
        let number = &self.number;
        let (mut x, mut y) = (Integer::from(1), Integer::from(1));
        let mut negative = false;
        let mut exponents = vec![0_u64; self.base.len()];
        let mut large = HashMap::new();
        for relation in relations {
            let relation = relation?;
            x = x * relation.root % number;
            negative ^= relation.negative;
            for (index, exponent) in relation.powers {
                exponents[index as usize] += u64::from(exponent);
            }
            for prime in relation.large.into_iter().filter(|prime| *prime != 1) {
                *large.entry(prime).or_default() += 1;
            }
        }
        let primes = self.base.iter().map(|prime| u64::from(*prime));
        for (prime, exponent) in primes.zip(exponents).chain(large) {
            if exponent % 2 != 0 {
                return Err(Error::fault(format!("no square modulo {number}")));
            }
            let power = Integer::from(prime).pow_mod(&(exponent / 2).into(), number);
            y = y * power.map_err(|_| Error::fault("a power that is none"))? % number;
        }
        if negative {
            return Err(Error::fault(format!("a negative square modulo {number}")));
        }
        Ok((x - y).gcd(number))
    }
}

/// Dependencies that are looked at before more relations are asked for. They are sums at random of all that there are, so that each gives a proper
/// divisor with a probability of a half at least, also when somebody has sent any number of relations that hold and say nothing.
const MOST_TRIED: usize = 48;

/// Relations that are collected beyond those without which there may be no dependency.
const SPARE: u64 = 32;

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

/// How many relations without large primes there are to be had: those found, and one for each cycle in the graph whose vertices are the large
/// primes and 1, and whose edges are the relations with one or two of them.
struct Cycles {
    vertices: HashMap<u64, u32>,
    /// Of each vertex, one that is nearer to the root of its component, or itself.
    parents: Vec<u32>,
    closed: u64,
}

impl Cycles {
    fn new() -> Self {
        Self {
            vertices: HashMap::from([(1, 0)]),
            parents: vec![0],
            closed: 0,
        }
    }

    fn add(&mut self, large: &[u64]) {
        let [a, b] = [0, 1].map(|at| self.root(large.get(at).copied().unwrap_or(1)));
        if a == b {
            self.closed += 1;
        } else {
            self.parents[a.max(b) as usize] = a.min(b);
        }
    }

    fn root(&mut self, prime: u64) -> u32 {
        let next = self.parents.len() as u32;
        let mut vertex = *self.vertices.entry(prime).or_insert(next);
        if vertex == next {
            self.parents.push(next);
        }
        loop {
            let parent = self.parents[vertex as usize];
            if parent == vertex {
                return vertex;
            }
            // Paths get half as long each time that they are gone.
            let next = self.parents[parent as usize];
            self.parents[vertex as usize] = next;
            vertex = next;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::{next_prime, semiprime};
    use super::*;
    use crate::Cancel;

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
                && let Some(divisor) = collector.solve(NonZero::<usize>::MIN).unwrap()
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
        let (unpacked, _) = unpack(&packet);
        let mut relations = Vec::new();
        let mut rest = &unpacked[..];
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
            let mut unpacked = Vec::new();
            bad.write(width, &mut unpacked);
            let added = collector.take(&unpacked);
            assert_eq!((added.new, added.known, added.wrong), (0, 0, 1), "{bad:?}");
        }
        assert_eq!(collector.relations(), 0);
        // What comes before the end of a packet that was cut counts.
        let added = collector.take(&unpacked[..unpacked.len() - 1]);
        assert_eq!((added.new, added.wrong), (relations.len() as u64 - 1, 1));
        let added = collector.add(&packet[..packet.len() - 1]);
        assert_eq!((added.new, added.wrong), (1, 1));
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
    fn relations_that_say_nothing_do_not_hide_the_others() {
        let (n, p) = semiprime();
        let families = Families::new(&n).unwrap();
        let mut collector = ready(&n);
        // (Π primes)² = Π primes²
        let mut junk = Vec::new();
        for pair in 0..2 * collector.needed() as u32 {
            let powers = vec![(1 + pair % 50, 2), (60 + pair / 50, 2)];
            let prime = |(index, _): &(u32, u32)| Integer::from(collector.base[*index as usize]);
            let relation = Relation {
                root: powers.iter().map(prime).product(),
                negative: false,
                powers,
                large: Vec::new(),
            };
            relation.write(width(&n), &mut junk);
        }
        let added = collector.take(&junk);
        assert_eq!((added.new, added.wrong), (2 * collector.needed(), 0));
        assert!(collector.is_ready());
        let mut first = 0;
        let divisor = loop {
            if collector.is_ready()
                && let Some(divisor) = collector.solve(NonZero::<usize>::MIN).unwrap()
            {
                break divisor;
            }
            collector.add(&families.sieve(first..first + 8, &Cancel::new()).unwrap().0);
            first += 8;
        };
        assert!(divisor == p || divisor == n / p);
    }

    #[test]
    fn cycles_are_counted() {
        let mut cycles = Cycles::new();
        let edges: [(&[u64], u64); 9] = [
            (&[], 1),
            (&[1], 2),
            (&[5, 5], 3),
            (&[7, 11], 3),
            (&[11, 13], 3),
            (&[13, 7], 4),
            (&[7], 4),
            (&[13], 5),
            (&[13], 6),
        ];
        for (large, closed) in edges {
            cycles.add(large);
            assert_eq!(cycles.closed, closed, "{large:?}");
        }
    }
}
