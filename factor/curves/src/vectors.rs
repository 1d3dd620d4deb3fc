//! The field of several numbers, one in each lane of a kernel's vectors.
//!
//! # Bounds
//!
//! With R = 2^(52 L) for L digits, a modulus N is below R/64. The absolute value of a product is
//! below 2N, so that of a factor made of products is below 8N, and the reduced product of two such
//! factors is below 64 N²/R + N < 2N again. With one digit, N is below R/16: there, values that may
//! exceed 4N are reduced below 4N, and 16 N²/R + N < 2N.
//!
//! # Moduli of 64 bits
//!
//! With `FOLD`, the field of two digits works modulo an odd multiple N of its number with 2^62 < N <
//! 2^64, and R is 2^52. The part of a product from 2^104 on is below 2^31; it is replaced by its
//! product with 2^104 mod N, which is R² mod N. One step of Montgomery's reduction is left: 14
//! multiply-adds instead of 16, and 12 instead of 14 for a square. A product is below N + 2^54 <
//! 2N.
//!
//! # Columns and digits
//!
//! Products are columns: sums of halves of products from which no carry has been propagated yet.
//! Factors are digits. The columns of a factor are those of at most four products, plus a multiple
//! of N that keeps their sum positive.

use primepool_engine::small;
use primepool_engine::vectors::{
    Arithmetic, Block, DIGIT_BITS, DIGIT_MASK, Modulus, Operation, ReductionFinish, biases,
    multiply, reduce, square,
};
use rug::Integer;

use super::field::{Field, Moduli, Task};

/// B blocks of K digits of the numbers in the lanes of G registers.
type Digits<A, const K: usize, const B: usize, const G: usize> = [[Block<A, K>; B]; G];

/// The field of the numbers in the lanes.
pub(crate) struct Vectors<
    A: Arithmetic,
    const K: usize,
    const B: usize,
    const G: usize,
    const FOLD: bool,
> {
    arithmetic: A,
    n: Digits<A, K, B, G>,
    twice: Digits<A, K, B, G>,
    four_times: Digits<A, K, B, G>,
    one: Digits<A, K, B, G>,
    square_of_radix: Digits<A, K, B, G>,
    inverse: [A::Vector; G],
    second: [A::Vector; G],
    bias: [[[u64; K]; B]; 2],
}

