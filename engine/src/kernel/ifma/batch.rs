//! Tests of primality of several numbers at once, one a lane.

use super::field::{Field, WINDOW, field_for};
use super::row::{DIGIT_BITS, DIGIT_MASK, LANES, Row};
use super::scale::scale;
use super::{Ifma, MIN_BITS, integer};
use crate::{Cancel, Error, Stream, small};

/// The greatest number of lanes of a field.
const MAX_LANES: usize = 2 * LANES;

/// Exponent bits of a power of two that its start takes. With more the start would take another step of [`scale`].
const HEAD: u32 = 5;

/// Digit products (squared digits times squarings) between two looks at the cancellation flag: some 10 ms.
const WORK_PER_POLL: u32 = 1 << 21;

/// The greatest difference in bits between the numbers of a batch.
pub(super) const MAX_SPREAD: u32 = 512;

/// A set of lanes; bit `l` is lane `l`.
pub(super) type Lanes = u32;

/// Odd numbers above 2^64, one a lane, and the tests of all of them at once.
///
/// A test looks at all lanes. Lanes to which nothing was loaded hold what was there before, 2^64 + 1 at first.
pub(super) struct Batch {
    proof: Ifma,
    field: Box<dyn Field>,
    limbs: usize,
    /// For each lane the number of bits of its number.
    bits: [u32; MAX_LANES],
    lanes: usize,
    /// One in Montgomery form, less than twice the moduli, once it has been asked for.
    ones: Vec<Row>,
}

impl Batch {
    /// For numbers of up to `bits` bits, if there is a field of that size.
    pub(super) fn new(proof: Ifma, bits: u32) -> Option<Self> {
        let field = field_for(proof, bits)?;
        let (limbs, lanes) = (field.limbs(), LANES * field.groups());
        Some(Self {
            proof,
            field,
            limbs,
            bits: [0; MAX_LANES],
            lanes,
            ones: vec![Row::ZERO; limbs * lanes / LANES],
        })
    }

    /// Numbers that are tested at once.
    pub(super) fn lanes(&self) -> usize {
        self.lanes
    }

    /// Digits of 52 bits of a number.
    pub(super) fn limbs(&self) -> usize {
        self.limbs
    }

    /// Puts an odd number above 2^64 into a lane. `digits` are its 52-bit digits, the least significant first; what
    /// is missing is zero.
    ///
    /// All lanes must be loaded before a test, with numbers that differ by at most [`MAX_SPREAD`] bits in length.
    pub(super) fn load(&mut self, lane: usize, digits: &[u64]) {
        let (group, word) = (lane / LANES, lane % LANES);
        let rows = &mut self.field.moduli_mut()[group * self.limbs..][..self.limbs];
        for (j, row) in rows.iter_mut().enumerate() {
            row.0[word] = digits.get(j).copied().unwrap_or(0);
        }
        self.bits[lane] = bit_length(digits);
        debug_assert!(digits[0] & 1 == 1 && self.bits[lane] >= MIN_BITS);
    }

    /// In which lanes the number is a strong probable prime to base 2.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`].
    pub(super) fn strong_2(&mut self, cancel: &Cancel) -> Result<Lanes, Error> {
        cancel.check()?;
        let longest = self.begin();
        let twos = self.predecessors();
        // The start is 2^head in Montgomery form, for the exponent's highest bits.
        let low = longest - HEAD;
        let mut heads = [0; MAX_LANES];
        let exponents = self.field.parts().exponents;
        for (lane, head) in heads[..self.lanes].iter_mut().enumerate() {
            let rows = &exponents[lane / LANES * self.limbs..][..self.limbs];
            *head = bits_at(rows, lane % LANES, low, HEAD);
        }
        self.start(&heads, false);

        let most = greatest(&twos).min(low);
        self.chunks(low, most, 1, cancel, |field, high, low| {
            field.power_of_two(high, low);
        })?;
        // A lane with more twos than `low` has an odd part below 2^HEAD, and 2^32 is neither 1 nor −1 modulo a number
        // above 2^64: nothing is missed.
        self.strong_end(most, &twos, cancel, |field, bit| field.power_of_two(bit + 1, bit))
    }

