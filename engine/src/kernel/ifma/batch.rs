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
    /// The numbers at a place in a test that may have to be returned to.
    kept: Vec<Row>,
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
            kept: vec![Row::ZERO; limbs * lanes / LANES],
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
        // Almost always one look at y = 2^((n − 1)/2) is enough. A strong probable prime to base 2 is an Euler–Jacobi one
        // (Pomerance, Selfridge & Wagstaff 1980): y is the Jacobi symbol (2/n), which is −1 for n ≡ 5 (mod 8), with two
        // twos in n − 1, and 1 for n ≡ 1 (mod 8), with more. So y = 1 leaves a doubt only there.
        self.kept.copy_from_slice(self.field.parts().numbers);
        self.chunks(most, 1, 1, cancel, |field, high, low| {
            field.power_of_two(high, low);
        })?;
        let (ones, minus_ones) = self.field.units();
        let lanes_with = |these: fn(u32) -> bool| {
            let lanes = twos[..self.lanes].iter().enumerate();
            lanes.fold(0, |lanes, (lane, &twos)| {
                lanes | Lanes::from(these(twos)) << lane
            })
        };
        let few = lanes_with(|twos| twos == 1);
        if ones & lanes_with(|twos| twos > 2) == 0 {
            return Ok(minus_ones | ones & few);
        }
        self.field.parts().numbers.copy_from_slice(&self.kept);
        // A lane with more twos than `low` has an odd part below 2^HEAD, and 2^32 is neither 1 nor −1 modulo a number
        // above 2^64: nothing is missed.
        self.strong_end(most, &twos, cancel, |field, bit| {
            field.power_of_two(bit + 1, bit)
        })
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
        self.begin_random(bases)?;
        self.end_random(cancel)
    }

    /// Sets the numbers to random bases.
    fn begin_random(&mut self, bases: &mut Stream) -> Result<(), Error> {
        // The Montgomery form of a uniform base is uniform too.
        (0..self.lanes).try_for_each(|lane| self.draw(lane, bases))
    }

    /// Tests to the bases that the numbers are.
    fn end_random(&mut self, cancel: &Cancel) -> Result<Lanes, Error> {
        let longest = self.begin();
        let twos = self.predecessors();
        self.start(&[0; MAX_LANES], true);
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
        let p = negated(parts.mixed_addends, parts.moduli, self.limbs);
        parts.seconds.copy_from_slice(&p);
        parts
            .numbers
            .copy_from_slice(&negated(parts.square_addends, parts.moduli, self.limbs));
        // P', −P', 2 and −2 without Montgomery form, in [0, n].
        let mut left_p = p.clone();
        self.field.leave(&p, &mut left_p);
        let mut two = vec![Row::ZERO; p.len()];
        two.iter_mut()
            .step_by(self.limbs)
            .for_each(|low| *low = Row([2; LANES]));
        let moduli = self.field.parts().moduli;
        let minus_p = negated(&left_p, moduli, self.limbs);
        let minus_two = negated(&two, moduli, self.limbs);
        let (mut v, mut next, mut form) = (p.clone(), p.clone(), p);

        let most = greatest(&twos);
        self.chunks(longest + 1, most, 2, cancel, |field, high, low| {
            field.lucas(high, low);
        })?;
        let mut passed = 0;
        for bit in (1..=most).rev() {
            cancel.check()?;
            form.copy_from_slice(self.field.parts().numbers);
            self.field.leave(&form, &mut v);
            form.copy_from_slice(self.field.parts().seconds);
            self.field.leave(&form, &mut next);
            // U ≡ 0 where V ≡ 2 and the next is P'; V ≡ 0 where V ≡ −2 and the next is −P'.
            let equal = |a: &[Row], b: &[Row]| equal(a, b, self.limbs);
            let u_is_zero = equal(&v, &two) & equal(&next, &left_p);
            let v_is_zero = equal(&v, &minus_two) & equal(&next, &minus_p);
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
                    std::cmp::Ordering::Equal => {
                        DIGIT_MASK >> (DIGIT_BITS * (top as u32 + 1) - bits)
                    }
                    std::cmp::Ordering::Greater => 0,
                };
                row.0[word] = if mask == 0 { 0 } else { source.word()? & mask };
            }
            let moduli = &parts.moduli[offset..][..self.limbs];
            if column(rows, word).lt(column(moduli, word))
                && column(rows, word).any(|digit| digit != 0)
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
        let one = self.ones[offset..][..self.limbs]
            .iter()
            .map(|row| row.0[word]);
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
        let sums = one
            .clone()
            .zip(&inverse)
            .map(|(one, &inverse)| 2 * one as i64 + sign * inverse as i64);
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