impl<A: Arithmetic, const K: usize, const B: usize, const G: usize, const FOLD: bool>
    Vectors<A, K, B, G, FOLD>
{
    /// The product of the numbers in a group of lanes, with `FOLD`.
    #[inline(always)]
    fn folded_product<const SQUARE: bool>(
        &self,
        group: usize,
        a: &[Block<A, K>; B],
        b: &[Block<A, K>; B],
    ) -> [A::Vector; 2] {
        let s = self.arithmetic;
        let zero = s.splat(0);
        let ([a0, a1], [b0, b1]) = (two_digits::<A, K>(&a[0]), two_digits::<A, K>(&b[0]));
        let column_0 = s.add_low(zero, a0, b0);
        let (column_1, column_2) = if SQUARE {
            let twice = s.add(a1, a1);
            (
                s.add_low(s.add_high(zero, a0, a0), a0, twice),
                s.add_high(s.add_low(zero, a1, a1), a0, twice),
            )
        } else {
            let column_1 = s.add_low(s.add_high(zero, a0, b0), a0, b1);
            let column_2 = s.add_high(s.add_low(zero, a1, b1), a0, b1);
            (
                s.add(column_1, s.add_low(zero, a1, b0)),
                s.add_high(column_2, a1, b0),
            )
        };
        let [fold_0, fold_1] = two_digits::<A, K>(&self.square_of_radix[group][0]);
        let [n0, n1] = two_digits::<A, K>(&self.n[group][0]);
        let folded = s.add_high(s.add_low(zero, column_2, fold_1), column_2, fold_0);
        let column_0 = s.add_low(column_0, column_2, fold_0);
        let column_1 = s.add(column_1, folded);
        let quotient = s.quotient(column_0, self.inverse[group]);
        let column_1 = s.add_cleared(column_1, column_0, quotient, n0);
        [
            s.add_low(column_1, quotient, n1),
            s.add_high(zero, quotient, n1),
        ]
    }

    #[inline(always)]
    fn group_product<const SQUARE: bool>(
        &self,
        group: usize,
        a: &[Block<A, K>; B],
        b: &[Block<A, K>; B],
        out: &mut [Block<A, K>; B],
    ) {
        if FOLD {
            let digits = self.folded_product::<SQUARE>(group, a, b);
            out[0].copy_from_slice(&digits);
            return;
        }
        let s = self.arithmetic;
        let mut columns = [[[s.splat(0); K]; B]; 2];
        let bias = self.bias.as_flattened().as_flattened();
        if SQUARE {
            square::<A, K, false>(s, a, bias, columns.as_flattened_mut());
        } else {
            multiply::<A, K, false>(s, a, b, bias, columns.as_flattened_mut());
        }
        let modulus = Modulus {
            n: &self.n[group],
            inverse: self.inverse[group],
            second: self.second[group],
        };
        let mut quotient = [[s.splat(0); K]; B];
        let columns = columns.as_flattened();
        reduce::<A, K, false>(
            s,
            columns,
            modulus,
            &mut quotient,
            ReductionFinish::Leave,
            out,
        );
    }

    #[inline(always)]
    fn any_product<const SQUARE: bool>(
        &self,
        a: &Digits<A, K, B, G>,
        b: &Digits<A, K, B, G>,
    ) -> Digits<A, K, B, G> {
        let mut out = zeros(self.arithmetic);
        for group in 0..G {
            // A separate function: the compiler simplifies it once, and then inlines it if it is
            // small.
            self.arithmetic
                .run(GroupProduct::<A, K, B, G, FOLD, SQUARE> {
                    field: self,
                    group,
                    a: &a[group],
                    b: &b[group],
                    out: &mut out[group],
                });
        }
        out
    }

    #[inline(always)]
    fn combined<const FORM: u8>(
        &self,
        a: &Digits<A, K, B, G>,
        b: &Digits<A, K, B, G>,
        c: &Digits<A, K, B, G>,
    ) -> Digits<A, K, B, G> {
        let field = self;
        self.arithmetic
            .run(Combination::<A, K, B, G, FOLD, FORM> { field, a, b, c })
    }
}

/// The digits of a block of two.
#[inline(always)]
fn two_digits<A: Arithmetic, const K: usize>(block: &Block<A, K>) -> [A::Vector; 2] {
    [block[0], block[1]]
}

// The forms of a `Combination` of columns a, b and c.
/// a.
const SAME: u8 = 0;
/// a + b.
const SUM: u8 = 1;
/// a − b.
const DIFFERENCE: u8 = 2;
/// a − b − c.
const DIFFERENCE_OF_BOTH: u8 = 3;
/// a − b + 2c.
const DIFFERENCE_AND_TWICE: u8 = 4;

/// Computes the digits of a combination of columns.
struct Combination<
    'a,
    A: Arithmetic,
    const K: usize,
    const B: usize,
    const G: usize,
    const FOLD: bool,
    const FORM: u8,
> {
    field: &'a Vectors<A, K, B, G, FOLD>,
    a: &'a Digits<A, K, B, G>,
    b: &'a Digits<A, K, B, G>,
    c: &'a Digits<A, K, B, G>,
}

impl<
    A: Arithmetic,
    const K: usize,
    const B: usize,
    const G: usize,
    const FOLD: bool,
    const FORM: u8,
