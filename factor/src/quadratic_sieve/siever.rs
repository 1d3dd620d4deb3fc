//! The sieve of one number: finds the relations of one family of polynomials after the other.

use std::collections::HashMap;
use std::ops::Range;

use primepool_curves::{Ecm, WordPrimality};
use primepool_engine::small;
use rug::Integer;

use super::factor_base::FactorBase;
use super::kernel::{
    BATCH_LOG2, Block, Buckets, Change, Divisors, Fill, Inverses, LargeDivisors, Roots, SHORTS,
    Score, Shorts, SieveBlock, SieveKernel, StartRoots, WORDS, Words,
};
use super::layout::{Layout, NO_PRIME, OUTSIDE};
use super::parameters::{BLOCK, HALF, Parameters};
use super::polynomials::{Family, Polynomials};
use super::relation::Relation;
use super::wide::Wide;
use crate::{Cancel, Error, factor_many};

/// Bits by which sums of rounded logarithms may be wrong.
const SLACK: f64 = 2.0;

/// Memory for tables of inverses, in words: 128 MiB.
const INVERSES: usize = 1 << 25;

/// Number of places that share one bound of their values.
const PLACES: usize = 128;

/// Sieves polynomials for relations. Holds all memory that this needs.
pub(super) struct Siever {
    kernel: SieveKernel,
    base: FactorBase,
    polynomials: Polynomials,
    parameters: Parameters,
    layout: Layout,
    scores: Scores,
    /// By index in the base: the inverses of a factor of leading coefficients modulo all moduli.
    inverses: HashMap<u32, Vec<Words>>,
    short: Roots<Shorts>,
    long: Roots<Words>,
    buckets: Buckets,
    block: Box<Block>,
    list: Vec<u16>,
    reports: Vec<u16>,
    divisors: Vec<u32>,
    primes: Vec<u32>,
    /// Entries that the current family is not sieved with.
    unused: Vec<usize>,
    candidates: Candidates,
}

/// Interpretation of the sums of logarithms.
struct Scores {
    /// The logarithm of 2 in the sums.
    scale: f64,
    /// Initial value of sums.
    initial: u8,
    /// By part of the block, log2 of the values in it.
    values: Vec<f64>,
    /// Most bits of the cofactor that the factor base may leave of a value.
    cofactor: f64,
    /// Bits of cofactors that are neither one large prime nor two.
    useless: Range<f64>,
}

impl Scores {
    fn new(base: &FactorBase, polynomials: &Polynomials, parameters: &Parameters) -> Self {
        let [single, double] = [parameters.large_bound, parameters.double_bound]
            .map(|bound| (bound.max(1) as f64).log2());
        let cofactor = single.max(double);
        let least_double = 2.0 * f64::from(base.largest()).log2();
        // The largest values are about M·√(N/2)/2.
        let typical =
            f64::from(HALF).log2() + f64::from(base.multiple.significant_bits()) / 2.0 - 1.75;
        // The primes that are not sieved with have to supply the rest.
        let threshold = (typical - cofactor - f64::from(parameters.lacking_bits)).max(0.0);
        let scale = (118.0 / (threshold + 6.0))
            .min(2.0)
            .min(240.0 / (typical + 20.0));
        // Values are N/4a · ((x/x₀)² − 1), with zeros at ±x₀ = √N/2a.
        let [n, a] = [&base.multiple, &polynomials.target].map(log2);
        let (height, zero) = (n - 2.0 - a, (n / 2.0 - 1.0 - a).exp2());
        let values = (0..BLOCK / PLACES).map(|part| {
            let x = (part * PLACES + PLACES / 2) as f64 - f64::from(HALF);
            let value = ((x / zero).powi(2) - 1.0).abs().max(0.01);
            height + value.log2() + 0.7
        });
        Self {
            scale,
            initial: 128 - (threshold * scale).clamp(8.0, 127.0) as u8,
            values: values.collect(),
            cofactor,
            useless: single + SLACK..least_double - SLACK,
        }
    }
}

fn log2(n: &Integer) -> f64 {
    let (mantissa, exponent) = n.to_f64_exp();
    mantissa.log2() + f64::from(exponent)
}

