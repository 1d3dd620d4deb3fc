//! Primality tests.
//!
//! # The test
//!
//! [`is_probable_prime`] is
//!
//! - exact below 2^64 (proven sets of bases, see the citations in the source);
//! - above, the Baillie–PSW test, followed by [`rounds`] Miller–Rabin rounds to random bases.
//!
//! The Baillie–PSW test is a strong test to base 2 and a strong Lucas test with Selfridge's
//! parameters (Baillie & Wagstaff, *Lucas pseudoprimes*, Mathematics of Computation 35, 1980;
//! Pomerance, Selfridge & Wagstaff, *The pseudoprimes to 25·10^9*, 1980). No composite is known
//! that passes it. Each Miller–Rabin round alone lets any given composite pass with probability at
//! most 1/4 (Rabin 1980).
//!
//! # Random candidates
//!
//! For a random candidate the error is far below 4^−t. Draw odd k-bit numbers uniformly and keep
//! those that pass t rounds to random bases; let p(k, t) be the probability that a kept number is
//! composite. Damgård, Landrock & Pomerance (*Average case error estimates for the strong probable
//! prime test*, Mathematics of Computation 61, 1993) prove, for all 3 ≤ M ≤ 2√(k − 1) − 1, the
//! bound (also in FIPS 186-5, B.3)
//!
//! p(k, t) ≤ 2.00743 · ln 2 · k · 2^−k · [2^(k − 2 − M t) + (8 (π² − 6)/3) · 2^(k − 2) · Σ_(m =
//! 3..M) 2^(m − (m − 1) t) · Σ_(j = 2..m) 2^−(j + (k − 1)/j)].
//!
//! Its minimum over M, for the random rounds alone, is
//!
//! | bits | 128 | 256 | 512 | 700 | 1024 | 1536 | 2048 | 3072 | 4096 |
//! |---|---|---|---|---|---|---|---|---|---|
//! | 1 round | 2^−7 | 2^−14 | 2^−26 | 2^−32 | 2^−42 | 2^−56 | 2^−67 | 2^−86 | 2^−103 |
//! | 2 rounds | 2^−17 | 2^−29 | 2^−47 | 2^−57 | 2^−72 | 2^−92 | 2^−108 | 2^−137 | 2^−160 |
//! | rounds for 2^−100 | 34 | 16 | 7 | 5 | 4 | 3 | 2 | 2 | 1 |
//!
//! When a vector kernel searches from random starts, it chooses its tests by this table:
//!
//! - From 700 bits on: the strong test to base 2, and enough rounds to random bases that the rounds
//!   alone give an error below 2^−100.
//! - Below 700 bits, where that number of rounds could cost as much as the search: the Baillie–PSW
//!   test and one round. GMP's `mpz_nextprime` does the same. No composite is known to pass the
//!   Baillie–PSW test, and none below 2^64 exists. An error of 2^−100 is not proven there; only the
//!   table's bound for one round is.
//!
//! The table assumes candidates that are drawn independently of each other. The candidates of an
//! incremental search share a start; Brandt & Damgård (*On generation of probable primes by
//! incremental search*, CRYPTO '92) show that this multiplies the bound by at most a polynomial in
//! k (of the order k² for intervals of a few mean gaps). The sieve and the test to base 2, which
//! the bound does not count, should outweigh that factor.
//!
//! The portable kernel always does the Baillie–PSW test and [`rounds`]. So does every kernel for
//! [`Engine::next_prime`](crate::Engine::next_prime), because an attacker may have chosen its
//! input.
//!
//! # Cancellation
//!
//! GMP's modular power cannot be interrupted. It is used up to [`UNINTERRUPTED_BITS`] bits, where
//! it takes some 50 ms; above, the power is computed in steps that poll the flag in between, which
//! makes it a third slower.

use rug::{Assign, Integer};

use crate::certificate::{Step, Sufficiency};
use crate::fixed::Field;
use crate::{Cancel, Error, Stream, small};

/// Greatest number of bits for which one modular power (some 50 ms) does not poll the flag.
pub const UNINTERRUPTED_BITS: u32 = 6144;

/// Exponent bits per window of an interruptible power.
const WINDOW: u32 = 4;

/// Greatest number of 64-bit words for which [`Field`] does the strong test; GMP does it above.
const FIXED_WORDS: usize = 7;

/// Greatest number of 64-bit words for which [`Field`] does the Lucas test; GMP does it above.
const FIXED_WORDS_LUCAS: usize = 16;

/// Evaluates an expression with the [`Field`] of an odd number of `$words` words, one of `$size`.
macro_rules! fixed {
    ($words:expr, [$($size:literal)*], $n:expr, |$field:ident| $body:expr) => {
        match $words {
            $($size => { let $field = Field::<$size>::new($n); $body })*
            words => unreachable!("{words} words are not fixed"),
        }
    };
}

/// Number of Miller–Rabin rounds to random bases that follow the Baillie–PSW test for a number of
/// `bits` bits.
///
/// Few where the average-case bound makes more pointless, more where they are cheap.
#[must_use]
pub fn rounds(bits: u32) -> u32 {
    match bits {
        0..128 => 4,
        128..512 => 3,
        _ => 2,
    }
}

