//! Exact primality and search below 2^64, in machine words.

/// Primes for trial division before a test.
const TRIAL: [u64; 11] = [3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37];

/// A number below this that is not divisible by 2 or any prime of [`TRIAL`] is prime: the next
/// prime is 41.
const TRIAL_DECIDES_BELOW: u64 = 41 * 41;

/// Montgomery arithmetic modulo an odd number below 2^64 (Montgomery, *Modular multiplication
/// without trial division*, 1985).
#[derive(Clone, Copy, Debug)]
pub struct Montgomery {
    modulus: u64,
    /// Inverse of the modulus modulo 2^64.
    inverse: u64,
    /// 2^64 mod the modulus: the number one in Montgomery form.
    one: u64,
}

impl Montgomery {
    /// The arithmetic modulo an odd `modulus`.
    #[must_use]
    pub fn new(modulus: u64) -> Self {
        debug_assert!(modulus % 2 == 1);
        Self {
            modulus,
            inverse: inverse(modulus),
            one: modulus.wrapping_neg() % modulus,
        }
    }

    /// Inverse of the modulus modulo 2^64.
    #[must_use]
    pub fn inverse(&self) -> u64 {
        self.inverse
    }

    /// `a · b / 2^64` modulo the modulus, in [0, modulus). The product `a · b` must be below
    /// `modulus · 2^64`.
    #[must_use]
    pub fn multiply(&self, a: u64, b: u64) -> u64 {
        multiply(a, b, self.modulus, self.inverse)
    }

    /// 2^(64 · `power`) mod the modulus.
    #[must_use]
    pub fn radix_power(&self, power: u32) -> u64 {
        if power == 0 {
            return 1 % self.modulus;
        }
        let radix = self.square_of_radix();
        // 2^64 is `radix` in Montgomery form. The result leaves the form, so raise to one power
        // less.
        self.power(radix, u64::from(power - 1))
    }

    /// 2^128 mod the modulus.
    fn square_of_radix(&self) -> u64 {
        let square = u128::from(self.one) * u128::from(self.one);
        // The remainder of a division by a u64 fits a u64.
        (square % u128::from(self.modulus)) as u64
    }

    /// `base^exponent`, both base and power in Montgomery form.
    fn power(&self, base: u64, exponent: u64) -> u64 {
        let mut result = self.one;
        for bit in (0..u64::BITS - exponent.leading_zeros()).rev() {
            result = self.multiply(result, result);
            if exponent >> bit & 1 == 1 {
                result = self.multiply(result, base);
            }
        }
        result
    }

    /// Whether the modulus, odd and above 2, is a strong probable prime to all given bases. The
    /// bases are in Montgomery form, and the modulus divides none of them. The processor overlaps
    /// the bases' chains of multiplications.
    fn is_strong_probable_prime<const COUNT: usize>(&self, bases: [u64; COUNT]) -> bool {
        let minus_one = self.modulus - self.one;
        let twos = (self.modulus - 1).trailing_zeros();
        let exponent = (self.modulus - 1) >> twos;
        let mut powers = bases;
        for bit in (0..exponent.ilog2()).rev() {
            powers = powers.map(|x| self.multiply(x, x));
            if exponent >> bit & 1 == 1 {
                for (x, &base) in powers.iter_mut().zip(&bases) {
                    *x = self.multiply(*x, base);
                }
            }
        }
        powers.into_iter().all(|mut x| {
            let is_one = x == self.one;
            is_one
                || (0..twos).any(|_| {
                    let is_minus_one = x == minus_one;
                    x = self.multiply(x, x);
                    is_minus_one
                })
        })
    }
}

/// `a · b / 2^64` modulo `modulus`, given the inverse of the odd modulus modulo 2^64.
#[inline]
pub(crate) fn multiply(a: u64, b: u64, modulus: u64, inverse: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    let quotient = (product as u64).wrapping_mul(inverse);
    let (difference, borrow) =
        ((product >> 64) as u64).overflowing_sub(high_product(quotient, modulus));
    if borrow {
        difference.wrapping_add(modulus)
    } else {
        difference
    }
}

