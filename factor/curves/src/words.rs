//! The field of one number, in machine words.

use primepool_engine::small;
use rug::{Integer, integer::Order};

use super::field::{Field, Moduli, Task};

/// Arithmetic modulo an odd number of W words in Montgomery form, R = 2^(64 W). All numbers are
/// fully reduced. The highest bit of a modulus of more than one word is 0.
#[derive(Clone, Copy)]
pub(crate) struct Words<const W: usize> {
    n: [u64; W],
    /// 1/n modulo 2^64.
    inverse: u64,
    one: [u64; W],
    /// R² modulo n.
    square_of_radix: [u64; W],
}

#[inline(always)]
fn wide(a: u64, b: u64) -> u128 {
    u128::from(a) * u128::from(b)
}

/// The words, or zero, without a branch: it would be unpredictable.
#[inline(always)]
fn masked<const W: usize>(words: &[u64; W], is_kept: bool) -> [u64; W] {
    let mask = u64::from(is_kept).wrapping_neg();
    let mut masked = [0; W];
    for i in 0..W {
        masked[i] = words[i] & mask;
    }
    masked
}

impl<const W: usize> Words<W> {
    pub(crate) fn new() -> Self {
        let mut field = Self {
            n: [0; W],
            inverse: 0,
            one: [0; W],
            square_of_radix: [0; W],
        };
        field.set_word(0, 3);
        field
    }

    /// a − b modulo 2^(64 W), and whether the difference is negative.
    #[inline(always)]
    fn difference(a: &[u64; W], b: &[u64; W]) -> ([u64; W], bool) {
        let (mut difference, mut borrow) = ([0; W], false);
        for i in 0..W {
            let (word, first) = a[i].overflowing_sub(b[i]);
            let (word, second) = word.overflowing_sub(u64::from(borrow));
            (difference[i], borrow) = (word, first || second);
        }
        (difference, borrow)
    }

    #[inline(always)]
    fn sum(a: &[u64; W], b: &[u64; W]) -> [u64; W] {
        let (mut sum, mut carry) = ([0; W], false);
        for i in 0..W {
            let (word, first) = a[i].overflowing_add(b[i]);
            let (word, second) = word.overflowing_add(u64::from(carry));
            (sum[i], carry) = (word, first || second);
        }
        sum
    }

    #[inline(always)]
    fn minus(&self, a: &[u64; W], b: &[u64; W]) -> [u64; W] {
        let (difference, is_negative) = Self::difference(a, b);
        Self::sum(&difference, &masked(&self.n, is_negative))
    }

    #[inline(always)]
    fn plus(&self, a: &[u64; W], b: &[u64; W]) -> [u64; W] {
        self.minus(a, &Self::difference(&self.n, b).0)
    }

    /// Multiplies in one word; the highest bit of the modulus may be set.
    #[inline(always)]
    fn times_word(&self, a: u64, b: u64) -> u64 {
        let product = wide(a, b);
        let quotient = (product as u64).wrapping_mul(self.inverse);
        let multiple = (wide(quotient, self.n[0]) >> 64) as u64;
        let (rest, is_negative) = ((product >> 64) as u64).overflowing_sub(multiple);
        rest.wrapping_add(masked(&self.n, is_negative)[0])
    }

    /// Multiplies word by word: a row of the product, then a step of the reduction.
    #[inline(always)]
    fn times(&self, a: &[u64; W], b: &[u64; W]) -> [u64; W] {
        let mut product = [0; W];
        if W == 1 {
            product[0] = self.times_word(a[0], b[0]);
            return product;
        }
        for &x in a {
            let mut carry = 0;
            for j in 0..W {
                let sum = wide(x, b[j]) + u128::from(product[j]) + u128::from(carry);
                (product[j], carry) = (sum as u64, (sum >> 64) as u64);
            }
            let highest = carry;
            let quotient = product[0].wrapping_mul(self.inverse.wrapping_neg());
            let mut carry = (wide(quotient, self.n[0]) + u128::from(product[0])) >> 64;
            for j in 1..W {
                let sum = wide(quotient, self.n[j]) + u128::from(product[j]) + carry;
                (product[j - 1], carry) = (sum as u64, sum >> 64);
            }
            product[W - 1] = highest + carry as u64;
        }
        self.minus(&product, &self.n)
    }
}

impl<const W: usize> Words<W> {
    /// The product, not inlined if it has many words.
    #[inline(always)]
    fn product_of(&self, a: &[u64; W], b: &[u64; W]) -> [u64; W] {
        if W <= 2 {
            self.times(a, b)
        } else {
            self.times_out_of_line(a, b)
        }
    }

