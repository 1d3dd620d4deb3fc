//! Primality tests of several numbers at once, one per lane.

use rug::Integer;

use crate::kernel::{DIGIT_BITS, DIGIT_MASK, Field, Layout, Register, VectorKernel, WINDOW};
use crate::{Cancel, Error, Stream, small};

use super::MIN_BITS;
use super::digits::{integer, write_digits};

/// The greatest number of lanes of a field.
const MAX_LANES: usize = 32;

/// Exponent bits that the start of a power of two covers. With more bits the start would need
/// another step of [`Field::set_powers_of_two`].
const HEAD: u32 = 5;

/// Digit products (squared digits times squarings) between two polls of the cancellation flag: some
/// 10 ms.
const WORK_PER_POLL: u32 = 1 << 21;

/// The greatest difference in length, in bits, between the numbers of a batch.
pub(super) const MAX_SPREAD: u32 = 512;

/// A set of lanes; bit `l` is lane `l`.
pub(super) type Lanes = u32;

/// Odd numbers above 2^64, one per lane, and primality tests of all of them at once.
///
/// A test covers all lanes. A lane keeps its number until another one is loaded.
pub(super) struct Batch {
    field: Box<dyn Field>,
    layout: Layout,
    /// Number of bits of each lane's number.
    bits: [u32; MAX_LANES],
    // The digits below are of numbers in all lanes, in the field's layout.
    moduli: Vec<u64>,
    /// One in Montgomery form, less than twice the moduli; set by `make_ones`.
    ones: Vec<u64>,
    /// Numbers in Montgomery form.
    numbers: Vec<u64>,
}

impl Batch {
    /// A batch for numbers of up to `bits` bits; `None` if the kernel has no field of that size.
    pub(super) fn new(kernel: &dyn VectorKernel, bits: u32) -> Option<Self> {
        let field = kernel.field_for(bits)?;
        let layout = field.layout();
        debug_assert!(layout.lanes <= MAX_LANES);
        let digits = vec![0; layout.words()];
        Some(Self {
            field,
            layout,
            bits: [0; MAX_LANES],
            moduli: digits.clone(),
            ones: digits.clone(),
            numbers: digits,
        })
    }

    /// Number of lanes, that is, of numbers tested at once.
    pub(super) fn lanes(&self) -> usize {
        self.layout.lanes
    }

    /// Number of 52-bit digits of each number.
    pub(super) fn limbs(&self) -> usize {
        self.layout.limbs
    }

    /// Puts an odd number above 2^64 into a lane. `digits` are its 52-bit digits, the least
    /// significant first; missing digits are zero.
    ///
    /// All lanes must be loaded before a test, with numbers that differ by at most [`MAX_SPREAD`]
    /// bits in length.
    pub(super) fn load(&mut self, lane: usize, digits: &[u64]) {
        for (j, place) in self.layout.places(lane).enumerate() {
            self.moduli[place] = digits.get(j).copied().unwrap_or(0);
        }
        self.bits[lane] = bit_length(digits);
        debug_assert!(digits[0] & 1 == 1 && self.bits[lane] >= MIN_BITS);
    }

    /// Writes the digits of a lane's number.
    pub(super) fn number(&self, lane: usize, digits: &mut [u64]) {
        read(&self.moduli, self.layout, lane, digits);
    }