/// The high word of a product of two words.
#[inline]
pub(crate) fn high_product(a: u64, b: u64) -> u64 {
    ((u128::from(a) * u128::from(b)) >> 64) as u64
}

/// Inverse of an odd number modulo 2^64, by Newton's iteration from the three bits that `n · n ≡ 1
/// (mod 8)` gives.
#[must_use]
pub const fn inverse(n: u64) -> u64 {
    let mut inverse = n;
    let mut bits = 3;
    while bits < u64::BITS {
        inverse = inverse.wrapping_mul(2_u64.wrapping_sub(n.wrapping_mul(inverse)));
        bits *= 2;
    }
    inverse
}

/// The greatest common divisor; gcd(a, 0) = a.
pub(crate) fn gcd(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Result of trial division.
enum Trial {
    Prime,
    Composite,
    Open,
}

fn trial_division(n: u64) -> Trial {
    if n.is_multiple_of(2) {
        return if n == 2 {
            Trial::Prime
        } else {
            Trial::Composite
        };
    }
    for prime in TRIAL {
        if n.is_multiple_of(prime) {
            return if n == prime {
                Trial::Prime
            } else {
                Trial::Composite
            };
        }
    }
    if n < 2 {
        Trial::Composite
    } else if n < TRIAL_DECIDES_BELOW {
        Trial::Prime
    } else {
        Trial::Open
    }
}

/// The inverse of a modulo a prime p below 2^31 that does not divide a, by Euclid's algorithm.
pub(crate) fn inverse_modulo(a: u32, p: u32) -> u32 {
    let (mut r, mut next_r) = (p, a % p);
    let (mut t, mut next_t) = (0_i32, 1_i32);
    while next_r != 0 {
        let quotient = r / next_r;
        (r, next_r) = (next_r, r - quotient * next_r);
        (t, next_t) = (
            next_t,
            t.wrapping_sub((quotient as i32).wrapping_mul(next_t)),
        );
    }
    if t < 0 { t as u32 + p } else { t as u32 }
}

/// Pairs of a limit and bases: a number up to the limit is prime if it is a strong probable prime
/// to all of the bases. Pomerance, Selfridge & Wagstaff, *The pseudoprimes to 25·10^9*, 1980 (2 and
/// 3; 2, 3 and 5); Jaeschke, *On strong pseudoprimes to several bases*, 1993 (2, 7 and 61; 2, 13,
/// 23 and 1662803; 5 to 7 primes); Jiang & Deng, *Strong pseudoprimes to the first eight prime
/// bases*, 2014 (9 primes); Sorenson & Webster, *Strong pseudoprimes to twelve prime bases*, 2015
/// (12, to beyond 2^64).
pub const STRONG_BASES: [(u64, &[u64]); 9] = [
    (1_373_652, &[2, 3]),
    (25_326_000, &[2, 3, 5]),
    (4_759_123_140, &[2, 7, 61]),
    (1_122_004_669_632, &[2, 13, 23, 1_662_803]),
    (2_152_302_898_746, &[2, 3, 5, 7, 11]),
    (3_474_749_660_382, &[2, 3, 5, 7, 11, 13]),
    (341_550_071_728_320, &[2, 3, 5, 7, 11, 13, 17]),
    (3_825_123_056_546_413_050, &[2, 3, 5, 7, 11, 13, 17, 19, 23]),
    (u64::MAX, &[2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37]),
];

/// The bases of [`STRONG_BASES`] for a number.
fn strong_bases(n: u64) -> &'static [u64] {
    let place = STRONG_BASES.partition_point(|&(last, _)| last < n);
    STRONG_BASES[place].1
}