    #[inline(never)]
    fn times_out_of_line(&self, a: &[u64; W], b: &[u64; W]) -> [u64; W] {
        self.times(a, b)
    }
}

impl<const W: usize> Field for Words<W> {
    type Factor = [u64; W];
    type Product = [u64; W];

    const IS_SMALL: bool = W == 1;

    #[inline(always)]
    fn multiply(&self, a: &[u64; W], b: &[u64; W]) -> [u64; W] {
        self.product_of(a, b)
    }

    #[inline(always)]
    fn square(&self, a: &[u64; W]) -> [u64; W] {
        self.product_of(a, a)
    }

    #[inline(always)]
    fn factor(&self, a: &[u64; W]) -> [u64; W] {
        *a
    }

    #[inline(always)]
    fn add(&self, a: &[u64; W], b: &[u64; W]) -> [u64; W] {
        self.plus(a, b)
    }

    #[inline(always)]
    fn subtract(&self, a: &[u64; W], b: &[u64; W]) -> [u64; W] {
        self.minus(a, b)
    }

    #[inline(always)]
    fn subtract_both(&self, a: &[u64; W], b: &[u64; W], c: &[u64; W]) -> [u64; W] {
        self.minus(&self.minus(a, b), c)
    }

    #[inline(always)]
    fn subtract_add_twice(&self, a: &[u64; W], b: &[u64; W], c: &[u64; W]) -> [u64; W] {
        self.plus(&self.plus(c, c), &self.minus(a, b))
    }

    #[inline(always)]
    fn one(&self) -> [u64; W] {
        self.one
    }

    #[inline(always)]
    fn zero(&self) -> [u64; W] {
        [0; W]
    }

    #[inline(always)]
    fn integer(&self, integer: i32) -> [u64; W] {
        let mut words = [0; W];
        words[0] = integer.unsigned_abs().into();
        // With one word, a factor may exceed the modulus.
        let product = self.product_of(&words, &self.square_of_radix);
        if integer < 0 {
            self.minus(&[0; W], &product)
        } else {
            product
        }
    }

    #[inline(never)]
    fn call<T: Task<Self>>(&self, task: T) -> T::Output {
        task.run(self)
    }

    #[inline(always)]
    fn load(&self, words: &[u64]) -> [u64; W] {
        let mut product = [0; W];
        product.copy_from_slice(&words[..W]);
        product
    }

    #[inline(always)]
    fn store(&self, product: &[u64; W], words: &mut [u64]) {
        words[..W].copy_from_slice(product);
    }
}

fn words_of<const W: usize>(n: &Integer) -> [u64; W] {
    let mut words = [0; W];
    n.write_digits(&mut words, Order::Lsf);
    words
}

impl<const W: usize> Moduli for Words<W> {
    type Field = Self;

    const LANES: usize = 1;
    const BITS: u32 = if W == 1 { 64 } else { 64 * W as u32 - 1 };

    fn set(&mut self, _: usize, n: &Integer) {
        let radix = Integer::from(1) << (64 * W as u32);
        self.n = words_of(n);
        self.inverse = small::inverse(self.n[0]);
        self.one = words_of(&Integer::from(&radix % n));
        self.square_of_radix = words_of(&(Integer::from(radix.square_ref()) % n));
    }

    fn set_word(&mut self, lane: usize, n: u64) {
        if W > 1 {
            return self.set(lane, &n.into());
        }
        self.n[0] = n;
        self.inverse = small::inverse(n);
        self.one[0] = n.wrapping_neg() % n;
        self.square_of_radix[0] = (wide(self.one[0], self.one[0]) % u128::from(n)) as u64;
    }

    fn with<T: Task<Self>>(&self, task: T) -> T::Output {
        task.run(self)
    }

    fn words(&self) -> usize {
        W
    }

    fn places(_: usize) -> impl Iterator<Item = usize> {
        0..W
    }

    fn put(&self, _: usize, integer: &Integer, words: &mut [u64]) {
        let product = self.product_of(&words_of(integer), &self.square_of_radix);
        words.copy_from_slice(&product);
    }

    fn value(&self, _: usize, words: &[u64]) -> Integer {
        Integer::from_digits(words, Order::Lsf)
    }

    fn value_word(&self, _: usize, _: u64, words: &[u64]) -> u64 {
        words[0]
    }
}