    /// Set of the lanes whose number is a strong probable prime to base 2.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`].
    pub(super) fn strong_2(&mut self, cancel: &Cancel) -> Result<Lanes, Error> {
        cancel.check()?;
        let longest = self.begin();
        let twos = self.predecessors();
        // Start from 2^head in Montgomery form, where the head is the highest bits of the exponent.
        let low = longest - HEAD;
        let mut heads = [0; MAX_LANES];
        for (lane, head) in heads[..self.layout.lanes].iter_mut().enumerate() {
            // Take them from the modulus, which differs from the exponent only in its lowest bit.
            *head = bits_at(&self.moduli, self.layout, lane, low, HEAD);
        }
        let bits = &self.bits[..self.layout.lanes];
        self.field
            .set_powers_of_two(bits, &heads, &self.moduli, &mut []);

        let most = greatest(&twos).min(low);
        self.chunks(low, most, 1, cancel, |field, high, low| {
            field.power_of_two(high, low);
        })?;
        // Almost always it is enough to compare y = 2^((n − 1)/2) with ±1. A strong probable prime
        // to base 2 is an Euler–Jacobi one (Pomerance, Selfridge & Wagstaff 1980): y is the Jacobi
        // symbol (2/n). It is −1 for n ≡ 5 (mod 8), where 4 divides n − 1 but 8 does not, and 1 for
        // n ≡ 1 (mod 8), where 8 divides n − 1. So y = 1 is inconclusive only for n ≡ 1 (mod 8).
        self.field.keep();
        self.chunks(most, 1, 1, cancel, |field, high, low| {
            field.power_of_two(high, low);
        })?;
        let (ones, minus_ones) = self.field.units();
        let lanes_with = |these: fn(u32) -> bool| {
            let lanes = twos[..self.layout.lanes].iter().enumerate();
            lanes.fold(0, |lanes, (lane, &twos)| {
                lanes | Lanes::from(these(twos)) << lane
            })
        };
        let few = lanes_with(|twos| twos == 1);
        if ones & lanes_with(|twos| twos > 2) == 0 {
            return Ok(minus_ones | ones & few);
        }
        self.field.restore();
        // If n − 1 of a lane has more twos than `low`, its odd part is below 2^HEAD. No test is
        // missed: 2^odd_part is below 2^32, which is neither 1 nor −1 modulo a number above 2^64.
        self.strong_end(most, &twos, cancel, |field, bit| {
            field.power_of_two(bit + 1, bit)
        })
    }

    /// Sets the numbers to 2^e, and returns the set of lanes where that is 1. `exponents` has an e
    /// below n for each lane.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`].
    pub(super) fn power_of_two(
        &mut self,
        exponents: &[Integer],
        cancel: &Cancel,
    ) -> Result<Lanes, Error> {
        cancel.check()?;
        self.begin();
        // Needed by `becomes_one`.
        self.make_ones();
        let longest = self.set_exponents(exponents);
        let low = longest.saturating_sub(HEAD);
        let mut heads = [0; MAX_LANES];
        for (lane, head) in heads[..self.layout.lanes].iter_mut().enumerate() {
            *head = bits_at(self.field.exponents_mut(), self.layout, lane, low, HEAD);
        }
        let bits = &self.bits[..self.layout.lanes];
        self.field
            .set_powers_of_two(bits, &heads, &self.moduli, &mut []);
        self.chunks(low, 0, 1, cancel, |field, high, low| {
            field.power_of_two(high, low);
        })?;
        Ok(self.field.units().0)
    }

    /// Raises the numbers that [`Self::power_of_two`] left to the power e, and returns the set of
    /// lanes where that is 1. `exponents` has a positive e below n for each lane.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`].
    pub(super) fn becomes_one(
        &mut self,
        exponents: &[Integer],
        cancel: &Cancel,
    ) -> Result<Lanes, Error> {
        let longest = self.set_exponents(exponents);
        self.field.begin_power(&self.ones);
        self.chunks(
            longest.div_ceil(WINDOW),
            0,
            WINDOW,
            cancel,
            |field, high, low| {
                field.power(high - low, WINDOW * low);
            },
        )?;
        Ok(self.field.units().0)
    }

    /// Sets the exponents, one for each lane, and returns the number of bits of the longest.
    fn set_exponents(&mut self, exponents: &[Integer]) -> u32 {
        let layout = self.layout;
        let mut digits = vec![0; layout.limbs];
        let words = self.field.exponents_mut();
        for (lane, exponent) in exponents.iter().enumerate().take(layout.lanes) {
            write_digits(exponent, &mut digits);
            write(words, layout, lane, &digits);
        }
        let bits = exponents.iter().map(Integer::significant_bits);
        bits.max().unwrap_or(0)
    }