/// How thoroughly a search confirms a random prime that has passed the strong test to base 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Confirmation {
    /// With all tests that it takes for a random candidate to count as prime.
    #[default]
    Complete,
    /// Without one of the Miller–Rabin rounds to random bases. The caller does that round itself on
    /// every prime, see [`Engine::verify`](crate::Engine::verify).
    OneRoundLeft,
}

impl Confirmation {
    /// The number of rounds to do if `needed` rounds are needed, at least one.
    fn rounds(self, needed: u32) -> u32 {
        match self {
            Self::Complete => needed,
            Self::OneRoundLeft => needed - 1,
        }
    }
}

/// The tests that follow the strong test to base 2 before a number counts as prime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Assurance {
    /// Whether to do the strong Lucas test.
    pub(crate) lucas: bool,
    /// Number of Miller–Rabin rounds to random bases.
    pub(crate) rounds: u32,
}

impl Assurance {
    /// For a number that an attacker may have chosen: the Baillie–PSW test and [`rounds`].
    pub(crate) fn against_anyone(bits: u32) -> Self {
        Self {
            lucas: true,
            rounds: rounds(bits),
        }
    }

    /// For a random candidate, the cheapest sufficient tests: rounds alone where a few of them give
    /// an error below 2^−100, else the Baillie–PSW test and one round. `confirmation` may leave one
    /// of the rounds to the caller.
    pub(crate) fn at_random(bits: u32, confirmation: Confirmation) -> Self {
        let (lucas, rounds) = match bits {
            0..LEAST_BITS_BY_ROUNDS => (true, 1),
            LEAST_BITS_BY_ROUNDS..870 => (false, 5),
            870..1160 => (false, 4),
            1160..1762 => (false, 3),
            1762..3884 => (false, 2),
            _ => (false, 1),
        };
        let rounds = confirmation.rounds(rounds);
        Self { lucas, rounds }
    }
}

/// From this many bits on, Miller–Rabin rounds alone are enough for a random candidate.
const LEAST_BITS_BY_ROUNDS: u32 = 700;

/// Whether `n` is prime: exact below 2^64, above by the Baillie–PSW test and Miller–Rabin
/// [`rounds`].
///
/// Numbers below 2 are not prime.
///
/// # Errors
///
/// [`Error::Cancelled`], or [`Error::Randomness`] when no random base could be drawn.
pub fn is_probable_prime(n: &Integer, cancel: &Cancel) -> Result<bool, Error> {
    Tester::default().is_probable_prime(n, cancel)
}

/// Whether an odd `n > 2` is a strong probable prime to `base` (Miller–Rabin): n − 1 = d · 2^s with
/// d odd, and base^d ≡ 1 or base^(d · 2^r) ≡ −1 (mod n) for some r < s.
///
/// `false` for every n that is even or below 3. The base is any integer; if n divides it, the
/// answer is `false`.
///
/// # Errors
///
/// [`Error::Cancelled`].
pub fn is_strong_probable_prime(
    n: &Integer,
    base: &Integer,
    cancel: &Cancel,
) -> Result<bool, Error> {
    if n.is_even() || *n < 3 {
        return Ok(false);
    }
    let mut tester = Tester::default();
    tester.base.assign(base.modulo_ref(n));
    tester.strong(n, cancel)
}

/// Whether `n` is a strong Lucas probable prime with the parameters of Selfridge's method A: D is
/// the first of 5, −7, 9, −11, ... with Jacobi symbol (D/n) = −1, P = 1, Q = (1 − D)/4 (Baillie &
/// Wagstaff 1980). With n + 1 = d · 2^s and d odd, the condition is U_d ≡ 0 or V_(d · 2^r) ≡ 0 (mod
/// n) for some r < s.
///
/// `false` for every n that is even, below 3, or not coprime to 2QD.
///
/// # Errors
///
/// [`Error::Cancelled`].
pub fn is_strong_lucas_probable_prime(n: &Integer, cancel: &Cancel) -> Result<bool, Error> {
    if n.is_even() || *n < 3 {
        return Ok(false);
    }
    Tester::default().strong_lucas(n, cancel)
}

/// The primality tests with their working memory, to be reused from one number to the next.
#[derive(Default)]
pub struct Tester {
    /// Base of the strong test, in [0, n).
    base: Integer,
    /// n − 1 and its odd part; for the Lucas test, the odd part of n + 1.
    minus_one: Integer,
    odd_part: Integer,
    x: Integer,
    y: Integer,
    square: Integer,
    product: Integer,
    /// P' of the Lucas test; see `strong_lucas`.
    p: Integer,
    /// Powers of the base for an interruptible power.
    powers: Vec<Integer>,
    /// Source of random bases, keyed by the operating system at first use.
    bases: Option<Stream>,
}