    /// In which lanes the number is a strong probable prime to a base of its own, uniform in [1, n − 1].
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`], and [`Error::Randomness`] from `bases`.
    pub(super) fn strong_random(
        &mut self,
        bases: &mut Stream,
        cancel: &Cancel,
    ) -> Result<Lanes, Error> {
        cancel.check()?;
        let longest = self.begin();
        let twos = self.predecessors();
        self.start(&[0; MAX_LANES], true);
        // The Montgomery form of a uniform base is uniform too.
        for lane in 0..self.lanes {
            self.draw(lane, bases)?;
        }
        self.field.begin_power(&self.ones);
        let most = greatest(&twos);
        let windows = (longest - most).div_ceil(WINDOW);
        self.chunks(windows, 0, WINDOW, cancel, |field, high, low| {
            field.power(high - low, most + WINDOW * low);
        })?;
        self.strong_end(most, &twos, cancel, |field, bit| field.power_step(bit))
    }

    /// The end of a strong test: the numbers are the base to the exponent without its `most` low bits, and `step` takes
    /// in the next bit.
    fn strong_end(
        &mut self,
        most: u32,
        twos: &[u32; MAX_LANES],
        cancel: &Cancel,
        step: impl Fn(&mut dyn Field, u32),
    ) -> Result<Lanes, Error> {
        let mut passed = 0;
        for bit in (1..=most).rev() {
            cancel.check()?;
            let (ones, minus_ones) = self.field.units();
            for (lane, &twos) in twos[..self.lanes].iter().enumerate() {
                if bit == twos {
                    passed |= (ones | minus_ones) & 1 << lane;
                } else if bit < twos {
                    passed |= minus_ones & 1 << lane;
                }
            }
            if bit > 1 {
                step(self.field.as_mut(), bit - 1);
            }
        }
        Ok(passed)
    }

    /// In which lanes the number is a strong Lucas probable prime with Selfridge's parameters; see
    /// [`primality`](crate::primality).
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`].
    pub(super) fn strong_lucas(&mut self, cancel: &Cancel) -> Result<Lanes, Error> {
        cancel.check()?;
        let longest = self.begin();
        self.start(&[0; MAX_LANES], true);
        let twos = self.successors();

        // Lanes whose number turns out to be composite go on with any parameter, and do not count.
        let mut possible = 0;
        let mut digits = vec![0; self.limbs];
        for lane in 0..self.lanes {
            self.number(lane, &mut digits);
            let d = selfridge(&digits);
            possible |= Lanes::from(d.is_some()) << lane;
            self.set_lucas_parameter(lane, &digits, d.unwrap_or(5));
        }
        // V_0 = 2 and V_1 = P'; the addends are −P' and −2, so that the sums of both are zero.
        let parts = self.field.parts();
        let minus_p = parts.mixed_addends.to_vec();
        let minus_two = parts.square_addends.to_vec();
        let p = negated(&minus_p, parts.moduli, self.limbs);
        let two = negated(&minus_two, parts.moduli, self.limbs);
        parts.numbers.copy_from_slice(&two);
        parts.seconds.copy_from_slice(&p);

        let most = greatest(&twos);
        self.chunks(longest + 1, most, 2, cancel, |field, high, low| {
            field.lucas(high, low);
        })?;
        let mut passed = 0;
        for bit in (1..=most).rev() {
            cancel.check()?;
            let parts = self.field.parts();
            let (v, next) = (parts.numbers.to_vec(), parts.seconds.to_vec());
            // U ≡ 0 where V ≡ 2 and the next is P'; V ≡ 0 where V ≡ −2 and the next is −P'.
            let mut zeros = |a: &[Row], b: &[Row]| self.field.zeros(&sums(a, b, self.limbs));
            let u_is_zero = zeros(&v, &minus_two) & zeros(&next, &minus_p);
            let v_is_zero = zeros(&v, &two) & zeros(&next, &p);
            for (lane, &twos) in twos[..self.lanes].iter().enumerate() {
                if bit == twos {
                    passed |= (u_is_zero | v_is_zero) & 1 << lane;
                } else if bit < twos {
                    passed |= v_is_zero & 1 << lane;
                }
            }
            if bit > 1 {
                self.field.lucas(bit, bit - 1);
            }
        }
        Ok(passed & possible)
    }

    /// Prepares a test, and returns the number of bits of the longest number.
    fn begin(&mut self) -> u32 {
        self.field.prepare();
        greatest(&self.bits)
    }

    /// Calls `work` for pieces of the steps from `high` down to `low`, each of `weight` squarings or so, and looks at
    /// the flag in between.
    fn chunks(
        &mut self,
        mut high: u32,
        low: u32,
        weight: u32,
        cancel: &Cancel,
        mut work: impl FnMut(&mut dyn Field, u32, u32),
    ) -> Result<(), Error> {
        let limbs = self.limbs as u32;
        let steps = (WORK_PER_POLL / (limbs * limbs * weight)).max(1);
        while high > low {
            cancel.check()?;
            let next = high.saturating_sub(steps).max(low);
            work(self.field.as_mut(), high, next);
            high = next;
        }
        Ok(())
    }

    /// Sets the exponents to the numbers minus one, and returns the exponents of two in them.
    fn predecessors(&mut self) -> [u32; MAX_LANES] {
        let parts = self.field.parts();
        parts.exponents.copy_from_slice(parts.moduli);
        for low in parts.exponents.iter_mut().step_by(self.limbs) {
            // The numbers are odd.
            low.0.iter_mut().for_each(|word| *word &= !1);
        }
        self.trailing_zeros()
    }

    /// Sets the exponents to the numbers plus one, and returns the exponents of two in them.
    fn successors(&mut self) -> [u32; MAX_LANES] {
        let parts = self.field.parts();
        let groups = parts.moduli.chunks(self.limbs);
        for (rows, moduli) in parts.exponents.chunks_mut(self.limbs).zip(groups) {
            let mut carry = [1; LANES];
            for (row, n) in rows.iter_mut().zip(moduli) {
                for ((word, n), carry) in row.0.iter_mut().zip(n.0).zip(&mut carry) {
                    let sum = n + *carry;
                    *word = sum & DIGIT_MASK;
                    *carry = sum >> DIGIT_BITS;
                }
            }
        }
        self.trailing_zeros()
    }

    /// The exponents of two in the exponents; 0 beyond the lanes.
    fn trailing_zeros(&mut self) -> [u32; MAX_LANES] {
        let exponents = self.field.parts().exponents;
        let mut twos = [0; MAX_LANES];
        for (lane, twos) in twos[..self.lanes].iter_mut().enumerate() {
            let rows = &exponents[lane / LANES * self.limbs..][..self.limbs];
            for row in rows {
                let word = row.0[lane % LANES];
                if word != 0 {
                    *twos += word.trailing_zeros();
                    break;
                }
                *twos += DIGIT_BITS;
            }
        }
        twos
    }

    /// Sets the numbers, or `ones`, to 2^head in Montgomery form, less than twice the moduli.
    fn start(&mut self, heads: &[u32], ones: bool) {
        let longest = greatest(&self.bits);
        // Twice the longest modulus fits.
        let used = ((longest / DIGIT_BITS) as usize + 1).min(self.limbs);
        let radix = DIGIT_BITS * self.limbs as u32;
        let parts = self.field.parts();
        let numbers = if ones {
            self.ones.as_mut_slice()
        } else {
            parts.numbers
        };
        let groups = numbers
            .chunks_mut(self.limbs)
            .zip(parts.moduli.chunks(self.limbs));
        for (group, (numbers, moduli)) in groups.enumerate() {
            numbers.fill(Row::ZERO);
            let mut shifts = [0; LANES];
            for (word, shift) in shifts.iter_mut().enumerate() {
                // From the greatest power of two below the modulus.
                let lane = group * LANES + word;
                let top = self.bits[lane] - 1;
                numbers[(top / DIGIT_BITS) as usize].0[word] = 1 << (top % DIGIT_BITS);
                *shift = radix - top + heads[lane];
            }
            scale(self.proof, &moduli[..used], &mut numbers[..used], shifts);
        }
    }

    /// Sets the number of a lane to a random one in [1, n − 1].
    fn draw(&mut self, lane: usize, source: &mut Stream) -> Result<(), Error> {
        let (offset, word) = (lane / LANES * self.limbs, lane % LANES);
        let bits = self.bits[lane];
        let top = ((bits - 1) / DIGIT_BITS) as usize;
        loop {
            let parts = self.field.parts();
            let rows = &mut parts.numbers[offset..][..self.limbs];
            for (j, row) in rows.iter_mut().enumerate() {
                let mask = match j.cmp(&top) {
                    std::cmp::Ordering::Less => DIGIT_MASK,
                    std::cmp::Ordering::Equal => DIGIT_MASK >> (DIGIT_BITS * (top as u32 + 1) - bits),
                    std::cmp::Ordering::Greater => 0,
                };
                row.0[word] = if mask == 0 { 0 } else { source.word()? & mask };
            }
            let moduli = &parts.moduli[offset..][..self.limbs];
            if column(rows, word).lt(column(moduli, word)) && column(rows, word).any(|digit| digit != 0)
            {
                return Ok(());
            }
        }
    }

    /// The digits of a lane's number.
    pub(super) fn number(&mut self, lane: usize, digits: &mut [u64]) {
        let rows = &self.field.parts().moduli[lane / LANES * self.limbs..][..self.limbs];
        for (digit, row) in digits.iter_mut().zip(rows) {
            *digit = row.0[lane % LANES];
        }
    }

    /// Sets a lane's addends to −P' and −2 in Montgomery form, both below 2n, where P' = 1/Q − 2, for Q = (1 − D)/4.
    fn set_lucas_parameter(&mut self, lane: usize, n: &[u64], d: i64) {
        let q = (1 - d) / 4;
        let size = q.unsigned_abs();
        let (offset, word) = (lane / LANES * self.limbs, lane % LANES);
        let one = self.ones[offset..][..self.limbs].iter().map(|row| row.0[word]);
        // one/|Q| = (one + t n)/|Q| for the t below |Q| that makes it whole; then it is below n + n/|Q|.
        let of_one = remainder(one.clone().rev(), size);
        let of_n = remainder(n.iter().rev().copied(), size);
        let t = (0..size)
            .find(|t| (of_one + t * of_n).is_multiple_of(size))
            .unwrap_or(0);
        let mut inverse = vec![0; self.limbs];
        let mut carry = 0;
        for ((digit, one), n) in inverse.iter_mut().zip(one.clone()).zip(n) {
            let sum = u128::from(one) + carry + u128::from(t) * u128::from(*n);
            *digit = sum as u64 & DIGIT_MASK;
            carry = sum >> DIGIT_BITS;
        }
        // Below |Q|: one + t n is below |Q| R/16.
        divide(&mut inverse, carry as u64, size);
        // −P' = 2 − 1/Q.
        let parts = self.field.parts();
        let sign = -q.signum();
        let sums = one.clone().zip(&inverse).map(|(one, &inverse)| 2 * one as i64 + sign * inverse as i64);
        assign_reduced(&mut parts.mixed_addends[offset..], word, sums, n);
        let sums = one.map(|one| -2 * one as i64);
        assign_reduced(&mut parts.square_addends[offset..], word, sums, n);
    }
}