    /// Set of the lanes whose number is a strong probable prime to a random base, drawn for each
    /// lane uniformly from [1, n − 1].
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
        self.draw_numbers(bases)?;
        self.strong_with_numbers(cancel)
    }

    /// Sets the numbers to random bases.
    fn draw_numbers(&mut self, bases: &mut Stream) -> Result<(), Error> {
        // If a base is uniform, so is its Montgomery form, so draw that.
        let mut n = vec![0; self.layout.limbs];
        let mut number = n.clone();
        for lane in 0..self.layout.lanes {
            self.number(lane, &mut n);
            draw(&mut number, &n, self.bits[lane], bases)?;
            write(&mut self.numbers, self.layout, lane, &number);
        }
        Ok(())
    }

    /// Strong tests to the bases in `self.numbers`.
    fn strong_with_numbers(&mut self, cancel: &Cancel) -> Result<Lanes, Error> {
        let longest = self.begin();
        let twos = self.predecessors();
        self.make_ones();
        self.field.set(Register::First, &self.numbers);
        self.field.begin_power(&self.ones);
        let most = greatest(&twos);
        let windows = (longest - most).div_ceil(WINDOW);
        self.chunks(windows, 0, WINDOW, cancel, |field, high, low| {
            field.power(high - low, most + WINDOW * low);
        })?;
        self.strong_end(most, &twos, cancel, |field, bit| field.power_step(bit))
    }

    /// The end of a strong test: on entry the numbers are the base raised to the exponent without
    /// its `most` low bits; `step` adds the next bit.
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
            for (lane, &twos) in twos[..self.layout.lanes].iter().enumerate() {
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

    /// Set of the lanes whose number is a strong Lucas probable prime with Selfridge's parameters;
    /// see [`primality`](crate::primality).
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`].
    pub(super) fn strong_lucas(&mut self, cancel: &Cancel) -> Result<Lanes, Error> {
        cancel.check()?;
        let longest = self.begin();
        self.make_ones();
        let twos = self.successors();

        // A lane whose number turns out to be composite continues with any parameter; its result is
        // ignored.
        let mut possible = 0;
        // −P' and −2 in Montgomery form, in [0, n).
        let mut minus_p = vec![0; self.layout.words()];
        let mut minus_two = minus_p.clone();
        let [mut n, mut one, mut p, mut two] = [(); 4].map(|()| vec![0; self.layout.limbs]);
        for lane in 0..self.layout.lanes {
            self.number(lane, &mut n);
            read(&self.ones, self.layout, lane, &mut one);
            let d = selfridge(&n);
            possible |= Lanes::from(d.is_some()) << lane;
            set_lucas_parameter(&mut p, &mut two, &one, &n, d.unwrap_or(5));
            write(&mut minus_p, self.layout, lane, &p);
            write(&mut minus_two, self.layout, lane, &two);
        }
        self.field.set_addends(&minus_p, &minus_two);
        // V_0 = 2 and V_1 = P'. They are the negatives of the addends −2 and −P'.
        let (mut two, mut p) = (minus_two, minus_p);
        self.negate_all(&mut two);
        self.negate_all(&mut p);
        self.field.set(Register::First, &two);
        self.field.set(Register::Second, &p);
        // P', −P', 2 and −2 in ordinary form, in [0, n].
        self.field
            .convert_from_montgomery(Register::Second, &self.moduli, &mut p);
        two.fill(0);
        (0..self.layout.lanes).for_each(|lane| two[self.layout.lowest(lane)] = 2);
        let (mut minus_two, mut minus_p) = (two.clone(), p.clone());
        self.negate_all(&mut minus_two);
        self.negate_all(&mut minus_p);
        let (mut v, mut next) = (p.clone(), p.clone());

        let most = greatest(&twos);
        self.chunks(longest + 1, most, 2, cancel, |field, high, low| {
            field.lucas(high, low);
        })?;
        let mut passed = 0;
        for bit in (1..=most).rev() {
            cancel.check()?;
            self.field
                .convert_from_montgomery(Register::First, &self.moduli, &mut v);
            self.field
                .convert_from_montgomery(Register::Second, &self.moduli, &mut next);
            // U ≡ 0 where V ≡ 2 and its successor is P'; V ≡ 0 where V ≡ −2 and its successor is
            // −P'.
            for (lane, &twos) in twos[..self.layout.lanes].iter().enumerate() {
                let are = |v_is: &[u64], next_is: &[u64]| {
                    let mut places = self.layout.places(lane);
                    places.all(|place| v[place] == v_is[place] && next[place] == next_is[place])
                };
                let v_is_zero = are(&minus_two, &minus_p);
                if bit <= twos && v_is_zero || bit == twos && are(&two, &p) {
                    passed |= 1 << lane;
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
        self.field.set_moduli(&self.moduli);
        greatest(&self.bits)
    }

    /// Calls `work` for pieces of the steps from `high` down to `low`, and polls the flag between
    /// the pieces. A step costs about `weight` squarings.
    fn chunks(
        &mut self,
        mut high: u32,
        low: u32,
        weight: u32,
        cancel: &Cancel,
        mut work: impl FnMut(&mut dyn Field, u32, u32),
    ) -> Result<(), Error> {
        let limbs = self.layout.limbs as u32;
        let steps = (WORK_PER_POLL / (limbs * limbs * weight)).max(1);
        while high > low {
            cancel.check()?;
            let next = high.saturating_sub(steps).max(low);
            work(self.field.as_mut(), high, next);
            high = next;
        }
        Ok(())
    }

    /// Sets the exponents to the numbers minus one, and returns the exponent of two in each.
    fn predecessors(&mut self) -> [u32; MAX_LANES] {
        let exponents = self.field.exponents_mut();
        exponents.copy_from_slice(&self.moduli);
        // The numbers are odd.
        (0..self.layout.lanes).for_each(|lane| exponents[self.layout.lowest(lane)] &= !1);
        trailing_zeros(exponents, self.layout)
    }

    /// Sets the exponents to the numbers plus one, and returns the exponent of two in each.
    fn successors(&mut self) -> [u32; MAX_LANES] {
        let exponents = self.field.exponents_mut();
        for lane in 0..self.layout.lanes {
            let mut carry = 1;
            for place in self.layout.places(lane) {
                let sum = self.moduli[place] + carry;
                exponents[place] = sum & DIGIT_MASK;
                carry = sum >> DIGIT_BITS;
            }
        }
        trailing_zeros(exponents, self.layout)
    }

    /// Sets `ones` to one in Montgomery form.
    fn make_ones(&mut self) {
        let bits = &self.bits[..self.layout.lanes];
        self.field
            .set_powers_of_two(bits, &[0; MAX_LANES], &self.moduli, &mut self.ones);
    }

    /// Replaces each lane's number x in [0, n] by n − x.
    fn negate_all(&self, numbers: &mut [u64]) {
        for lane in 0..self.layout.lanes {
            let mut borrow = 0;
            for place in self.layout.places(lane) {
                let difference = self.moduli[place]
                    .wrapping_sub(numbers[place])
                    .wrapping_sub(borrow);
                numbers[place] = difference & DIGIT_MASK;
                borrow = difference >> 63;
            }
        }
    }
}

/// Reads a lane's digits from words in the given layout.
fn read(words: &[u64], layout: Layout, lane: usize, digits: &mut [u64]) {
    for (digit, place) in digits.iter_mut().zip(layout.places(lane)) {
        *digit = words[place];
    }
}

/// Writes a lane's digits to words in the given layout.
fn write(words: &mut [u64], layout: Layout, lane: usize, digits: &[u64]) {
    for (&digit, place) in digits.iter().zip(layout.places(lane)) {
        words[place] = digit;
    }
}

/// The exponent of two in each lane's number; 0 beyond the lanes.
fn trailing_zeros(numbers: &[u64], layout: Layout) -> [u32; MAX_LANES] {
    let mut twos = [0; MAX_LANES];
    for (lane, twos) in twos[..layout.lanes].iter_mut().enumerate() {
        for place in layout.places(lane) {
            let digit = numbers[place];
            if digit != 0 {
                *twos += digit.trailing_zeros();
                break;
            }
            *twos += DIGIT_BITS;
        }
    }
    twos
}

/// Sets `number` to a uniform random one in [1, n − 1], for an n of `bits` bits.
fn draw(number: &mut [u64], n: &[u64], bits: u32, source: &mut Stream) -> Result<(), Error> {
    let top = ((bits - 1) / DIGIT_BITS) as usize;
    loop {
        number.fill(0);
        for digit in &mut number[..=top] {
            *digit = source.word()? & DIGIT_MASK;
        }
        number[top] &= DIGIT_MASK >> (DIGIT_BITS * (top as u32 + 1) - bits);
        if is_less(number, n) && number.iter().any(|&digit| digit != 0) {
            return Ok(());
        }
    }
}

/// Sets `minus_p` to −P' and `minus_two` to −2, in Montgomery form and in [0, n). P' = 1/Q − 2 and
/// Q = (1 − D)/4; `one` is 1 in Montgomery form.
fn set_lucas_parameter(minus_p: &mut [u64], minus_two: &mut [u64], one: &[u64], n: &[u64], d: i64) {
    let q = (1 - d) / 4;
    let size = q.unsigned_abs();
    // one/|Q| = (one + t n)/|Q|, where t < |Q| is chosen so that |Q| divides the numerator. The
    // result is below n + n/|Q|.
    let of_one = remainder(one, size);
    let of_n = remainder(n, size);
    let t = (0..size)
        .find(|t| (of_one + t * of_n).is_multiple_of(size))
        .unwrap_or(0);
    let inverse = minus_two;
    let mut carry = 0;
    for ((digit, &one), n) in inverse.iter_mut().zip(one).zip(n) {
        let sum = u128::from(one) + carry + u128::from(t) * u128::from(*n);
        *digit = sum as u64 & DIGIT_MASK;
        carry = sum >> DIGIT_BITS;
    }
    // The carry is below |Q|, because one + t n is below |Q| R/16.
    divide(inverse, carry as u64, size);
    // −P' = 2 − 1/Q.
    let sign = -q.signum();
    let sums = one
        .iter()
        .zip(inverse.iter())
        .map(|(&one, &inverse)| 2 * one as i64 + sign * inverse as i64);
    assign_reduced(minus_p, sums, n);
    assign_reduced(inverse, one.iter().map(|&one| -2 * one as i64), n);
}

/// Sets a number to a sum, given by digits that may be negative, reduced to [0, n).
fn assign_reduced(number: &mut [u64], sum: impl Iterator<Item = i64>, n: &[u64]) {
    let mut top = 0;
    for (to, digit) in number.iter_mut().zip(sum) {
        let digit = digit + top;
        *to = digit as u64 & DIGIT_MASK;
        top = digit >> DIGIT_BITS;
    }
    let add = |number: &mut [u64], sign: i64| {
        let mut carry = 0;
        for (to, &n) in number.iter_mut().zip(n) {
            let digit = *to as i64 + sign * n as i64 + carry;
            *to = digit as u64 & DIGIT_MASK;
            carry = digit >> DIGIT_BITS;
        }
        carry
    };
    while top < 0 {
        top += add(number, 1);
    }
    while top > 0 || !is_less(number, n) {
        top += add(number, -1);
    }
}

/// Whether a < b; both have the same number of digits.
fn is_less(a: &[u64], b: &[u64]) -> bool {
    a.iter().rev().lt(b.iter().rev())
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

/// The `count` bits (at most [`DIGIT_BITS`]) of a lane's number from bit `low` upwards.
fn bits_at(numbers: &[u64], layout: Layout, lane: usize, low: u32, count: u32) -> u32 {
    let mut places = layout.places(lane).skip((low / DIGIT_BITS) as usize);
    let place = low % DIGIT_BITS;
    let mut digit = || places.next().map_or(0, |place| numbers[place]);
    let mut bits = digit() >> place;
    if place + count > DIGIT_BITS {
        bits |= digit() << (DIGIT_BITS - place);
    }
    bits as u32 & ((1 << count) - 1)
}

/// The number with these digits modulo a small divisor.
fn remainder(digits: &[u64], divisor: u64) -> u64 {
    let from_the_top = digits.iter().rev();
    from_the_top.fold(0, |rest, &digit| divide_digit(rest, digit, divisor).1)
}

/// Divides a number by a small divisor. The number is given by its digits and by `rest` above them,
/// which is less than the divisor.
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
        // The quotient is below 2^52, and the remainder fits a u64.
        ((number / divisor) as u64, (number % divisor) as u64)
    }
}

/// Selfridge's D for an odd n above 2^64: the first of 5, −7, 9, −11, ... with Jacobi symbol
/// (D/n) = −1. `None` if the search shows that n is composite, or that it is not coprime to Q = (1
/// − D)/4.
fn selfridge(n: &[u64]) -> Option<i64> {
    /// If n is not a square, (D/n) = 1 for half of all D. So test for a square only after this D.
    const SQUARE_AFTER: i64 = 21;
    let mut d = 5_i64;
    loop {
        let size = d.unsigned_abs();
        match jacobi(d, remainder(n, size), n[0]) {
            -1 => {
                let q = ((1 - d) / 4).unsigned_abs();
                let common = small::gcd(remainder(n, q) as u32, q as u32);
                return (common == 1).then_some(d);
            }
            // n has a proper divisor.
            0 => return None,
            _ => {}
        }
        if d == SQUARE_AFTER && integer(n).is_perfect_square() {
            return None;
        }
        d = if d > 0 { -d - 2 } else { 2 - d };
    }
}

/// The Jacobi symbol (d/n) for odd d and positive odd n; `rest` is n mod |d|, and `low` the low
/// word of n.
fn jacobi(d: i64, rest: u64, low: u64) -> i32 {
    // (−1/n) = −1 if n ≡ 3 (mod 4); then use reciprocity between |d| and n.
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

    use super::super::digits::write_digits;
    use super::*;
    use crate::kernel::{MAX_BITS, all_vectors, bits_of};
    use crate::primality;

    /// For each vector kernel, a batch with `n` in all of its lanes.
    fn batches(n: &Integer) -> Vec<Batch> {
        let of = |(_, kernel)| {
            let mut batch = Batch::new(kernel, n.significant_bits()).unwrap();
            load_all(&mut batch, std::slice::from_ref(n));
            batch
        };
        all_vectors().into_iter().map(of).collect()
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

    /// A number with the results of the portable tests, which do the same arithmetic with GMP or in
    /// words.
    #[derive(Clone)]
    struct Known {
        n: Integer,
        strong_2: bool,
        lucas: bool,
    }

    /// Compares all tests of a batch with the portable ones.
    fn compare(batch: &mut Batch, numbers: &[Known], name: &str) {
        let cancel = Cancel::new();
        for known in numbers.chunks(batch.lanes()) {
            let numbers: Vec<Integer> = known.iter().map(|known| known.n.clone()).collect();
            load_all(batch, &numbers);
            let passed = batch.strong_2(&cancel).unwrap();
            for (lane, Known { n, strong_2, .. }) in known.iter().enumerate() {
                assert_eq!(passed >> lane & 1 == 1, *strong_2, "{name}, 2: {n:x}");
            }
            let radix = Integer::from(1) << (DIGIT_BITS * batch.limbs() as u32);
            batch.draw_numbers(&mut Stream::seeded(1, 1)).unwrap();
            let mut digits = vec![0; batch.limbs()];
            let bases: Vec<Integer> = numbers
                .iter()
                .enumerate()
                .map(|(lane, n)| {
                    read(&batch.numbers, batch.layout, lane, &mut digits);
                    let form = integer(&digits);
                    assert!(form > 0 && form < *n);
                    form * Integer::from(radix.invert_ref(n).unwrap()) % n
                })
                .collect();
            let passed = batch.strong_with_numbers(&cancel).unwrap();
            for (lane, (n, base)) in numbers.iter().zip(&bases).enumerate() {
                assert_eq!(
                    passed >> lane & 1 == 1,
                    strong(n, base),
                    "{name}, {base:x}: {n:x}"
                );
            }
            let passed = batch.strong_lucas(&cancel).unwrap();
            for (lane, Known { n, lucas, .. }) in known.iter().enumerate() {
                assert_eq!(passed >> lane & 1 == 1, *lucas, "{name}, Lucas: {n:x}");
            }
        }
    }

    /// Compares the tests for numbers of any size; numbers of about the same size share a batch.
    fn compare_all(mut numbers: Vec<Integer>) {
        numbers.retain(|n| n.is_odd() && (MIN_BITS..=MAX_BITS).contains(&n.significant_bits()));
        numbers.sort();
        let two = Integer::from(2);
        let of = |n: Integer| Known {
            strong_2: strong(&n, &two),
            lucas: lucas(&n),
            n,
        };
        let numbers: Vec<Known> = numbers.into_iter().map(of).collect();
        for (name, kernel) in all_vectors() {
            let class = |known: &Known| kernel.limbs_for(known.n.significant_bits());
            for numbers in numbers.chunk_by(|a, b| class(a) == class(b)) {
                let bits = numbers[0].n.significant_bits();
                let mut batch = Batch::new(kernel, bits).unwrap();
                let (near, far): (Vec<Known>, Vec<Known>) = numbers
                    .iter()
                    .cloned()
                    .partition(|known| known.n.significant_bits() - bits <= MAX_SPREAD);
                compare(&mut batch, &near, name);
                for known in far {
                    compare(&mut batch, &[known], name);
                }
            }
        }
    }

    fn random_odd(stream: &mut Stream, bits: u32) -> Integer {
        let mut n = Integer::new();
        stream.draw_start(&mut n, bits).unwrap();
        n.set_bit(0, true);
        n
    }

    /// Compares every kernel's test to base 2 with GMP's: a million numbers of up to 520 bits, a
    /// hundred thousand up to 1040, ten thousand up to 2080, a thousand above. That takes minutes,
    /// so it tests all of them only if `PRIMEPOOL_TEST_FULL` is set (as by `make test-all`), and
    /// otherwise a fixed sample.
    #[test]
    fn a_million_random_numbers() {
        let is_full = std::env::var_os("PRIMEPOOL_TEST_FULL").is_some();
        let share = if is_full { 1 } else { 40 };
        // Each row: greatest number of bits, step between sizes, count of numbers per size.
        let sizes = [
            (130, 1, 7300),
            (260, 2, 6400),
            (520, 4, 1600),
            (1040, 8, 1540),
            (2080, 40, 385),
            (MAX_BITS, 156, 25),
        ];
        let kernels = all_vectors();
        let (mut stream, mut bits, mut tested) = (Stream::seeded(2, 0), MIN_BITS, 0);
        let two = Integer::from(2);
        for (last, step, count) in sizes {
            while bits <= last {
                let count = (count / share).max(1);
                let numbers: Vec<Integer> =
                    (0..count).map(|_| random_odd(&mut stream, bits)).collect();
                let expected: Vec<bool> = numbers.iter().map(|n| strong(n, &two)).collect();
                for (name, kernel) in &kernels {
                    let mut batch = Batch::new(*kernel, bits).unwrap();
                    let lanes = batch.lanes();
                    for (numbers, expected) in numbers.chunks(lanes).zip(expected.chunks(lanes)) {
                        load_all(&mut batch, numbers);
                        let passed = batch.strong_2(&Cancel::new()).unwrap();
                        for (lane, (n, expected)) in numbers.iter().zip(expected).enumerate() {
                            assert_eq!(passed >> lane & 1 == 1, *expected, "{name}: {n:x}");
                        }
                    }
                }
                tested += count;
                bits += step;
            }
        }
        assert!(tested >= 1_110_000 / share, "{tested}");
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
        for limbs in 3..=40 {
            let most = bits_of(limbs);
            // All bits set; and top digit 1 with all ones, zeros or alternating digits below it.
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

    #[test]
    fn strong_pseudoprimes_to_base_2() {
        // 2^q − 1 for a prime q, 2^(2^k) + 1 and (4^q + 1)/5 for a prime q > 5 are strong probable
        // primes to base 2.
        let mut numbers = Vec::new();
        for q in (67_u32..1500).filter(|&q| small::is_prime(q.into())) {
            numbers.push((Integer::from(1) << q) - 1_u32);
            numbers.push(((Integer::from(1) << (2 * q)) + 1_u32) / 5_u32);
        }
        numbers.extend((7..=12).map(|k| (Integer::from(1) << (1_u32 << k)) + 1_u32));
        for n in &numbers {
            for mut batch in batches(n) {
                assert_eq!(batch.strong_2(&Cancel::new()).unwrap() & 1, 1, "{n:x}");
            }
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
        let cancel = Cancel::new();
        for mut batch in batches(&n) {
            let all = (1 << batch.lanes()) - 1;
            assert_eq!(batch.strong_2(&cancel).unwrap() & all, all);
            assert_eq!(batch.strong_lucas(&cancel).unwrap() & all, 0);
            let mut bases = Stream::seeded(4, 0);
            let rounds = 160 / batch.lanes();
            let passed: u32 = (0..rounds)
                .map(|_| (batch.strong_random(&mut bases, &cancel).unwrap() & all).count_ones())
                .sum();
            assert!(passed <= 80, "{passed} of 160 random bases let it pass");
        }
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
        let cancel = Cancel::new();
        cancel.cancel();
        for mut batch in batches(&((Integer::from(1) << 127) - 1_u32)) {
            assert_eq!(batch.strong_2(&cancel), Err(Error::Cancelled));
            assert_eq!(batch.strong_lucas(&cancel), Err(Error::Cancelled));
            let mut bases = Stream::seeded(1, 1);
            assert_eq!(
                batch.strong_random(&mut bases, &cancel),
                Err(Error::Cancelled)
            );
        }
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
                Integer::from(remainder(&digits, divisor)),
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