impl Siever {
    pub(super) fn new(base: FactorBase, parameters: Parameters, kernel: SieveKernel) -> Self {
        let polynomials = Polynomials::new(&base, &parameters);
        let scores = Scores::new(&base, &polynomials, &parameters);
        let layout = Layout::new(&base, &parameters, scores.scale);
        let short_lines = layout.short.modulus.len();
        let long_lines = layout.moduli.modulus.len() - layout.moduli.short_lines;
        Self {
            kernel,
            short: Roots::new(Shorts([0; SHORTS]), short_lines, parameters.factors),
            long: Roots::new(Words([0; WORDS]), long_lines, parameters.factors),
            buckets: Buckets::new(layout.expected_large, layout.sections.len()),
            block: Block::new(),
            list: vec![0; layout.short.list_length()],
            inverses: HashMap::new(),
            reports: Vec::new(),
            divisors: Vec::new(),
            primes: Vec::new(),
            unused: Vec::new(),
            candidates: Candidates::new(kernel),
            base,
            polynomials,
            parameters,
            layout,
            scores,
        }
    }

    /// Passes the relations of a family to `found`.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`]; `found` may have received some of the relations before.
    pub(super) fn sieve(
        &mut self,
        index: u64,
        cancel: &Cancel,
        found: &mut dyn FnMut(Relation<'_>),
    ) -> Result<(), Error> {
        let family = self.polynomials.family(&self.base, index);
        self.candidates.clear();
        self.start(&family, cancel)?;
        let batch = 1 << self.batch_log2();
        for polynomial in 0..self.polynomials.in_family() {
            if polynomial % batch == 0 {
                cancel.check()?;
                self.fill_buckets(polynomial);
            }
            let in_batch = (polynomial % batch) as usize;
            self.sieve_block(polynomial, in_batch);
            if self.reports.is_empty() {
                continue;
            }
            let b = family.b(polynomial);
            for i in 0..self.reports.len() {
                let place = self.reports[i];
                let Some(rest) = self.factor(&family, b, place, in_batch) else {
                    continue;
                };
                if rest < self.parameters.large_bound {
                    found(Relation {
                        family: index,
                        polynomial,
                        place,
                        primes: &self.primes,
                        large: [1, rest as u32],
                    });
                } else {
                    self.candidates.add(polynomial, place, &self.primes, rest);
                }
            }
        }
        self.candidates
            .split(index, self.parameters.large_bound, cancel, found)
    }

    /// log2 of the number of polynomials in a batch.
    fn batch_log2(&self) -> u32 {
        BATCH_LOG2.min(self.parameters.factors as u32 - 1)
    }

    /// Fills the buckets of the batch that begins with this polynomial.
    fn fill_buckets(&mut self, polynomial: u32) {
        let batch_log2 = self.batch_log2();
        self.kernel.run(Fill {
            moduli: &self.layout.moduli,
            roots: &mut self.long,
            sections: &self.layout.sections,
            buckets: &mut self.buckets,
            polynomial,
            batch_log2,
        });
    }

    /// Advances the short roots to this polynomial and reports places in its block.
    fn sieve_block(&mut self, polynomial: u32, in_batch: usize) {
        self.kernel.run(SieveBlock {
            moduli: &self.layout.short,
            roots: &mut self.short,
            change: (polynomial > 0).then(|| Change::to(polynomial)),
            buckets: &self.buckets,
            sections: &self.layout.sections,
            polynomial: in_batch,
            block: &mut self.block,
            initial: self.scores.initial,
            list: &mut self.list,
            reports: &mut self.reports,
        });
    }

    /// Computes the roots and steps of the first polynomial of a family.
    fn start(&mut self, family: &Family, cancel: &Cancel) -> Result<(), Error> {
        let line_count = self.layout.moduli.modulus.len();
        if (self.inverses.len() + family.factors.len()) * line_count * WORDS > INVERSES {
            self.inverses.clear();
        }
        for &factor in &family.factors {
            cancel.check()?;
            let moduli = &self.layout.moduli;
            let number = self.base.primes[factor as usize];
            self.inverses
                .entry(factor)
                .or_insert_with(|| self.kernel.run(Inverses { moduli, number }));
        }
        let inverses: Vec<&[Words]> = family
            .factors
            .iter()
            .map(|factor| &self.inverses[factor][..])
            .collect();
        self.kernel.run(StartRoots {
            moduli: &self.layout.moduli,
            inverses: &inverses,
            gammas: &family.gammas,
            is_a_added: family.is_a_added,
            short: &mut self.short,
            long: &mut self.long,
        });
        // Sieve with the unused entries of the previous family again. Only moduli of 16 bits are
        // concerned.
        let short = &mut self.layout.short;
        for i in self.unused.drain(..) {
            short.modulus[i / SHORTS].0[i % SHORTS] =
                self.layout.moduli.modulus[i / WORDS].0[i % WORDS] as u16;
            short.log[i / SHORTS].0[i % SHORTS] = self.layout.logs[i].into();
        }
        self.unused.extend(self.layout.unused(&family.factors));
        for &i in &self.unused {
            let (line, lane) = (i / SHORTS, i % SHORTS);
            let short = &mut self.layout.short;
            // In a list, its place stays outside the block. In the other classes, it adds a
            // logarithm of 0.
            let is_listed = line >= short.direct;
            if is_listed {
                short.modulus[line].0[lane] = 0;
            }
            short.log[line].0[lane] = 0;
            let place = if is_listed { OUTSIDE } else { 0 };
            self.short.first[line].0[lane] = place;
            self.short.second[line].0[lane] = place;
            for steps in &mut self.short.steps {
                steps[line].0[lane] = 0;
            }
        }
        Ok(())
    }

    /// Factors the value at a place over the base. Returns the large prime, or 1, or a cofactor
    /// that may be the product of two large primes, and collects the other primes except 2 in
    /// `primes`. `None` if the cofactor is too large.
    fn factor(&mut self, family: &Family, b: Wide, place: u16, in_batch: usize) -> Option<u64> {
        let Scores {
            scale,
            initial,
            cofactor,
            ..
        } = self.scores;
        let multiple = self.polynomials.multiple;
        let sieved = u32::from(self.block.at(place).wrapping_sub(initial));
        let most = cofactor + SLACK;
        // First test the score of the primes that are not sieved with, and an upper bound of the
        // value.
        let score = self.kernel.run(Score {
            moduli: &self.layout.short,
            roots: &self.short,
            place,
        });
        let twos = f64::from(family.twos(multiple, b, place));
        let value_bits = self.scores.values[usize::from(place) / PLACES];
        if value_bits - f64::from(sieved + score) / scale - twos > most {
            return None;
        }
        // Then test the value itself.
        let value = family.value(multiple, b, place).value.abs();
        if value.is_zero() {
            return None;
        }
        let twos = value.trailing_zeros();
        self.divisors.clear();
        let scored = self.layout.short.scored;
        self.find_short(place, 0..scored);
        let scored_logs: u32 = self
            .divisors
            .iter()
            .map(|&i| u32::from(self.layout.logs[i as usize]))
            .sum();
        let known = f64::from(sieved + scored_logs) / scale + f64::from(twos);
        let left = f64::from(value.bits()) - known;
        if left > most || self.scores.useless.contains(&left) {
            return None;
        }
        self.find_short(place, scored..self.layout.short.modulus.len());
        self.kernel.run(LargeDivisors {
            buckets: &self.buckets,
            sections: &self.layout.sections,
            polynomial: in_batch,
            place,
            first: self.layout.shorts() as u32,
            found: &mut self.divisors,
        });
        let mut rest = value.shift_right(twos);
        self.primes.clear();
        let of_entries = self
            .divisors
            .iter()
            .map(|&i| self.layout.primes[i as usize]);
        for index in of_entries.chain(family.factors.iter().copied()) {
            if index == NO_PRIME {
                continue;
            }
            let prime = self.base.primes[index as usize];
            let inverse = small::inverse(prime.into());
            while let Some(quotient) = rest.divide(prime, inverse) {
                rest = quotient;
                self.primes.push(index);
            }
        }
        let rest = rest.to_word()?;
        let largest = u64::from(self.base.largest());
        let Parameters {
            large_bound,
            double_bound,
            ..
        } = self.parameters;
        if rest >= large_bound && (rest >= double_bound || rest <= largest * largest) {
            return None;
        }
        // A prime of the base whose place is missing in the buckets.
        if rest > 1
            && rest <= largest
            && let Ok(index) = self.base.primes.binary_search(&(rest as u32))
        {
            self.primes.push(index as u32);
            self.primes.sort_unstable();
            return Some(1);
        }
        self.primes.sort_unstable();
        Some(rest)
    }

    fn find_short(&mut self, place: u16, lines: Range<usize>) {
        self.kernel.run(Divisors {
            moduli: &self.layout.short,
            roots: &self.short,
            place,
            lines,
            found: &mut self.divisors,
        });
    }
}

/// Values of one family whose cofactor may be the product of two large primes.
struct Candidates {
    primality: WordPrimality,
    ecm: Ecm,
    /// Polynomial and place of each.
    places: Vec<(u32, u16)>,
    /// The primes of all values, and the index after those of each.
    primes: Vec<u32>,
    ends: Vec<usize>,
    /// The cofactor that the base leaves of each value.
    rests: Vec<u64>,
}

impl Candidates {
    fn new(kernel: SieveKernel) -> Self {
        Self {
            primality: WordPrimality::new(kernel.of_engine()),
            ecm: Ecm::new(kernel.of_engine()),
            places: Vec::new(),
            primes: Vec::new(),
            ends: Vec::new(),
            rests: Vec::new(),
        }
    }