> Operation<A> for Combination<'_, A, K, B, G, FOLD, FORM>
{
    type Output = Digits<A, K, B, G>;

    #[inline(always)]
    fn run(self, s: A) -> Digits<A, K, B, G> {
        let Self { field, a, b, c } = self;
        let mut digits = *a;
        for group in 0..G {
            let mut carry = s.no_carry();
            for block in 0..B {
                for digit in 0..K {
                    let x = a[group][block][digit];
                    let y = b[group][block][digit];
                    let z = c[group][block][digit];
                    let twice = field.twice[group][block][digit];
                    let four_times = field.four_times[group][block][digit];
                    let mut column = match FORM {
                        SAME => x,
                        SUM => s.add(x, y),
                        DIFFERENCE => s.add(s.subtract(x, y), twice),
                        DIFFERENCE_OF_BOTH => s.add(s.subtract(x, s.add(y, z)), four_times),
                        _ => s.add(s.add(s.subtract(x, y), twice), s.add(z, z)),
                    };
                    // Reduces values that may exceed four times the modulus if there is little
                    // room.
                    if K * B == 1 && FORM >= DIFFERENCE_OF_BOTH {
                        column = s.subtract_once(column, four_times);
                    }
                    (digits[group][block][digit], carry) = s.signed_digit(column, carry);
                }
            }
        }
        digits
    }
}

impl<A: Arithmetic, const K: usize, const B: usize, const G: usize, const FOLD: bool> Field
    for Vectors<A, K, B, G, FOLD>
{
    type Factor = Digits<A, K, B, G>;
    type Product = Digits<A, K, B, G>;

    // The sizes for many numbers.
    const IS_SMALL: bool = G > 1;

    #[inline(always)]
    fn multiply(&self, a: &Self::Factor, b: &Self::Factor) -> Self::Product {
        self.any_product::<false>(a, b)
    }

    #[inline(always)]
    fn square(&self, a: &Self::Factor) -> Self::Product {
        self.any_product::<true>(a, a)
    }

    #[inline(always)]
    fn factor(&self, a: &Self::Product) -> Self::Factor {
        self.combined::<SAME>(a, a, a)
    }

    #[inline(always)]
    fn add(&self, a: &Self::Product, b: &Self::Product) -> Self::Factor {
        self.combined::<SUM>(a, b, b)
    }

    #[inline(always)]
    fn subtract(&self, a: &Self::Product, b: &Self::Product) -> Self::Factor {
        self.combined::<DIFFERENCE>(a, b, b)
    }

    #[inline(always)]
    fn subtract_both(
        &self,
        a: &Self::Product,
        b: &Self::Product,
        c: &Self::Product,
    ) -> Self::Factor {
        self.combined::<DIFFERENCE_OF_BOTH>(a, b, c)
    }

    #[inline(always)]
    fn subtract_add_twice(
        &self,
        a: &Self::Product,
        b: &Self::Product,
        c: &Self::Product,
    ) -> Self::Factor {
        self.combined::<DIFFERENCE_AND_TWICE>(a, b, c)
    }

    #[inline(always)]
    fn one(&self) -> Self::Factor {
        self.one
    }

    #[inline(always)]
    fn zero(&self) -> Self::Product {
        zeros(self.arithmetic)
    }

    #[inline(always)]
    fn integer(&self, integer: i32) -> Self::Product {
        let mut digits = self.zero();
        for group in &mut digits {
            group[0][0] = self.arithmetic.splat(A::digit_word(integer.abs().into()));
        }
        let product = self.multiply(&digits, &self.square_of_radix);
        if integer < 0 {
            self.product(&self.subtract(&self.zero(), &product))
        } else {
            product
        }
    }

    #[inline(always)]
    fn call<T: Task<Self>>(&self, task: T) -> T::Output {
        self.arithmetic.run(Call { field: self, task })
    }

    #[inline(always)]
    fn load(&self, words: &[u64]) -> Self::Product {
        load(self.arithmetic, words)
    }

    #[inline(always)]
    fn store(&self, product: &Self::Product, words: &mut [u64]) {
        let digits = product.as_flattened().as_flattened();
        for (digit, words) in digits.iter().zip(words.chunks_mut(A::COUNT)) {
            self.arithmetic.store(*digit, words);
        }
    }
}