/// Sets a lane of the rows to a sum of digits that may be negative, reduced to [0, n).
fn assign_reduced(rows: &mut [Row], lane: usize, sum: impl Iterator<Item = i64>, n: &[u64]) {
    let mut carry = 0;
    for (row, digit) in rows.iter_mut().zip(sum) {
        let digit = digit + carry;
        row.0[lane] = digit as u64 & DIGIT_MASK;
        carry = digit >> DIGIT_BITS;
    }
    let rows = &mut rows[..n.len()];
    let add = |rows: &mut [Row], sign: i64, mut top: i64| {
        let mut carry = 0;
        for (row, &n) in rows.iter_mut().zip(n) {
            let digit = row.0[lane] as i64 + sign * n as i64 + carry;
            row.0[lane] = digit as u64 & DIGIT_MASK;
            carry = digit >> DIGIT_BITS;
        }
        top += carry;
        top
    };
    while carry < 0 {
        carry = add(rows, 1, carry);
    }
    while carry > 0 || !column(rows, lane).lt(n.iter().rev().copied()) {
        carry = add(rows, -1, carry);
    }
}

/// Minus numbers in [0, N], lane by lane.
fn negated(rows: &[Row], moduli: &[Row], limbs: usize) -> Vec<Row> {
    let mut negated = moduli.to_vec();
    for (to, rows) in negated.chunks_mut(limbs).zip(rows.chunks(limbs)) {
        let mut borrow = [0; LANES];
        for (to, row) in to.iter_mut().zip(rows) {
            for ((to, digit), borrow) in to.0.iter_mut().zip(row.0).zip(&mut borrow) {
                let difference = to.wrapping_sub(digit).wrapping_sub(*borrow);
                *to = difference & DIGIT_MASK;
                *borrow = difference >> 63;
            }
        }
    }
    negated
}