/// In which lanes numbers, in [0, N], are equal.
fn equal(a: &[Row], b: &[Row], limbs: usize) -> Lanes {
    let mut lanes = 0;
    for (group, (a, b)) in a.chunks(limbs).zip(b.chunks(limbs)).enumerate() {
        let mut differences = [0; LANES];
        for (a, b) in a.iter().zip(b) {
            for ((difference, a), b) in differences.iter_mut().zip(a.0).zip(b.0) {
                *difference |= a ^ b;
            }
        }
        for (lane, difference) in differences.into_iter().enumerate() {
            lanes |= Lanes::from(difference == 0) << (group * LANES + lane);
        }
    }
    lanes
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
    digits
        .iter()
        .rposition(|&digit| digit != 0)
        .map_or(0, |top| {
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

    use proptest::prelude::*;
    use rug::Integer;
    use rug::integer::IsPrime;

    use super::super::field::{MAX_BITS, limbs_for};
    use super::super::write_digits;
    use super::*;
    use crate::primality;

    /// A batch with these numbers, in turn, in its lanes; or nothing on a processor that has no such thing.
    fn batch(numbers: &[Integer]) -> Option<Batch> {
        let bits = numbers.iter().map(Integer::significant_bits).max().unwrap();
        let mut batch = Batch::new(Ifma::detect()?, bits).unwrap();
        load_all(&mut batch, numbers);
        Some(batch)
    }

    fn load_all(batch: &mut Batch, numbers: &[Integer]) {
        let mut digits = vec![0; batch.limbs()];
        for lane in 0..batch.lanes() {
            write_digits(&numbers[lane % numbers.len()], &mut digits);
            batch.load(lane, &digits);
        }
    }

    fn strong(n: &Integer, base: &Integer) -> bool {
        primality::is_strong_probable_prime(n, base, &Cancel::new()).unwrap()
    }

    fn lucas(n: &Integer) -> bool {
        primality::is_strong_lucas_probable_prime(n, &Cancel::new()).unwrap()
    }

    /// Compares all tests of a batch's lanes with the portable ones, which do the same arithmetic with GMP or in words.
    fn compare(batch: &mut Batch, numbers: &[Integer]) {
        let cancel = Cancel::new();
        let two = Integer::from(2);
        for numbers in numbers.chunks(batch.lanes()) {
            load_all(batch, numbers);
            let passed = batch.strong_2(&cancel).unwrap();
            for (lane, n) in numbers.iter().enumerate() {
                assert_eq!(passed >> lane & 1 == 1, strong(n, &two), "2: {n:x}");
            }
            let radix = Integer::from(1) << (DIGIT_BITS * batch.limbs() as u32);
            batch.begin_random(&mut Stream::seeded(1, 1)).unwrap();
            let bases: Vec<Integer> = (0..numbers.len())
                .map(|lane| {
                    let n = &numbers[lane];
                    let rows = &batch.field.parts().numbers[lane / LANES * batch.limbs..];
                    let digits: Vec<u64> = rows[..batch.limbs]
                        .iter()
                        .map(|row| row.0[lane % LANES])
                        .collect();
                    let form = integer(&digits);
                    assert!(form > 0 && form < *n);
                    form * Integer::from(radix.invert_ref(n).unwrap()) % n
                })
                .collect();
            let passed = batch.end_random(&cancel).unwrap();
            for (lane, (n, base)) in numbers.iter().zip(&bases).enumerate() {
                assert_eq!(passed >> lane & 1 == 1, strong(n, base), "{base:x}: {n:x}");
            }
            let passed = batch.strong_lucas(&cancel).unwrap();
            for (lane, n) in numbers.iter().enumerate() {
                assert_eq!(passed >> lane & 1 == 1, lucas(n), "Lucas: {n:x}");
            }
        }
    }

    /// Compares with numbers of any size: those of about the same size share a batch.
    fn compare_all(mut numbers: Vec<Integer>) {
        numbers.retain(|n| n.is_odd() && (MIN_BITS..=MAX_BITS).contains(&n.significant_bits()));
        numbers.sort();
        let class = |n: &Integer| limbs_for(n.significant_bits());
        let chunks = numbers.chunk_by(|a, b| class(a) == class(b));
        for (numbers, proof) in
            chunks.flat_map(|chunk| Ifma::all().into_iter().map(move |proof| (chunk, proof)))
        {
            let bits = numbers[0].significant_bits();
            let mut batch = Batch::new(proof, bits).unwrap();
            let (near, far): (Vec<Integer>, Vec<Integer>) = numbers
                .iter()
                .cloned()
                .partition(|n| n.significant_bits() - bits <= MAX_SPREAD);
            compare(&mut batch, &near);
            for n in far {
                compare(&mut batch, &[n]);
            }
        }
    }

    fn random_odd(stream: &mut Stream, bits: u32) -> Integer {
        let mut n = Integer::new();
        stream.draw_start(&mut n, bits).unwrap();
        n.set_bit(0, true);
        n
    }

    /// Of a million, which take two minutes, a fixed sample; all of them where `PRIMEPOOL_TEST_FULL` is set, as by `make test-all`.
    #[test]
    fn a_million_random_numbers() {
        let Some(proof) = Ifma::detect() else { return };
        let is_full = std::env::var_os("PRIMEPOOL_TEST_FULL").is_some();
        let share = if is_full { 1 } else { 25 };
        // Up to so many bits: the step between sizes, and the numbers of each size.
        let sizes = [
            (130, 1, 7200),
            (260, 2, 6400),
            (520, 4, 1600),
            (1040, 8, 200),
            (2080, 40, 32),
            (4160, 120, 8),
            (MAX_BITS, 700, 8),
        ];
        let (mut stream, mut bits, mut tested) = (Stream::seeded(2, 0), MIN_BITS, 0);
        let two = Integer::from(2);
        for (last, step, count) in sizes {
            while bits <= last {
                let mut batch = Batch::new(proof, bits).unwrap();
                for _ in 0..(count / batch.lanes() / share).max(1) {
                    let numbers: Vec<Integer> = (0..batch.lanes())
                        .map(|_| random_odd(&mut stream, bits))
                        .collect();
                    load_all(&mut batch, &numbers);
                    let passed = batch.strong_2(&Cancel::new()).unwrap();
                    for (lane, n) in numbers.iter().enumerate() {
                        assert_eq!(passed >> lane & 1 == 1, strong(n, &two), "{n:x}");
                        tested += 1;
                    }
                }
                bits += step;
            }
        }
        assert!(tested >= 1_000_000 / share, "{tested}");
    }

    #[test]
    fn primes_and_random_numbers_of_many_sizes() {
        let mut stream = Stream::seeded(3, 0);
        let mut numbers = Vec::new();
        let mut bits = MIN_BITS;
        while bits <= 1100 {
            for i in 0..if bits < 500 { 12 } else { 3 } {
                let n = random_odd(&mut stream, bits);
                numbers.push(if i % 3 == 0 { n.next_prime() } else { n });
            }
            bits += 1 + bits / 40;
        }
        compare_all(numbers);
    }

    #[test]
    fn numbers_next_to_powers_of_two() {
        let mut numbers = Vec::new();
        for k in (65..700).chain([
            1020, 1024, 1036, 1039, 1040, 1041, 1244, 1556, 2047, 2048, 2076,
        ]) {
            let power = Integer::from(1) << k;
            for c in [1_u32, 3, 59] {
                numbers.extend([Integer::from(&power + c), Integer::from(&power - c)]);
            }
            numbers.push(Integer::from(&power - 1_u32) - (Integer::from(1) << (k / 2)));
        }
        compare_all(numbers);
    }

    #[test]
    fn numbers_at_the_edges_of_fields_and_digits() {
        let mut numbers = Vec::new();
        for limbs in (3..=40).filter(|&limbs| limbs_for(field_bits(limbs)) == Some(limbs)) {
            let most = field_bits(limbs);
            // All ones, and the top digit 1, with all ones, zeros or alternating digits below.
            for bits in [most, most - 1, most + 1, most + 4, most + 5] {
                let power = Integer::from(1) << (bits - 1);
                let alternating = (0..limbs as u32 / 2).fold(Integer::new(), |sum, i| {
                    sum + (Integer::from(DIGIT_MASK) << (2 * DIGIT_BITS * i))
                });
                numbers.extend([
                    Integer::from(&power * 2) - 1_u32,
                    Integer::from(&power + 1_u32),
                    Integer::from(&power + DIGIT_MASK),
                    Integer::from(&power | &alternating),
                    (power - 1_u32) ^ alternating << DIGIT_BITS,
                ]);
            }
        }
        compare_all(numbers);
    }

    fn field_bits(limbs: usize) -> u32 {
        super::super::field::bits_of(limbs)
    }

    #[test]
    fn strong_pseudoprimes_to_base_2() {
        // 2^q − 1 for a prime q, 2^(2^k) + 1 and (4^q + 1)/5 for a prime q > 5 are strong probable primes to base 2.
        let mut numbers = Vec::new();
        for q in (67_u32..1500).filter(|&q| small::is_prime(q.into())) {
            numbers.push((Integer::from(1) << q) - 1_u32);
            numbers.push(((Integer::from(1) << (2 * q)) + 1_u32) / 5_u32);
        }
        numbers.extend((7..=12).map(|k| (Integer::from(1) << (1_u32 << k)) + 1_u32));
        for n in &numbers {
            let Some(mut batch) = batch(std::slice::from_ref(n)) else {
                return;
            };
            assert_eq!(batch.strong_2(&Cancel::new()).unwrap() & 1, 1, "{n:x}");
        }
        numbers.retain(|n| n.significant_bits() < 900);
        compare_all(numbers);
    }

    #[test]
    fn carmichael_numbers() {
        // Chernick's (6k + 1)(12k + 1)(18k + 1), all factors prime.
        let mut numbers = Vec::new();
        for bits in [18_u32, 30, 62, 100] {
            let mut k = Integer::from(1) << bits;
            let mut found = 0;
            while found < 6 {
                k += 1;
                let factors = [6_u32, 12, 18].map(|m| Integer::from(&k * m) + 1_u32);
                if factors
                    .iter()
                    .all(|p| p.is_probably_prime(20) != IsPrime::No)
                {
                    found += 1;
                    numbers.push(Integer::from(Integer::product(factors.iter())));
                }
            }
        }
        compare_all(numbers);
    }

    #[test]
    fn arnaults_composite() {
        let n = primality::tests::arnault();
        let Some(mut batch) = batch(std::slice::from_ref(&n)) else {
            return;
        };
        let cancel = Cancel::new();
        assert_eq!(batch.strong_2(&cancel).unwrap() & 0xff, 0xff);
        assert_eq!(batch.strong_lucas(&cancel).unwrap() & 0xff, 0);
        let mut bases = Stream::seeded(4, 0);
        let passed: u32 = (0..20)
            .map(|_| (batch.strong_random(&mut bases, &cancel).unwrap() & 0xff).count_ones())
            .sum();
        assert!(passed <= 80, "{passed} of 160 random bases let it pass");
        compare_all(vec![n]);
    }

    #[test]
    fn squares_have_no_lucas_parameter() {
        let mut stream = Stream::seeded(5, 0);
        compare_all(
            (0..60)
                .map(|i| random_odd(&mut stream, 40 + i).square())
                .collect(),
        );
    }

    #[test]
    fn every_test_is_cancelled() {
        let Some(mut batch) = batch(&[(Integer::from(1) << 127) - 1_u32]) else {
            return;
        };
        let cancel = Cancel::new();
        cancel.cancel();
        assert_eq!(batch.strong_2(&cancel), Err(Error::Cancelled));
        assert_eq!(batch.strong_lucas(&cancel), Err(Error::Cancelled));
        let mut bases = Stream::seeded(1, 1);
        assert_eq!(
            batch.strong_random(&mut bases, &cancel),
            Err(Error::Cancelled)
        );
    }

    proptest! {
        #[test]
        fn symbols_are_jacobi_symbols(a: i32, n: u64) {
            let (a, n) = (i64::from(a) | 1, n | 1);
            let expected = Integer::from(a).jacobi(&Integer::from(n));
            prop_assert_eq!(jacobi(a, n % a.unsigned_abs(), n), expected);
        }

        #[test]
        fn small_divisors_divide(digits in prop::collection::vec(0..=DIGIT_MASK, 1..6), divisor in 1_u64..100_000) {
            let n = integer(&digits);
            prop_assert_eq!(
                Integer::from(remainder(digits.iter().rev().copied(), divisor)),
                Integer::from(&n % divisor)
            );
            let mut quotient = digits;
            divide(&mut quotient, 0, divisor);
            prop_assert_eq!(integer(&quotient), n / divisor);
        }

        #[test]
        fn all_tests_agree_with_the_portable_ones(bits in MIN_BITS..700, seed: u64, prime: bool) {
            let mut n = random_odd(&mut Stream::seeded(seed, 0), bits);
            if prime {
                n.next_prime_mut();
            }
            compare_all(vec![n]);
        }
    }
}