/// Whether an odd number that no prime up to 37 divides is prime, by strong tests to
/// [`STRONG_BASES`].
fn is_prime_after_trial(n: u64) -> bool {
    let field = Montgomery::new(n);
    // Two in Montgomery form: the sum `one + one`, reduced without overflow through the difference.
    let complement = n - field.one;
    let two = if field.one >= complement {
        field.one - complement
    } else {
        field.one + field.one
    };
    if !field.is_strong_probable_prime([two]) {
        return false;
    }
    let radix = field.square_of_radix();
    strong_bases(n)[1..].chunks(SIDE_BY_SIDE).all(|bases| {
        // Spare places repeat the last base.
        let base = |place: usize| bases[place.min(bases.len() - 1)];
        let bases: [u64; SIDE_BY_SIDE] = std::array::from_fn(base);
        field.is_strong_probable_prime(bases.map(|base| field.multiply(base, radix)))
    })
}

/// Number of bases that are tested at once.
const SIDE_BY_SIDE: usize = 4;

/// Whether `n` is prime. The answer is exact.
#[must_use]
pub fn is_prime(n: u64) -> bool {
    match trial_division(n) {
        Trial::Prime => true,
        Trial::Composite => false,
        Trial::Open => is_prime_after_trial(n),
    }
}

/// The least prime in `start..=last`, or `None`, and the number of candidates that trial division
/// left to test.
pub(crate) fn least_prime(start: u64, last: u64) -> (Option<u64>, u64) {
    let mut candidates = 0;
    if start <= 2 && 2 <= last {
        return (Some(2), candidates);
    }
    let mut n = start | 1;
    while n <= last {
        match trial_division(n) {
            Trial::Prime => return (Some(n), candidates),
            Trial::Composite => {}
            Trial::Open => {
                candidates += 1;
                if is_prime_after_trial(n) {
                    return (Some(n), candidates);
                }
            }
        }
        let Some(next) = n.checked_add(2) else { break };
        n = next;
    }
    (None, candidates)
}