/// Sums of numbers, lane by lane.
fn sums(a: &[Row], b: &[Row], limbs: usize) -> Vec<Row> {
    let mut sums = a.to_vec();
    for (to, rows) in sums.chunks_mut(limbs).zip(b.chunks(limbs)) {
        let mut carry = [0; LANES];
        for (to, row) in to.iter_mut().zip(rows) {
            for ((to, digit), carry) in to.0.iter_mut().zip(row.0).zip(&mut carry) {
                // Digits of numbers may have carries above that are in the next digit already.
                let sum = (*to & DIGIT_MASK) + (digit & DIGIT_MASK) + *carry;
                *to = sum & DIGIT_MASK;
                *carry = sum >> DIGIT_BITS;
            }
        }
    }
    sums
}

/// The digits of a lane's number, from the top.
fn column(rows: &[Row], lane: usize) -> impl Iterator<Item = u64> {
    rows.iter().rev().map(move |row| row.0[lane])
}

/// The greatest of some numbers.
fn greatest(numbers: &[u32; MAX_LANES]) -> u32 {
    numbers.iter().copied().fold(0, u32::max)
}

/// The number of significant bits of a number.
pub(super) fn bit_length(digits: &[u64]) -> u32 {
    digits.iter().rposition(|&digit| digit != 0).map_or(0, |top| {
        DIGIT_BITS * top as u32 + u64::BITS - digits[top].leading_zeros()
    })
}