impl Tester {
    /// Like the function [`is_probable_prime`].
    ///
    /// # Errors
    ///
    /// Those of [`is_probable_prime`].
    pub fn is_probable_prime(&mut self, n: &Integer, cancel: &Cancel) -> Result<bool, Error> {
        cancel.check()?;
        if n.is_negative() {
            return Ok(false);
        }
        if let Some(n) = n.to_u64() {
            return Ok(small::is_prime(n));
        }
        /// 3 · 5 · 7 · 11 · 13 · 17 · 19 · 23 · 29, the longest such product that fits a `u32`.
        const SMALL_PRIMES: u32 = 3_234_846_615;
        if n.is_even() || small::gcd(n.mod_u(SMALL_PRIMES), SMALL_PRIMES) != 1 {
            return Ok(false);
        }
        Ok(self.is_strong_probable_prime_2(n, cancel)?
            && self.confirm(n, Confirmation::Complete, cancel)?)
    }

    /// The tests that a strong probable prime to base 2 above 2^64 must still pass to count as
    /// prime: the strong Lucas test and the random rounds.
    pub(crate) fn confirm(
        &mut self,
        n: &Integer,
        confirmation: Confirmation,
        cancel: &Cancel,
    ) -> Result<bool, Error> {
        if !self.strong_lucas(n, cancel)? {
            return Ok(false);
        }
        let mut bases = match self.bases.take() {
            Some(bases) => bases,
            None => Stream::from_os_key()?,
        };
        let mut passed = Ok(true);
        for _ in 0..confirmation.rounds(rounds(n.significant_bits())) {
            passed = self.miller_rabin_round(n, &mut bases, cancel);
            if passed != Ok(true) {
                break;
            }
        }
        self.bases = Some(bases);
        passed
    }

    /// One Miller–Rabin round of an odd n above 4, to a base drawn uniformly from [2, n − 2].
    pub(crate) fn miller_rabin_round(
        &mut self,
        n: &Integer,
        bases: &mut Stream,
        cancel: &Cancel,
    ) -> Result<bool, Error> {
        self.minus_one.assign(n - 1_u32);
        loop {
            bases.draw(&mut self.base, n.significant_bits())?;
            if self.base >= 2 && self.base < self.minus_one {
                return self.strong(n, cancel);
            }
        }
    }

    /// Whether an odd n above 2 is a strong probable prime to base 2.
    pub(crate) fn is_strong_probable_prime_2(
        &mut self,
        n: &Integer,
        cancel: &Cancel,
    ) -> Result<bool, Error> {
        self.base.assign(2);
        self.strong(n, cancel)
    }

    /// Whether an odd n above 2 is a strong probable prime to `self.base`, which is in [0, n).
    fn strong(&mut self, n: &Integer, cancel: &Cancel) -> Result<bool, Error> {
        cancel.check()?;
        let words = n.significant_digits::<u64>();
        if words > FIXED_WORDS {
            return self.strong_any_length(n, cancel);
        }
        let base = &self.base;
        Ok(fixed!(words, [1 2 3 4 5 6 7], n, |field| {
            if *base == 2 {
                field.is_strong_probable_prime_2()
            } else {
                field.is_strong_probable_prime(base, n)
            }
        }))
    }