/// The least safe prime in `start..=last`, or `None`, and the number of candidates that trial
/// division left to test.
pub(crate) fn least_safe_prime(start: u64, last: u64) -> (Option<u64>, u64) {
    let mut candidates = 0;
    for safe in [5, 7] {
        if start <= safe && safe <= last {
            return (Some(safe), candidates);
        }
    }
    // A safe prime p above 7 is 11 mod 12: p ≡ 3 (mod 4) because (p − 1)/2 is odd, and p ≡ 2 (mod
    // 3) because 3 divides neither p nor (p − 1)/2.
    let mut next = start.checked_add((23 - start % 12) % 12);
    while let Some(p) = next.filter(|&p| p <= last) {
        let half = (p - 1) / 2;
        if !matches!(trial_division(p), Trial::Composite) {
            match trial_division(half) {
                Trial::Composite => {}
                Trial::Prime => {
                    candidates += 1;
                    if is_prime(p) {
                        return (Some(p), candidates);
                    }
                }
                Trial::Open => {
                    candidates += 1;
                    if is_prime_after_trial(half) && is_prime(p) {
                        return (Some(p), candidates);
                    }
                }
            }
        }
        next = p.checked_add(12);
    }
    (None, candidates)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;
    use rug::Integer;
    use rug::integer::IsPrime;

    use super::*;

    /// The odd composites that are strong probable primes to base 2, from OEIS A001262.
    const STRONG_PSEUDOPRIMES_2: [u64; 12] = [
        2047, 3277, 4033, 4681, 8321, 15841, 29341, 42799, 49141, 52633, 65281, 74665,
    ];

    /// The least strong pseudoprimes to the first k primes, from OEIS A014233.
    const LEAST_STRONG_PSEUDOPRIMES: [u64; 9] = [
        2047,
        1_373_653,
        25_326_001,
        3_215_031_751,
        2_152_302_898_747,
        3_474_749_660_383,
        341_550_071_728_321,
        341_550_071_728_321,
        3_825_123_056_546_413_051,
    ];

    fn by_gmp(n: u64) -> bool {
        Integer::from(n).is_probably_prime(40) != IsPrime::No
    }

    #[test]
    fn inverses_are_inverse() {
        for p in [3_u32, 5, 65_521, 16_777_213, 2_147_483_647] {
            for a in (1..2000).chain([p - 1, p / 2, p.wrapping_mul(7) / 11]) {
                if a % p != 0 {
                    let product = u64::from(inverse_modulo(a, p)) * u64::from(a % p);
                    assert_eq!(product % u64::from(p), 1, "{a} {p}");
                }
            }
        }
    }

    #[test]
    fn every_number_to_a_million() {
        let limit = 1_000_000_usize;
        let mut composite = vec![false; limit];
        composite[..2].fill(true);
        for p in 2..1000 {
            if !composite[p] {
                (p * p..limit).step_by(p).for_each(|n| composite[n] = true);
            }
        }
        for (n, &composite) in composite.iter().enumerate() {
            assert_eq!(is_prime(n as u64), !composite, "{n}");
        }
    }

    #[test]
    fn known_pseudoprimes_are_composite() {
        for n in STRONG_PSEUDOPRIMES_2
            .into_iter()
            .chain(LEAST_STRONG_PSEUDOPRIMES)
            // The least strong pseudoprimes to bases 2, 7 and 61, and to bases 2, 13, 23 and
            // 1662803.
            .chain([4_759_123_141, 1_122_004_669_633])
        {
            assert!(!is_prime(n), "{n}");
        }
        // Carmichael numbers.
        for n in [561, 1105, 1729, 2465, 2821, 6601, 8911, 9_746_347_772_161] {
            assert!(!is_prime(n), "{n}");
        }
    }

    #[test]
    fn base_two_alone_is_fooled_by_exactly_the_known_numbers() {
        let fooled: Vec<u64> = (3..75_000)
            .step_by(2)
            .filter(|&n| {
                let field = Montgomery::new(n);
                let two = field.multiply(2, field.square_of_radix());
                field.is_strong_probable_prime([two]) && !is_prime(n)
            })
            .collect();
        assert_eq!(fooled, STRONG_PSEUDOPRIMES_2);
    }

    #[test]
    fn the_top_of_the_range() {
        let greatest = u64::MAX - 58; // 2^64 − 59
        assert!(is_prime(greatest));
        assert_eq!(least_prime(greatest - 1, u64::MAX), (Some(greatest), 1));
        assert_eq!(least_prime(greatest + 1, u64::MAX).0, None);
        assert_eq!(least_prime(u64::MAX, u64::MAX).0, None);
        assert_eq!(least_safe_prime(u64::MAX - 1, u64::MAX).0, None);
    }

    #[test]
    fn safe_primes_of_oeis_a005385() {
        let known = [
            5, 7, 11, 23, 47, 59, 83, 107, 167, 179, 227, 263, 347, 359, 383, 467, 479, 503, 563,
        ];
        let mut found = Vec::new();
        let mut start = 0;
        while let (Some(p), _) = least_safe_prime(start, 575) {
            found.push(p);
            start = p + 1;
        }
        assert_eq!(found, known);
    }

    proptest! {
        #[test]
        fn agrees_with_gmp(n: u64, shift in 0_u32..64) {
            let n = n >> shift;
            prop_assert_eq!(is_prime(n), by_gmp(n));
            prop_assert_eq!(is_prime(n | 1), by_gmp(n | 1));
        }

        #[test]
        fn products_of_two_primes_are_composite(a in 2_u64..1 << 31, b in 2_u64..1 << 31) {
            let prime = |n: u64| Integer::from(n).next_prime();
            prop_assert!(!is_prime((prime(a) * prime(b)).to_u64().unwrap()));
        }

        #[test]
        fn montgomery_multiplies(modulus: u64, a: u64, b: u64) {
            let modulus = modulus | 1;
            let (a, b) = (a % modulus, b % modulus);
            let field = Montgomery::new(modulus);
            let result = field.multiply(field.multiply(a, b), field.square_of_radix());
            prop_assert_eq!(u128::from(result), u128::from(a) * u128::from(b) % u128::from(modulus));
        }

        #[test]
        fn powers_of_the_radix(modulus: u64, power in 0_u32..2000) {
            let modulus = modulus | 1;
            let expected = (Integer::from(1) << (64 * power)) % modulus;
            prop_assert_eq!(Integer::from(Montgomery::new(modulus).radix_power(power)), expected);
        }
    }
}