/// The `count` bits, at most [`DIGIT_BITS`], from bit `low` upwards of a lane's number.
fn bits_at(rows: &[Row], lane: usize, low: u32, count: u32) -> u32 {
    let (digit, place) = ((low / DIGIT_BITS) as usize, low % DIGIT_BITS);
    let mut bits = rows[digit].0[lane] >> place;
    if place + count > DIGIT_BITS && digit + 1 < rows.len() {
        bits |= rows[digit + 1].0[lane] << (DIGIT_BITS - place);
    }
    bits as u32 & ((1 << count) - 1)
}

/// A number, given by its digits from the top, modulo a small one.
fn remainder(digits: impl Iterator<Item = u64>, divisor: u64) -> u64 {
    digits.fold(0, |rest, digit| divide_digit(rest, digit, divisor).1)
}

/// Divides a number, given by its digits and what is above them, by a small divisor that is greater than the latter.
fn divide(digits: &mut [u64], mut rest: u64, divisor: u64) {
    for digit in digits.iter_mut().rev() {
        (*digit, rest) = divide_digit(rest, *digit, divisor);
    }
}

/// Quotient and remainder of rest · 2^52 + digit, for a rest below the divisor.
fn divide_digit(rest: u64, digit: u64, divisor: u64) -> (u64, u64) {
    if divisor < 1 << (u64::BITS - DIGIT_BITS) {
        let number = rest << DIGIT_BITS | digit;
        (number / divisor, number % divisor)
    } else {
        let number = u128::from(rest) << DIGIT_BITS | u128::from(digit);
        let divisor = u128::from(divisor);
        // A quotient below 2^52, and a remainder below a u64.
        ((number / divisor) as u64, (number % divisor) as u64)
    }
}