    /// [`Self::strong`] for numbers of any length.
    fn strong_any_length(&mut self, n: &Integer, cancel: &Cancel) -> Result<bool, Error> {
        self.minus_one.assign(n - 1_u32);
        let twos = trailing_zeros(&self.minus_one);
        self.odd_part.assign(&self.minus_one >> twos);
        if n.significant_bits() > UNINTERRUPTED_BITS && self.base == 2 {
            self.power_of_two(n, cancel)?;
        } else {
            self.power_any_length(n, cancel)?;
        }
        if self.x == 1 || self.x == self.minus_one {
            return Ok(true);
        }
        for _ in 1..twos {
            cancel.check()?;
            self.square.assign(self.x.square_ref());
            self.x.assign(&self.square % n);
            if self.x == self.minus_one {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Sets x to 2^`odd_part` mod n, and polls the flag in between.
    ///
    /// Takes the exponent from the top in chunks of about log2(bits) bits: raises x to the power
    /// 2^`chunk_bits` with GMP's modular power, which keeps its Montgomery form for all the
    /// squarings, then multiplies by 2^chunk, which is a shift by less than twice n's length.
    fn power_of_two(&mut self, n: &Integer, cancel: &Cancel) -> Result<(), Error> {
        let chunk_bits = n.significant_bits().ilog2();
        self.y.assign(1);
        self.y <<= chunk_bits;
        self.x.assign(1);
        for chunk in (0..self.odd_part.significant_bits().div_ceil(chunk_bits)).rev() {
            cancel.check()?;
            power_in_place(&mut self.x, &self.y, n);
            self.square
                .assign(&self.x << digit(&self.odd_part, chunk, chunk_bits));
            self.x.assign(&self.square % n);
        }
        Ok(())
    }

    /// Sets x to base^`odd_part` mod n with fixed windows from the top, and polls the flag in
    /// between.
    fn power(&mut self, n: &Integer, cancel: &Cancel) -> Result<(), Error> {
        self.powers.resize(1 << WINDOW, Integer::new());
        self.x.assign(1);
        for power in &mut self.powers {
            cancel.check()?;
            power.assign(&self.x);
            self.square.assign(&self.x * &self.base);
            self.x.assign(&self.square % n);
        }
        self.y.assign(1);
        self.y <<= WINDOW;
        self.x.assign(1);
        for window in (0..self.odd_part.significant_bits().div_ceil(WINDOW)).rev() {
            cancel.check()?;
            for _ in 0..WINDOW {
                self.square.assign(self.x.square_ref());
                self.x.assign(&self.square % n);
            }
            let power = &self.powers[digit(&self.odd_part, window, WINDOW) as usize];
            self.square.assign(&self.x * power);
            self.x.assign(&self.square % n);
        }
        Ok(())
    }

    /// Whether base^(n − 1) ≡ 1 (mod n) and gcd(base^((n − 1)/q) − 1, n) = 1 for each q of
    /// `factors`, for an odd n above 2; each q divides n − 1. These are the conditions of a
    /// [`certificate`](crate::certificate), which are a little weaker for a single q.
    pub(crate) fn proves(
        &mut self,
        n: &Integer,
        base: u32,
        factors: &[Integer],
        cancel: &Cancel,
    ) -> Result<bool, Error> {
        let minus_one = Integer::from(n - 1_u32);
        for q in factors {
            self.set_power(n, base, &Integer::from(minus_one.div_exact_ref(q)), cancel)?;
            let fits = match factors {
                [_] => self.x != 1,
                _ => Integer::from(&self.x - 1_u32).gcd(n) == 1,
            };
            if !fits {
                return Ok(false);
            }
            // Raise x to q to get base^(n − 1). It is the same for every q, so once is enough.
            if q == &factors[0] {
                let power = self.x.clone();
                self.base.assign(power);
                self.odd_part.assign(q);
                self.power_any_length(n, cancel)?;
                if self.x != 1 {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// The least prime base that, with the prime factor q of n − 1, proves n prime; n is a strong
    /// probable prime to base 2. `None` if n is composite, or if q is too small (see
    /// [`Sufficiency`]).
    pub(crate) fn base_that_proves(
        &mut self,
        n: &Integer,
        q: &Integer,
        cancel: &Cancel,
    ) -> Result<Option<u32>, Error> {
        let factors = std::slice::from_ref(q);
        if Sufficiency::of_one(n, q) != Sufficiency::Proves {
            return Ok(None);
        }
        Step::base_for(|base| self.proves(n, base, factors, cancel))
    }

    /// Sets x to base^exponent mod n.
    fn set_power(
        &mut self,
        n: &Integer,
        base: u32,
        exponent: &Integer,
        cancel: &Cancel,
    ) -> Result<(), Error> {
        self.base.assign(base);
        self.base.modulo_mut(n);
        self.odd_part.assign(exponent);
        if base == 2 && n.significant_bits() > UNINTERRUPTED_BITS {
            return self.power_of_two(n, cancel);
        }
        self.power_any_length(n, cancel)
    }

    /// Sets x to base^`odd_part` mod n.
    fn power_any_length(&mut self, n: &Integer, cancel: &Cancel) -> Result<(), Error> {
        cancel.check()?;
        if n.significant_bits() > UNINTERRUPTED_BITS {
            return self.power(n, cancel);
        }
        self.x.assign(&self.base);
        power_in_place(&mut self.x, &self.odd_part, n);
        Ok(())
    }

    /// The strong Lucas test of an odd n above 2; see [`is_strong_lucas_probable_prime`].
    ///
    /// Let α, β be the roots of x² − x + Q. The test follows V'_k = (α/β)^k + (β/α)^k = V_2k / Q^k,
    /// which is the V sequence of P' = 1/Q − 2, Q' = 1, and costs two multiplications per bit:
    /// V'_2k = V'_k² − 2, V'_(2k+1) = V'_k V'_(k+1) − P'. It holds that D U_k² = Q^k (V'_k − 2),
    /// V_k² = Q^k (V'_k + 2), and U_k V_k is a unit times 2 V'_(k+1) − P' V'_k. So, modulo an n
    /// coprime to 2QD,
    ///
    /// - U_k ≡ 0 exactly if V'_k ≡ 2 and V'_(k+1) ≡ P';
    /// - V_k ≡ 0 exactly if V'_k ≡ −2 and V'_(k+1) ≡ −P'.
    fn strong_lucas(&mut self, n: &Integer, cancel: &Cancel) -> Result<bool, Error> {
        cancel.check()?;
        if !self.lucas_parameter(n, cancel)? {
            return Ok(false);
        }
        let words = n.significant_digits::<u64>();
        if words > FIXED_WORDS_LUCAS {
            return self.strong_lucas_any_length(n, cancel);
        }
        let p = &self.p;
        Ok(
            fixed!(words, [1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16], n, |field| {
                field.is_strong_lucas_probable_prime(p, n)
            }),
        )
    }

    /// Sets p to the Lucas test's P', reduced modulo n. `false` if the search for it shows that n
    /// is composite.
    fn lucas_parameter(&mut self, n: &Integer, cancel: &Cancel) -> Result<bool, Error> {
        let Some(d) = self.selfridge(n, cancel)? else {
            return Ok(false);
        };
        let q = (1 - d) / 4;
        let magnitude = q.unsigned_abs();
        if small::gcd(n.mod_u(magnitude), magnitude) != 1 {
            return Ok(false);
        }
        // 1/|Q| is (1 + n t)/|Q|, where t < |Q| is chosen so that |Q| divides 1 + n t; |Q| is
        // small.
        let residue = u64::from(n.mod_u(magnitude));
        let t = (0..magnitude)
            .find(|&t| (1 + residue * u64::from(t)).is_multiple_of(u64::from(magnitude)));
        self.p.assign(n * t.unwrap_or(0));
        self.p += 1;
        self.p.div_exact_u_mut(magnitude);
        self.p *= q.signum();
        self.p -= 2;
        self.p.modulo_mut(n);
        Ok(true)
    }

    /// [`Self::strong_lucas`] for numbers of any length, with P' in p.
    fn strong_lucas_any_length(&mut self, n: &Integer, cancel: &Cancel) -> Result<bool, Error> {
        self.odd_part.assign(n + 1_u32);
        let twos = trailing_zeros(&self.odd_part);
        self.odd_part >>= twos;
        // x = V'_k and y = V'_(k+1), from k = 0.
        self.x.assign(2);
        self.y.assign(&self.p);
        for bit in (0..self.odd_part.significant_bits()).rev() {
            cancel.check()?;
            self.product.assign(&self.x * &self.y);
            self.product -= &self.p;
            if self.odd_part.get_bit(bit) {
                self.x.assign(&self.product % n);
                self.square.assign(self.y.square_ref());
                self.square -= 2;
                self.y.assign(&self.square % n);
            } else {
                self.y.assign(&self.product % n);
                self.square.assign(self.x.square_ref());
                self.square -= 2;
                self.x.assign(&self.square % n);
            }
        }
        self.product.assign(&self.x - 2_u32);
        if self.product.is_divisible(n) && self.y.is_congruent(&self.p, n) {
            return Ok(true);
        }
        for doubling in 0..twos {
            cancel.check()?;
            if doubling > 0 {
                self.product.assign(&self.x * &self.y);
                self.product -= &self.p;
                self.y.assign(&self.product % n);
                self.square.assign(self.x.square_ref());
                self.square -= 2;
                self.x.assign(&self.square % n);
            }
            self.product.assign(&self.x + 2_u32);
            if self.product.is_divisible(n) {
                self.y += &self.p;
                return Ok(self.y.is_divisible(n));
            }
        }
        Ok(false)
    }

    /// Selfridge's D for an odd n above 2; `None` if the search for it shows that n is composite.
    fn selfridge(&mut self, n: &Integer, cancel: &Cancel) -> Result<Option<i32>, Error> {
        /// If n is not a square, (D/n) = 1 for half of all D. So test for a square only after this
        /// D.
        const SQUARE_AFTER: i32 = 21;
        let mut d = 5_i32;
        loop {
            self.x.assign(d);
            match self.x.jacobi(n) {
                -1 => return Ok(Some(d)),
                // D and n have a common factor, so n is composite unless it is that factor.
                0 if !self.x.is_divisible(n) => return Ok(None),
                _ => {}
            }
            if d == SQUARE_AFTER && n.is_perfect_square() {
                return Ok(None);
            }
            cancel.check()?;
            d = if d > 0 { -d - 2 } else { 2 - d };
        }
    }
}

/// The exponent of 2 in a positive number.
fn trailing_zeros(n: &Integer) -> u32 {
    n.find_one(0).unwrap_or(0)
}

/// The bits [index · width, (index + 1) · width) of a positive number; `width` is below 32.
fn digit(n: &Integer, index: u32, width: u32) -> u32 {
    let low = index * width;
    (0..width).fold(0, |digit, bit| {
        digit | u32::from(n.get_bit(low + bit)) << bit
    })
}

/// `x = x^exponent mod modulus` for a positive exponent and modulus.
fn power_in_place(x: &mut Integer, exponent: &Integer, modulus: &Integer) {
    let done = x.pow_mod_mut(exponent, modulus);
    debug_assert!(done.is_ok(), "fails for negative exponents only");
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;
    use rug::integer::IsPrime;

    use super::*;

    fn strong(n: u64, base: u32) -> bool {
        let n = Integer::from(n);
        let result = is_strong_probable_prime(&n, &base.into(), &Cancel::new()).unwrap();
        let mut tester = Tester {
            base: Integer::from(base) % &n,
            ..Tester::default()
        };
        assert_eq!(
            tester.strong_any_length(&n, &Cancel::new()),
            Ok(result),
            "{n}"
        );
        result
    }

    fn lucas(n: u64) -> bool {
        let n = Integer::from(n);
        let result = is_strong_lucas_probable_prime(&n, &Cancel::new()).unwrap();
        if n.is_odd() && n > 2 {
            let mut tester = Tester::default();
            let any_length = tester.lucas_parameter(&n, &Cancel::new()).unwrap()
                && tester.strong_lucas_any_length(&n, &Cancel::new()).unwrap();
            assert_eq!(result, any_length, "{n}");
        }
        result
    }

    /// The strong Lucas test, straight from its definition, for n below 2^30.
    fn lucas_by_definition(n: i64) -> bool {
        let jacobi = |d: i64| Integer::from(d).jacobi(&Integer::from(n));
        let Some(d) = (0..100)
            .map(|i: i64| (5 + 2 * i) * if i % 2 == 0 { 1 } else { -1 })
            .find(|&d| jacobi(d) == -1)
        else {
            return false;
        };
        let q = (1 - d) / 4;
        if Integer::from(n).gcd(&Integer::from(2 * q * d)) != 1 {
            return false;
        }
        let twos = (n + 1).trailing_zeros();
        let odd = (n + 1) >> twos;
        // U and V by their recurrence: V_0 = 2, V_1 = U_1 = P = 1.
        let (mut u, mut u_next, mut v, mut v_next) = (0, 1, 2, 1);
        let mut k = 0;
        for r in 0..twos {
            while k < odd << r {
                (u, u_next) = (u_next, (u_next - q * u).rem_euclid(n));
                (v, v_next) = (v_next, (v_next - q * v).rem_euclid(n));
                k += 1;
            }
            if r == 0 && u % n == 0 || v % n == 0 {
                return true;
            }
        }
        false
    }

    #[test]
    fn the_lucas_test_is_its_definition() {
        for n in (3..12_000).step_by(2) {
            assert_eq!(lucas(n), lucas_by_definition(n as i64), "{n}");
        }
        for n in [25_199, 58_519, 97_439, 100_127, 1093 * 1093, 99_991] {
            assert_eq!(lucas(n), lucas_by_definition(n as i64), "{n}");
        }
    }

    fn probable(n: &Integer) -> bool {
        is_probable_prime(n, &Cancel::new()).unwrap()
    }

    fn by_gmp(n: &Integer) -> bool {
        n.is_probably_prime(40) != IsPrime::No
    }

    /// A random odd number of `bits` bits.
    fn odd(bits: u32, seed: u64) -> Integer {
        let mut n = Integer::new();
        Stream::seeded(seed, 1).draw_start(&mut n, bits).unwrap();
        n.set_bit(0, true);
        n
    }

    /// Arnault's composite of 397 digits, p · (313 (p − 1) + 1) · (353 (p − 1) + 1): a Carmichael
    /// number and a strong pseudoprime to all prime bases below 307 (Arnault, *Constructing
    /// Carmichael numbers which are strong pseudoprimes to several bases*, 1995).
    pub(crate) fn arnault() -> Integer {
        let p = Integer::from_str_radix(
            "296744956686855105501541746429053327307719917998530433509950755312768387531717701995942385\
             96428121188033664754218345562493168782883",
            10,
        );
        let p: Integer = p.unwrap();
        let minus_one = Integer::from(&p - 1);
        let second = Integer::from(&minus_one * 313) + 1;
        let third = Integer::from(&minus_one * 353) + 1;
        p * second * third
    }

    #[test]
    fn strong_pseudoprimes_to_base_2() {
        let fooled: Vec<u64> = (3..75_000)
            .step_by(2)
            .filter(|&n| strong(n, 2) && !small::is_prime(n))
            .collect();
        assert_eq!(
            fooled,
            [
                2047, 3277, 4033, 4681, 8321, 15841, 29341, 42799, 49141, 52633, 65281, 74665
            ]
        );
    }

    #[test]
    fn strong_lucas_pseudoprimes() {
        // OEIS A217255.
        let known = [
            5459, 5777, 10877, 16109, 18971, 22499, 24569, 25199, 40309, 58519, 75077, 97439,
            100127,
        ];
        let (fooled, wrong): (Vec<u64>, Vec<u64>) = (0..100_200)
            .filter(|&n| lucas(n) != (n > 2 && small::is_prime(n)))
            .partition(|&n| lucas(n));
        assert_eq!(fooled, known);
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    #[test]
    fn no_number_fools_both_halves() {
        for n in (3..300_000).step_by(2) {
            assert_eq!(strong(n, 2) && lucas(n), small::is_prime(n), "{n}");
        }
    }

    #[test]
    fn small_and_negative_numbers() {
        for n in -20..2 {
            assert!(!probable(&Integer::from(n)), "{n}");
        }
        for n in 2..2000_u64 {
            assert_eq!(probable(&Integer::from(n)), small::is_prime(n));
        }
        for n in [-7, 0, 1, 2, 4] {
            let n = Integer::from(n);
            assert_eq!(
                is_strong_probable_prime(&n, &Integer::from(3), &Cancel::new()),
                Ok(false)
            );
            assert_eq!(
                is_strong_lucas_probable_prime(&n, &Cancel::new()),
                Ok(false)
            );
        }
    }

    #[test]
    fn squares_are_composite() {
        for bits in [40, 64, 100, 2500] {
            let root = odd(bits, 5);
            assert!(!probable(&root.clone().square()));
            assert!(!is_strong_lucas_probable_prime(&root.square(), &Cancel::new()).unwrap());
        }
        // A Wieferich prime's square is a strong pseudoprime to base 2.
        assert!(strong(1093 * 1093, 2) && !lucas(1093 * 1093));
        assert!(strong(3511 * 3511, 2) && !lucas(3511 * 3511));
    }

    #[test]
    fn arnaults_composite_is_found_out() {
        let n = arnault();
        assert_eq!(n.to_string().len(), 397);
        for base in [2_u32, 3, 5, 101, 293] {
            let base = Integer::from(base);
            assert_eq!(
                is_strong_probable_prime(&n, &base, &Cancel::new()),
                Ok(true)
            );
        }
        assert_eq!(
            is_strong_lucas_probable_prime(&n, &Cancel::new()),
            Ok(false)
        );
        assert!(!probable(&n));
        // Random bases expose it too: at least 3/4 of them are witnesses.
        let mut tester = Tester::default();
        let mut bases = Stream::seeded(1, 1);
        let passed = (0..60)
            .filter(|_| {
                tester
                    .miller_rabin_round(&n, &mut bases, &Cancel::new())
                    .unwrap()
            })
            .count();
        assert!(passed <= 30, "{passed}");
    }

    #[test]
    fn carmichael_numbers_above_64_bits() {
        // Chernick's (6k + 1)(12k + 1)(18k + 1), all factors prime.
        let mut found = 0;
        let mut k = Integer::from(1_u64 << 40);
        while found < 5 {
            k += 1;
            let factors = [6_u32, 12, 18].map(|m| Integer::from(&k * m) + 1_u32);
            if factors.iter().all(by_gmp) {
                found += 1;
                let n = Integer::from(Integer::product(factors.iter()));
                assert!(!probable(&n), "{n}");
            }
        }
    }

    #[test]
    fn mersenne_numbers() {
        // Above `UNINTERRUPTED_BITS` too, and with the longest possible n + 1 = 2^s.
        for exponent in [61_u32, 89, 107, 127, 521, 607, 1279, 2203, 4423, 9689] {
            let n = (Integer::from(1) << exponent) - 1_u32;
            assert!(probable(&n), "{exponent}");
        }
        for exponent in [67_u32, 101, 257, 4421, 9679] {
            let n = (Integer::from(1) << exponent) - 1_u32;
            assert!(!probable(&n), "{exponent}");
        }
    }

    #[test]
    fn fermat_numbers() {
        // Strong pseudoprimes to base 2 with the longest possible n − 1 = 2^s. Those used here, the
        // Fermat numbers F5 to F13, are composite.
        for k in 5..=13 {
            let n = (Integer::from(1) << (1_u32 << k)) + 1_u32;
            assert_eq!(
                is_strong_probable_prime(&n, &Integer::from(2), &Cancel::new()),
                Ok(true)
            );
            assert!(!probable(&n), "{k}");
        }
    }

    #[test]
    fn a_million_random_numbers_agree_with_gmp() {
        let (mut stream, mut n, mut tested) = (Stream::seeded(32, 0), Integer::new(), 0);
        let mut tester = Tester::default();
        // Sizes in bits, and how many numbers of each.
        let sizes = (2..=130).map(|bits| (bits, 7300));
        let sizes = sizes.chain((131..=520).step_by(4).map(|bits| (bits, 600)));
        for (bits, count) in sizes.chain((521..=2100).step_by(40).map(|bits| (bits, 50))) {
            for _ in 0..count {
                stream.draw_start(&mut n, bits).unwrap();
                n.set_bit(0, true);
                let result = tester.is_probable_prime(&n, &Cancel::new()).unwrap();
                assert_eq!(result, n.is_probably_prime(25) != IsPrime::No, "{n:x}");
                tested += 1;
            }
        }
        assert!(tested >= 1_000_000, "{tested}");
    }

    #[test]
    fn interruptible_powers_equal_gmps() {
        for (seed, bits) in [(1, 65), (2, 200), (3, 1000), (4, 4097), (5, 6001)] {
            let n = odd(bits, seed);
            let mut tester = Tester {
                odd_part: odd(bits - 1, seed + 100),
                ..Tester::default()
            };
            let expected =
                |base: &Integer| Integer::from(base.pow_mod_ref(&tester.odd_part, &n).unwrap());
            let two = expected(&Integer::from(2));
            let base = odd(bits - 2, seed + 200);
            let other = expected(&base);
            tester.power_of_two(&n, &Cancel::new()).unwrap();
            assert_eq!(tester.x, two);
            tester.base = base;
            tester.power(&n, &Cancel::new()).unwrap();
            assert_eq!(tester.x, other);
        }
    }

    #[test]
    fn every_test_is_cancelled() {
        let cancel = Cancel::new();
        cancel.cancel();
        let n = odd(UNINTERRUPTED_BITS + 1, 1);
        assert_eq!(is_probable_prime(&n, &cancel), Err(Error::Cancelled));
        assert_eq!(
            is_strong_probable_prime(&n, &Integer::from(2), &cancel),
            Err(Error::Cancelled)
        );
        assert_eq!(
            is_strong_lucas_probable_prime(&n, &cancel),
            Err(Error::Cancelled)
        );
        let mut tester = Tester::default();
        tester.odd_part.assign(&n);
        assert_eq!(tester.power_of_two(&n, &cancel), Err(Error::Cancelled));
        assert_eq!(tester.power(&n, &cancel), Err(Error::Cancelled));
    }

    /// The logarithm to base 2 of the bound on p(k, t) that the module's documentation states.
    fn log2_error(bits: u32, rounds: u32) -> f64 {
        let (k, t) = (f64::from(bits), f64::from(rounds));
        let pi = std::f64::consts::PI;
        let mut sum = 0.0;
        let mut least = f64::INFINITY;
        // All terms are divided by 2^k.
        for m in 3..=(2.0 * (k - 1.0).sqrt() - 1.0) as u32 {
            let m = f64::from(m);
            let inner: f64 = (2..=m as u32)
                .map(|j| (-(f64::from(j) + (k - 1.0) / f64::from(j))).exp2())
                .sum();
            sum += (m - (m - 1.0) * t).exp2() * inner;
            let bound = (-2.0 - m * t).exp2() + 8.0 * (pi * pi - 6.0) / 3.0 / 4.0 * sum;
            least = least.min(bound);
        }
        (2.00743 * std::f64::consts::LN_2 * k * least).log2()
    }

    #[test]
    fn one_round_is_left_to_the_caller() {
        for bits in [65, 256, 699, 700, 1024, 2048, 8192] {
            let complete = Assurance::at_random(bits, Confirmation::Complete);
            let rest = Assurance::at_random(bits, Confirmation::OneRoundLeft);
            assert_eq!(rest.rounds + 1, complete.rounds, "{bits}");
            assert_eq!(rest.lucas, complete.lucas, "{bits}");
        }
    }

    #[test]
    fn documented_bounds_hold() {
        for (bits, one, two, rounds) in [
            (128, -7.0, -17.0, 34),
            (256, -14.0, -29.0, 16),
            (512, -26.0, -47.0, 7),
            (700, -32.0, -57.0, 5),
            (1024, -42.0, -72.0, 4),
            (1536, -56.0, -92.0, 3),
            (2048, -67.0, -108.0, 2),
            (3072, -86.0, -137.0, 2),
            (4096, -103.0, -160.0, 1),
        ] {
            assert!(
                log2_error(bits, 1) <= one,
                "{bits}: {}",
                log2_error(bits, 1)
            );
            assert!(
                log2_error(bits, 2) <= two,
                "{bits}: {}",
                log2_error(bits, 2)
            );
            assert!(log2_error(bits, rounds) <= -100.0, "{bits}");
            assert!(
                rounds == 1 || log2_error(bits, rounds - 1) > -100.0,
                "{bits}"
            );
        }
    }

    #[test]
    fn random_candidates_get_the_rounds_they_need() {
        for bits in (65..2000)
            .chain((2000..9000).step_by(37))
            .chain([3883, 3884])
        {
            let Assurance { lucas, rounds } = Assurance::at_random(bits, Confirmation::Complete);
            assert!(rounds > 0);
            assert!(lucas || log2_error(bits, rounds) <= -100.0, "{bits}");
            assert_eq!(lucas, bits < LEAST_BITS_BY_ROUNDS);
        }
    }

    proptest! {
        #[test]
        fn agrees_with_gmp(bits in 2_u32..900, seed: u64) {
            let n = odd(bits, seed);
            prop_assert_eq!(probable(&n), by_gmp(&n));
            let prime = n.next_prime();
            prop_assert!(probable(&prime));
            // Primes pass each part.
            prop_assert!(is_strong_lucas_probable_prime(&prime, &Cancel::new()).unwrap());
            prop_assert!(is_strong_probable_prime(&prime, &Integer::from(seed | 1), &Cancel::new()).unwrap()
                || Integer::from(seed | 1).is_divisible(&prime));
        }

        #[test]
        fn semiprimes_are_composite(bits in 2_u32..300, a: u64, b: u64) {
            let n = odd(bits, a).next_prime() * odd(bits, b).next_prime();
            prop_assert!(!probable(&n));
            // Lucas pseudoprimes above 40 bits are too rare for a random test to meet.
            prop_assert!(n.significant_bits() < 40 || !is_strong_lucas_probable_prime(&n, &Cancel::new()).unwrap());
        }

        #[test]
        fn fixed_and_any_length_agree(bits in 3_u32..1100, seed: u64, base: u64, prime: bool) {
            let mut n = odd(bits, seed);
            if prime {
                n.next_prime_mut();
            }
            let cancel = Cancel::new();
            let mut tester = Tester::default();
            let fixed = tester.strong_lucas(&n, &cancel).unwrap();
            let any = tester.lucas_parameter(&n, &cancel).unwrap()
                && tester.strong_lucas_any_length(&n, &cancel).unwrap();
            prop_assert_eq!(fixed, any);
            for base in [2, base] {
                tester.base = Integer::from(base) % &n;
                let fixed = tester.strong(&n, &cancel).unwrap();
                prop_assert_eq!(fixed, tester.strong_any_length(&n, &cancel).unwrap());
            }
        }
    }
}