#[inline(always)]
fn zeros<A: Arithmetic, const K: usize, const B: usize, const G: usize>(
    s: A,
) -> Digits<A, K, B, G> {
    [[[s.splat(0); K]; B]; G]
}

#[inline(always)]
fn load<A: Arithmetic, const K: usize, const B: usize, const G: usize>(
    s: A,
    words: &[u64],
) -> Digits<A, K, B, G> {
    let mut digits = zeros(s);
    let all = digits.as_flattened_mut().as_flattened_mut();
    for (digit, words) in all.iter_mut().zip(words.chunks(A::COUNT)) {
        *digit = s.load(words);
    }
    digits
}

/// Computes a product of the numbers in a group of lanes.
struct GroupProduct<
    'a,
    A: Arithmetic,
    const K: usize,
    const B: usize,
    const G: usize,
    const FOLD: bool,
    const SQUARE: bool,
> {
    field: &'a Vectors<A, K, B, G, FOLD>,
    group: usize,
    a: &'a [Block<A, K>; B],
    b: &'a [Block<A, K>; B],
    out: &'a mut [Block<A, K>; B],
}

impl<
    A: Arithmetic,
    const K: usize,
    const B: usize,
    const G: usize,
    const FOLD: bool,
    const SQUARE: bool,
> Operation<A> for GroupProduct<'_, A, K, B, G, FOLD, SQUARE>
{
    type Output = ();

    #[inline(always)]
    fn run(self, _: A) {
        self.field
            .group_product::<SQUARE>(self.group, self.a, self.b, self.out);
    }
}

/// Runs a task with the field.
struct Call<'a, F, T> {
    field: &'a F,
    task: T,
}

impl<A, F, T: Task<F>> Operation<A> for Call<'_, F, T> {
    type Output = T::Output;

    #[inline(always)]
    fn run(self, _: A) -> T::Output {
        self.task.run(self.field)
    }
}

/// The moduli of the field.
pub(crate) struct VectorModuli<
    A: Arithmetic,
    const K: usize,
    const B: usize,
    const G: usize,
    const FOLD: bool,
> {
    arithmetic: A,
    // Digit by digit, register by register.
    n: Vec<u64>,
    twice: Vec<u64>,
    four_times: Vec<u64>,
    one: Vec<u64>,
    square_of_radix: Vec<u64>,
    // One per lane.
    inverse: Vec<u64>,
    second: Vec<u64>,
    bias: [[[u64; K]; B]; 2],
}

/// The digits of a number, 52 bits each.
fn digits_of<const K: usize, const B: usize>(n: &Integer) -> [[u64; K]; B] {
    let mut digits = [[0; K]; B];
    for (j, digit) in digits.as_flattened_mut().iter_mut().enumerate() {
        let word = |at: usize| n.as_limbs().get(at).copied().unwrap_or(0);
        let (at, shift) = (j * DIGIT_BITS as usize / 64, j * DIGIT_BITS as usize % 64);
        let pair = u128::from(word(at)) | u128::from(word(at + 1)) << 64;
        *digit = (pair >> shift) as u64 & DIGIT_MASK;
    }
    digits
}