/// Selfridge's D for an odd n above 2^64: the first of 5, −7, 9, −11, ... with Jacobi symbol (D/n) = −1. Nothing if n
/// turns out to be composite meanwhile, or not to be coprime to Q = (1 − D)/4.
fn selfridge(n: &[u64]) -> Option<i64> {
    /// A number that is no square has (D/n) = 1 for half of the D, so a square is looked for only now.
    const SQUARE_AFTER: i64 = 21;
    let mut d = 5_i64;
    loop {
        let size = d.unsigned_abs();
        match jacobi(d, remainder(n.iter().rev().copied(), size), n[0]) {
            -1 => {
                let q = ((1 - d) / 4).unsigned_abs();
                let common = small::gcd(remainder(n.iter().rev().copied(), q) as u32, q as u32);
                return (common == 1).then_some(d);
            }
            // A common factor below n.
            0 => return None,
            _ => {}
        }
        if d == SQUARE_AFTER && integer(n).is_perfect_square() {
            return None;
        }
        d = if d > 0 { -d - 2 } else { 2 - d };
    }
}

/// The Jacobi symbol (d/n) for odd d and positive odd n, given n mod |d| and the low word of n.
fn jacobi(d: i64, rest: u64, low: u64) -> i32 {
    // (−1/n) = −1 where n ≡ 3 (mod 4); then reciprocity between |d| and n.
    let size = d.unsigned_abs();
    let mut symbol = if d < 0 && low % 4 == 3 { -1 } else { 1 };
    if size % 4 == 3 && low % 4 == 3 {
        symbol = -symbol;
    }
    let (mut a, mut n) = (rest, size);
    while a != 0 {
        let twos = a.trailing_zeros();
        a >>= twos;
        if twos % 2 == 1 && matches!(n % 8, 3 | 5) {
            symbol = -symbol;
        }
        if a % 4 == 3 && n % 4 == 3 {
            symbol = -symbol;
        }
        (a, n) = (n % a, a);
    }
    if n == 1 { symbol } else { 0 }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use rug::Integer;

    use super::super::{field, write_digits};
    use super::*;
    use crate::primality;

    fn detect() -> Option<Ifma> {
        Ifma::detect()
    }

    fn load_all(batch: &mut Batch, numbers: &[Integer]) {
        let mut digits = vec![0; batch.limbs()];
        for lane in 0..batch.lanes() {
            write_digits(&numbers[lane % numbers.len()], &mut digits);
            batch.load(lane, &digits);
        }
    }

    /// Compares all tests with the portable ones.
    fn compare(batch: &mut Batch, numbers: &[Integer], lucas: bool) {
        let cancel = Cancel::new();
        let mut bases = Stream::seeded(1, 1);
        for numbers in numbers.chunks(batch.lanes()) {
            load_all(batch, numbers);
            let strong = batch.strong_2(&cancel).unwrap();
            let random = batch.strong_random(&mut bases, &cancel).unwrap();
            let lucas = lucas.then(|| batch.strong_lucas(&cancel).unwrap());
            for (lane, n) in numbers.iter().enumerate() {
                let two = Integer::from(2);
                let expected = primality::is_strong_probable_prime(n, &two, &cancel).unwrap();
                assert_eq!(strong >> lane & 1 == 1, expected, "2: {n:x}");
                let prime = n.is_probably_prime(1) != rug::integer::IsPrime::No;
                assert_eq!(random >> lane & 1 == 1, prime, "random: {n:x}");
                if let Some(lucas) = lucas {
                    let expected = primality::is_strong_lucas_probable_prime(n, &cancel).unwrap();
                    assert_eq!(lucas >> lane & 1 == 1, expected, "Lucas: {n:x}");
                }
            }
        }
    }

    #[test]
    fn random_numbers_of_all_sizes() {
        let Some(proof) = detect() else { return };
        let mut stream = Stream::seeded(2, 0);
        let mut bits = MIN_BITS;
        while bits <= field::MAX_BITS {
            let mut batch = Batch::new(proof, bits).unwrap();
            let count = (400_000 / bits / bits * 16).clamp(1, 400) as usize * batch.lanes() / 2;
            let numbers: Vec<Integer> = (0..count)
                .map(|i| {
                    let mut n = Integer::new();
                    stream.draw_start(&mut n, bits).unwrap();
                    n.set_bit(0, true);
                    if i % 4 == 0 && bits < 1000 {
                        n.next_prime_mut();
                        if n.significant_bits() > bits {
                            n -= 1 << 20;
                            n.set_bit(0, true);
                        }
                    }
                    n
                })
                .collect();
            compare(&mut batch, &numbers, bits < 1100);
            bits += 1 + bits / 37;
        }
    }
}