    fn add(&mut self, polynomial: u32, place: u16, primes: &[u32], rest: u64) {
        self.places.push((polynomial, place));
        self.primes.extend(primes);
        self.ends.push(self.primes.len());
        self.rests.push(rest);
    }

    fn clear(&mut self) {
        self.places.clear();
        self.primes.clear();
        self.ends.clear();
        self.rests.clear();
    }

    /// Passes on the relations whose cofactor is the product of two primes below a bound.
    fn split(
        &mut self,
        family: u64,
        bound: u64,
        cancel: &Cancel,
        found: &mut dyn FnMut(Relation<'_>),
    ) -> Result<(), Error> {
        let are_prime = self.primality.are_prime(&self.rests);
        let composites: Vec<usize> = (0..self.rests.len()).filter(|&i| !are_prime[i]).collect();
        let words: Vec<u64> = composites.iter().map(|&i| self.rests[i]).collect();
        let mut divisors: Vec<u64> = words.iter().map(|word| word.isqrt()).collect();
        if let Some(&greatest) = words.iter().max() {
            let bits = u64::BITS - greatest.leading_zeros();
            self.ecm.split_many(
                &words,
                bits,
                factor_many::curve_bound(bits),
                factor_many::MOST_CURVES,
                cancel,
                &mut |i, divisor| divisors[i] = divisor,
            )?;
        }
        for ((i, word), divisor) in composites.into_iter().zip(words).zip(divisors) {
            let large = [divisor, word / divisor];
            if large[0] * large[1] != word || large.iter().any(|&large| large >= bound) {
                continue;
            }
            let start = i.checked_sub(1).map_or(0, |before| self.ends[before]);
            let (polynomial, place) = self.places[i];
            let [a, b] = large.map(|large| large as u32);
            found(Relation {
                family,
                polynomial,
                place,
                primes: &self.primes[start..self.ends[i]],
                large: [a.min(b), a.max(b)],
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::factor_base::Base;
    use super::*;

    /// The sieve of the product of two primes of half the bits.
    fn siever(bits: u32, kernel: SieveKernel) -> Siever {
        let half = |bits: u32| (Integer::from(13) << (bits - 4)).next_prime();
        let number = half(bits / 2) * half(bits - bits / 2);
        let parameters = Parameters::for_bits(number.significant_bits());
        match FactorBase::build(&number, &parameters, &Cancel::new()) {
            Ok(Base::Ready(base)) => Siever::new(base, parameters, kernel),
            _ => panic!("no factor base for {number}"),
        }
    }

    /// Checks that the modulus divides the values at places with this root.
    fn divides_at(siever: &Siever, family: &Family, b: Wide, root: u32, entry: usize) {
        let modulus = siever.layout.moduli.modulus[entry / WORDS].0[entry % WORDS];
        assert!(root < modulus);
        for place in (root..BLOCK as u32).step_by(modulus as usize).take(3) {
            let value = family.value(siever.polynomials.multiple, b, place as u16);
            let magnitude = value.value.abs().to_integer();
            assert!(magnitude.is_divisible_u(modulus), "{modulus} at {place}");
        }
    }

    #[test]
    fn values_are_divisible_where_the_roots_are() {
        for kernel in SieveKernel::available() {
            for bits in [70, 130, 210] {
                let mut siever = siever(bits, kernel);
                let family = siever.polynomials.family(&siever.base, 3);
                assert!(siever.start(&family, &Cancel::new()).is_ok());
                let last = (1 << siever.batch_log2()) - 1;
                siever.fill_buckets(0);
                for polynomial in 0..=last {
                    siever.sieve_block(polynomial, polynomial as usize);
                    let b = family.b(polynomial);
                    for entry in (0..siever.layout.shorts()).filter(|i| !siever.unused.contains(i))
                    {
                        if siever.layout.primes[entry] == NO_PRIME {
                            continue;
                        }
                        for roots in [&siever.short.first, &siever.short.second] {
                            let root = roots[entry / SHORTS].0[entry % SHORTS].into();
                            divides_at(&siever, &family, b, root, entry);
                        }
                    }
                }
                // The long roots are those of the batch's last polynomial.
                let b = family.b(last);
                for entry in siever.layout.shorts()..siever.layout.primes.len() {
                    let long = entry - siever.layout.shorts();
                    if siever.layout.primes[entry] == NO_PRIME {
                        continue;
                    }
                    for roots in [&siever.long.first, &siever.long.second] {
                        let root = roots[long / WORDS].0[long % WORDS];
                        divides_at(&siever, &family, b, root, entry);
                    }
                }
            }
        }
    }
}