impl<A: Arithmetic, const K: usize, const B: usize, const G: usize, const FOLD: bool>
    VectorModuli<A, K, B, G, FOLD>
{
    const LIMBS: usize = K * B;
    /// R is 2 to this power.
    const RADIX_BITS: u32 = DIGIT_BITS * if FOLD { 1 } else { Self::LIMBS as u32 };

    pub(crate) fn new(arithmetic: A) -> Self {
        debug_assert!(!FOLD || K == 2 && B == 1 && !A::SIGNED);
        let words = vec![0; Self::LIMBS * A::COUNT * G];
        let lanes = vec![0; A::COUNT * G];
        let mut bias = [[[0; K]; B]; 2];
        let columns = bias.as_flattened_mut().as_flattened_mut();
        for (to, bias) in columns.iter_mut().zip(biases::<A>(Self::LIMBS, true)) {
            *to = bias;
        }
        let mut moduli = Self {
            arithmetic,
            n: words.clone(),
            twice: words.clone(),
            four_times: words.clone(),
            one: words.clone(),
            square_of_radix: words,
            inverse: lanes.clone(),
            second: lanes,
            bias,
        };
        for lane in 0..Self::LANES {
            moduli.set_word(lane, 3);
        }
        moduli
    }

    /// Sets the modulus of a lane, and R and R² modulo it, all as digits.
    fn set_digits(
        &mut self,
        lane: usize,
        n: &[[u64; K]; B],
        one: &[[u64; K]; B],
        square_of_radix: &[[u64; K]; B],
    ) {
        let n = n.as_flattened();
        for (place, &digit) in Self::places(lane).zip(n) {
            self.n[place] = A::factor_word(digit);
            self.twice[place] = 2 * digit;
            self.four_times[place] = 4 * digit;
        }
        put::<A>(Self::places(lane), one.as_flattened(), &mut self.one);
        let square_of_radix = square_of_radix.as_flattened();
        put::<A>(
            Self::places(lane),
            square_of_radix,
            &mut self.square_of_radix,
        );
        let inverse = small::inverse(n[0]).wrapping_neg() & DIGIT_MASK;
        self.inverse[lane] = A::factor_word(inverse);
        if let Some(&second) = n.get(1) {
            self.second[lane] = A::factor_word(inverse.wrapping_mul(second) & DIGIT_MASK);
        }
    }
}

/// Writes digits from 0 to 2^52 − 1 in the form of a factor.
#[inline(always)]
fn put<A: Arithmetic>(places: impl Iterator<Item = usize>, digits: &[u64], words: &mut [u64]) {
    let mut carry = 0;
    for (place, &digit) in places.zip(digits) {
        let mut digit = digit.cast_signed() + carry;
        carry = 0;
        if A::SIGNED && digit >= 1 << (DIGIT_BITS - 1) {
            digit -= 1 << DIGIT_BITS;
            carry = 1;
        }
        words[place] = A::digit_word(digit);
    }
}