#[cfg(test)]
mod speed {
    use super::*;
    use std::time::Instant;
    #[test]
    #[ignore]
    fn speed() {
        let proof = Ifma::detect().unwrap();
        let med = |mut v: Vec<f64>| { v.sort_by(f64::total_cmp); v[v.len() / 2] };
        for bits in [128, 200, 256, 308, 360, 412, 464, 512, 620, 768, 1024, 1400, 1556, 2048, 3072, 4096, 8192] {
            let mut batch = Batch::new(proof, bits).unwrap();
            let mut stream = Stream::seeded(2, 0);
            let mut digits = vec![0; batch.limbs()];
            for lane in 0..batch.lanes() {
                let mut n = rug::Integer::new();
                stream.draw_start(&mut n, bits).unwrap();
                n.set_bit(0, true);
                super::super::write_digits(&n, &mut digits);
                batch.load(lane, &digits);
            }
            let l = batch.limbs() as f64;
            let groups = (batch.lanes() / 8) as f64;
            let (mut t2, mut tr, mut tl, mut share, mut raw) = (vec![], vec![], vec![], vec![], vec![]);
            let cancel = Cancel::new();
            let reps = (2_000_000 / bits / bits).max(1);
            for _ in 0..11 {
                let t = Instant::now();
                let c = super::super::limit::multiply_adds(proof, 2_000_000);
                let per = t.elapsed().as_secs_f64() / c as f64;
                let t = Instant::now();
                for _ in 0..reps { batch.strong_2(&cancel).unwrap(); }
                let a = t.elapsed().as_secs_f64() / reps as f64;
                t2.push(a / batch.lanes() as f64);
                let t = Instant::now();
                for _ in 0..reps { batch.field.power_of_two(bits, 0); }
                let p = t.elapsed().as_secs_f64() / reps as f64;
                raw.push(p / a);
                let uops = groups * (l * (l - 1.) + 2. * l + 2. * l * l + 2. * l);
                share.push(f64::from(bits) * uops * per / p);
                let t = Instant::now();
                for _ in 0..reps { batch.strong_random(&mut stream, &cancel).unwrap(); }
                tr.push(t.elapsed().as_secs_f64() / reps as f64 / a);
                let t = Instant::now();
                for _ in 0..reps { batch.strong_lucas(&cancel).unwrap(); }
                tl.push(t.elapsed().as_secs_f64() / reps as f64 / a);
            }
            println!("{bits} L={l} lanes={} {:.0} ns a number, share {:.3}, raw/strong {:.3} random {:.2} lucas {:.2}", batch.lanes(), med(t2) * 1e9, med(share), med(raw), med(tr), med(tl));
        }
    }
}