impl<A: Arithmetic, const K: usize, const B: usize, const G: usize, const FOLD: bool> Moduli
    for VectorModuli<A, K, B, G, FOLD>
{
    type Field = Vectors<A, K, B, G, FOLD>;

    const LANES: usize = A::COUNT * G;
    const BITS: u32 = match K * B {
        2 if FOLD => u64::BITS,
        1 => DIGIT_BITS - 4,
        limbs => DIGIT_BITS * limbs as u32 - 6,
    };

    fn set(&mut self, lane: usize, n: &Integer) {
        if FOLD && let Some(word) = n.to_u64() {
            return self.set_word(lane, word);
        }
        let one = (Integer::from(1) << Self::RADIX_BITS) % n;
        let square_of_radix = Integer::from(one.square_ref()) % n;
        self.set_digits(
            lane,
            &digits_of(n),
            &digits_of(&one),
            &digits_of(&square_of_radix),
        );
    }

    fn set_word(&mut self, lane: usize, n: u64) {
        let Some(radix) = 1_u128.checked_shl(Self::RADIX_BITS) else {
            return self.set(lane, &n.into());
        };
        let n = if FOLD {
            n * ((u64::MAX / n - 1) | 1)
        } else {
            n
        };
        let wide = u128::from(n);
        let one = if Self::RADIX_BITS == DIGIT_BITS {
            (radix as u64 % n).into()
        } else {
            radix % wide
        };
        let square_of_radix = one * one % wide;
        let digits = |number: u128| {
            let mut digits = [[0; K]; B];
            for (j, digit) in digits.as_flattened_mut().iter_mut().enumerate() {
                *digit = (number >> (DIGIT_BITS * j as u32)) as u64 & DIGIT_MASK;
            }
            digits
        };
        self.set_digits(lane, &digits(wide), &digits(one), &digits(square_of_radix));
    }

    fn with<T: Task<Self::Field>>(&self, task: T) -> T::Output {
        self.arithmetic.run(With { moduli: self, task })
    }

    fn words(&self) -> usize {
        self.n.len()
    }

    #[inline(always)]
    fn places(lane: usize) -> impl Iterator<Item = usize> {
        let first = lane / A::COUNT * Self::LIMBS * A::COUNT + lane % A::COUNT;
        (0..Self::LIMBS).map(move |j| first + j * A::COUNT)
    }

    fn put(&self, lane: usize, integer: &Integer, words: &mut [u64]) {
        let mut n = Integer::new();
        for place in Self::places(lane).collect::<Vec<_>>().into_iter().rev() {
            n <<= DIGIT_BITS;
            n += self.twice[place] / 2;
        }
        let number = (Integer::from(integer) << Self::RADIX_BITS) % n;
        let digits: [[u64; K]; B] = digits_of(&number);
        for (place, &digit) in Self::places(lane).zip(digits.as_flattened()) {
            words[place] = digit;
        }
    }

    fn value(&self, lane: usize, words: &[u64]) -> Integer {
        let mut value = Integer::new();
        for place in Self::places(lane).collect::<Vec<_>>().into_iter().rev() {
            value <<= DIGIT_BITS;
            value += words[place].cast_signed();
        }
        value
    }

    #[inline(always)]
    fn value_word(&self, lane: usize, n: u64, words: &[u64]) -> u64 {
        let mut value = 0_i128;
        for (j, place) in Self::places(lane).enumerate() {
            value += i128::from(words[place].cast_signed()) << (DIGIT_BITS * j as u32);
        }
        // The absolute value is less than twice the modulus. With `FOLD` it is not negative.
        if FOLD {
            let modulus = Self::places(lane).zip([0, DIGIT_BITS]);
            let modulus: u64 = modulus.map(|(place, bits)| self.n[place] << bits).sum();
            let value =
                u64::try_from(value).unwrap_or_else(|_| (value - i128::from(modulus)) as u64);
            return value % n;
        }
        let n = i128::from(n);
        while value < 0 {
            value += n;
        }
        while value >= n {
            value -= n;
        }
        value as u64
    }
}

/// Runs a task with the field of some moduli.
struct With<'a, A: Arithmetic, const K: usize, const B: usize, const G: usize, const FOLD: bool, T>
{
    moduli: &'a VectorModuli<A, K, B, G, FOLD>,
    task: T,
}

impl<A: Arithmetic, const K: usize, const B: usize, const G: usize, const FOLD: bool, T>
    Operation<A> for With<'_, A, K, B, G, FOLD, T>
where
    T: Task<Vectors<A, K, B, G, FOLD>>,
{
    type Output = T::Output;

    #[inline(always)]
    fn run(self, s: A) -> T::Output {
        let moduli = self.moduli;
        let (mut inverse, mut second) = ([s.splat(0); G], [s.splat(0); G]);
        for group in 0..G {
            inverse[group] = s.load(&moduli.inverse[group * A::COUNT..]);
            second[group] = s.load(&moduli.second[group * A::COUNT..]);
        }
        let field = Vectors {
            arithmetic: s,
            n: load(s, &moduli.n),
            twice: load(s, &moduli.twice),
            four_times: load(s, &moduli.four_times),
            one: load(s, &moduli.one),
            square_of_radix: load(s, &moduli.square_of_radix),
            inverse,
            second,
            bias: moduli.bias,
        };
        self.task.run(&field)
    }
}
