//! Arithmetic modulo several numbers at once, one in each lane of a kernel's vectors, in Montgomery
//! form.
//!
//! # Bounds
//!
//! With R = 2^(52 L) for L digits, the moduli are odd numbers N < R/16. Numbers are never fully
//! reduced.
//!
//! Without signs they are kept in [0, 4N): the reduction of a product of two such numbers is below
//! 16 N²/R + N < 2N; doubled it is below 4N, and with a number below 2N added to it too. With signs
//! they are kept in (−4N, 4N): quotient digits are at most 2^51 in size, so a reduction is at most
//! 16 N²/R + (1/2 + 2^−50) N < 2N in size, and the rest is the same.
//!
//! A column collects at most 4L halves of products and a carry, which fits 64 bits for any L up to
//! 500.

use super::arithmetic::{Arithmetic, DIGIT_BITS, DIGIT_MASK, Operation};
use super::montgomery::{Block, Modulus, Then, biases, multiply, reduce, square};
use super::scale::scale;

/// Bits of the exponent taken at a time in a power of any base.
pub(crate) const WINDOW: u32 = 4;

/// Powers in the table of a power of any base.
const POWERS: usize = 1 << WINDOW;

/// Numbers of a [`Field`] that are computed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Register {
    /// All operations'.
    First,
    /// The second of the Lucas sequence.
    Second,
}

/// Where the digits of numbers, one a lane, are among words: digit j of all lanes of a group, then
/// the next digit; group after group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Digits of a number.
    pub(crate) limbs: usize,
    /// Lanes of a group.
    pub(crate) width: usize,
    /// All lanes.
    pub(crate) lanes: usize,
}

impl Layout {
    /// Words of a number in each lane.
    pub(crate) fn words(self) -> usize {
        self.limbs * self.lanes
    }

    /// The place of the lowest digit of a lane; the next one is [`Layout::width`] further.
    pub(crate) fn lowest(self, lane: usize) -> usize {
        // The width is a power of two: a division would take longer than what is done with the
        // digit.
        let group = lane >> self.width.trailing_zeros();
        group * self.limbs * self.width + (lane & (self.width - 1))
    }

    /// The places of the digits of a lane, the least significant first.
    pub(crate) fn places(self, lane: usize) -> impl Iterator<Item = usize> {
        let first = self.lowest(lane);
        (0..self.limbs).map(move |j| first + j * self.width)
    }
}

/// Arithmetic modulo several numbers at once.
///
/// Numbers are given and taken as digits of 52 bits, in words in the field's layout.
pub(crate) trait Field: Send {
    /// Digits of a number and lanes.
    fn layout(&self) -> Layout;

    /// Sets the moduli, all odd and below R/16.
    fn set_moduli(&mut self, moduli: &[u64]);

    /// The exponents of powers.
    fn exponents_mut(&mut self) -> &mut [u64];

    /// Sets the numbers to 2^head in Montgomery form, for the head of each lane, and writes them,
    /// as integers less than twice the moduli, to `digits` if it is not empty. `bits` are the
    /// lengths of the moduli, which differ by at most 512.
    fn set_powers_of_two(
        &mut self,
        bits: &[u32],
        heads: &[u32],
        moduli: &[u64],
        digits: &mut [u64],
    );

    /// Sets a register to numbers less than twice the moduli.
    fn set(&mut self, register: Register, numbers: &[u64]);

    /// Sets what [`Field::lucas`] adds to its mixed products, −P, and to its squares, −2, both in
    /// Montgomery form and less than the moduli.
    fn set_addends(&mut self, mixed: &[u64], square: &[u64]);

    /// Keeps the numbers for [`Field::restore`].
    fn keep(&mut self);

    /// Sets the numbers to what was kept.
    fn restore(&mut self);

    /// For each exponent bit from `high − 1` down to `low`: squares, and doubles if the bit is set.
    fn power_of_two(&mut self, high: u32, low: u32);

    /// Fills the table of powers of the numbers; then sets the numbers to one, which `ones` is in
    /// Montgomery form.
    fn begin_power(&mut self, ones: &[u64]);

    /// For each window of [`WINDOW`] exponent bits, `count` of them down to bit `low`: squares that
    /// often, and multiplies by the power of the base that the window is.
    fn power(&mut self, count: u32, low: u32);

    /// Squares, and multiplies by the base where the exponent's bit `bit` is set.
    fn power_step(&mut self, bit: u32);

    /// For each exponent bit from `high − 1` down to `low`, one step of the Lucas sequence with Q =
    /// 1: of (V_k, V_k+1), in the registers, to (V_2k, V_2k+1) or, where the bit is set, (V_2k+1,
    /// V_2k+2).
    fn lucas(&mut self, high: u32, low: u32);

    /// In which lanes the number is 1, and in which it is −1; bit l is lane l.
    fn units(&mut self) -> (u32, u32);

    /// Writes a register's numbers without their Montgomery form, in [0, N].
    fn leave(&mut self, register: Register, moduli: &[u64], numbers: &mut [u64]);
}

/// A field of numbers of some blocks of K digits, `BLOCKS` of them, or any number if that is 0;
/// `GROUPS` registers' worths of numbers. `SPLIT` is that of [`super::montgomery`].
pub(crate) struct Blocks<
    A: Arithmetic,
    const K: usize,
    const BLOCKS: usize,
    const GROUPS: usize,
    const SPLIT: bool,
> {
    arithmetic: A,
    /// Blocks of a number.
    blocks: usize,
    // The digits of the first group's numbers, then those of the next.
    n: Vec<Block<A, K>>,
    a: Vec<Block<A, K>>,
    b: Vec<Block<A, K>>,
    kept: Vec<Block<A, K>>,
    /// What the numbers are multiplied by.
    factor: Vec<Block<A, K>>,
    mixed_addend: Vec<Block<A, K>>,
    square_addend: Vec<Block<A, K>>,
    /// The powers 0, 1, ... of the base, one after the other for each group; empty until they are
    /// needed.
    powers: Vec<Block<A, K>>,
    exponent: Vec<u64>,
    /// Words of one group.
    words: Vec<u64>,
    /// Minus the inverse of the modulus modulo 2^52, a group.
    inverse: Vec<A::Vector>,
    /// The inverse times the modulus's second digit, modulo 2^52, a group.
    second: Vec<A::Vector>,
    product: Vec<Block<A, K>>,
    other_product: Vec<Block<A, K>>,
    // Of one group.
    quotient: Vec<Block<A, K>>,
    scratch: Vec<Block<A, K>>,
    /// See [`biases`].
    product_bias: Vec<u64>,
    leave_bias: Vec<u64>,
}

impl<A: Arithmetic, const K: usize, const BLOCKS: usize, const GROUPS: usize, const SPLIT: bool>
    Blocks<A, K, BLOCKS, GROUPS, SPLIT>
{
    /// A field for numbers of so many blocks. All numbers are zero.
    pub(crate) fn boxed(arithmetic: A, blocks: usize) -> Box<dyn Field> {
        debug_assert!(BLOCKS == 0 || BLOCKS == blocks);
        let zero = arithmetic.splat(0);
        let numbers = vec![[zero; K]; blocks * GROUPS];
        let products = vec![[zero; K]; 2 * blocks * GROUPS];
        Box::new(Self {
            arithmetic,
            blocks,
            n: numbers.clone(),
            a: numbers.clone(),
            b: numbers.clone(),
            kept: numbers.clone(),
            factor: numbers.clone(),
            mixed_addend: numbers.clone(),
            square_addend: numbers,
            powers: Vec::new(),
            exponent: vec![0; K * blocks * GROUPS * A::COUNT],
            words: vec![0; K * blocks * A::COUNT],
            inverse: vec![zero; GROUPS],
            second: vec![zero; GROUPS],
            product: products.clone(),
            other_product: products,
            quotient: vec![[zero; K]; blocks],
            scratch: vec![[zero; K]; blocks],
            product_bias: biases::<A>(K * blocks, true),
            leave_bias: biases::<A>(K * blocks, false),
        })
    }

    /// Blocks of a number, a constant where there is one.
    #[inline(always)]
    fn blocks(&self) -> usize {
        if BLOCKS == 0 { self.blocks } else { BLOCKS }
    }

    /// The blocks of a group's numbers.
    #[inline(always)]
    fn group(&self, group: usize) -> std::ops::Range<usize> {
        let blocks = self.blocks();
        group * blocks..group * blocks + blocks
    }

    /// The blocks of a group's products.
    #[inline(always)]
    fn columns(&self, group: usize) -> std::ops::Range<usize> {
        let blocks = 2 * self.blocks();
        group * blocks..group * blocks + blocks
    }

    /// The exponents' digit with bit `bit`, of a group.
    #[inline(always)]
    fn exponent_digit(&self, s: A, group: usize, bit: u32) -> A::Vector {
        let digit = group * K * self.blocks() + (bit / DIGIT_BITS) as usize;
        s.load(&self.exponent[A::COUNT * digit..])
    }

    /// The exponents' digit with bit `bit`, of a group, shifted so that the bit is the lowest.
    #[inline(always)]
    fn exponent_from(&self, s: A, group: usize, bit: u32) -> A::Vector {
        s.shift_right(self.exponent_digit(s, group, bit), bit % DIGIT_BITS)
    }

    /// Sets a group's numbers to the power of their tables that a window of the exponent is.
    ///
    /// To look at all of a table that is in the first-level cache beats a gather.
    #[inline(always)]
    fn select(&mut self, s: A, group: usize, low: u32) {
        let mut which = self.exponent_from(s, group, low);
        let place = low % DIGIT_BITS;
        if place + WINDOW > DIGIT_BITS {
            let above = self.exponent_digit(s, group, low + WINDOW - 1);
            let left = s.splat(u64::from(DIGIT_BITS - place));
            which = s.or(which, s.shift_left_each(above, left));
        }
        let which = s.and(which, s.splat((1 << WINDOW) - 1));
        let blocks = self.blocks();
        let table = &self.powers[group * POWERS * blocks..][..POWERS * blocks];
        for b in 0..blocks {
            let mut digits = table[b];
            for power in 1..POWERS {
                let here = s.equal(which, s.splat(power as u64));
                let block = &table[power * blocks + b];
                for c in 0..K {
                    digits[c] = s.blend(here, digits[c], block[c]);
                }
            }
            self.factor[group * blocks + b] = digits;
        }
    }
}

/// Defines an [`Operation`] on a field: the name of its type, with its arguments, and what it does.
macro_rules! operation {
    ($name:ident { $($argument:ident: $type:ty),* } -> $out:ty, |$field:ident, $s:ident| $body:block) => {
        struct $name<'a, A: Arithmetic, const K: usize, const BLOCKS: usize, const GROUPS: usize, const SPLIT: bool> {
            field: &'a mut Blocks<A, K, BLOCKS, GROUPS, SPLIT>,
            $($argument: $type),*
        }

        impl<A: Arithmetic, const K: usize, const BLOCKS: usize, const GROUPS: usize, const SPLIT: bool> Operation<A>
            for $name<'_, A, K, BLOCKS, GROUPS, SPLIT>
        {
            type Output = $out;

            #[inline(always)]
            fn run(self, $s: A) -> $out {
                let Self { field: $field, $($argument),* } = self;
                $body
            }
        }
    };
}

operation!(SetModuli { moduli: &'a [u64] } -> (), |field, s| {
    for (n, words) in field.n.as_flattened_mut().iter_mut().zip(moduli.chunks(A::COUNT)) {
        *n = s.factor(s.load(words));
    }
    let limbs = K * field.blocks();
    for (group, words) in moduli.chunks(limbs * A::COUNT).enumerate() {
        let inverse = s.negative_inverse(s.load(words));
        field.inverse[group] = s.factor(inverse);
        if A::LOOKS_AHEAD {
            let (second, _) = s.halves(inverse, s.load(&words[A::COUNT..]));
            field.second[group] = second;
        }
    }
});

operation!(SetPowersOfTwo { bits: &'a [u32], heads: &'a [u32], moduli: &'a [u64], digits: &'a mut [u64] } -> (), |field, s| {
    let limbs = K * field.blocks();
    let longest = bits.iter().copied().fold(0, u32::max);
    // Twice the longest modulus fits.
    let used = ((longest / DIGIT_BITS) as usize + 1).min(limbs);
    for group in 0..GROUPS {
        let lanes = group * A::COUNT..(group + 1) * A::COUNT;
        // From the greatest power of two below each modulus.
        field.words.fill(0);
        let mut shifts = [0; 8];
        for (lane, (&bits, &head)) in bits[lanes.clone()].iter().zip(&heads[lanes]).enumerate() {
            let top = bits - 1;
            let place = A::COUNT * (top / DIGIT_BITS) as usize + lane;
            field.words[place] = 1 << (top % DIGIT_BITS);
            shifts[lane] = u64::from(DIGIT_BITS * limbs as u32 - top + head);
        }
        let words = group * limbs * A::COUNT..(group + 1) * limbs * A::COUNT;
        let numbers = field.group(group);
        let n = field.quotient.as_flattened_mut();
        for (n, words) in n.iter_mut().zip(moduli[words.clone()].chunks(A::COUNT)) {
            *n = s.load(words);
        }
        let a = field.scratch.as_flattened_mut();
        for (a, words) in a.iter_mut().zip(field.words.chunks(A::COUNT)) {
            *a = s.load(words);
        }
        scale(s, &n[..used], &mut a[..used], s.load(&shifts));
        if !digits.is_empty() {
            for (words, &digit) in digits[words].chunks_mut(A::COUNT).zip(a.iter()) {
                s.store(digit, words);
            }
        }
        let mut carry = s.no_carry();
        for (to, &digit) in field.a[numbers].as_flattened_mut().iter_mut().zip(a.iter()) {
            (*to, carry) = s.digit(digit, carry);
        }
    }
});

operation!(Set { register: Register, numbers: &'a [u64] } -> (), |field, s| {
    let limbs = K * field.blocks();
    let to = match register {
        Register::First => &mut field.a,
        Register::Second => &mut field.b,
    };
    let mut carry = s.no_carry();
    let words = numbers.chunks(A::COUNT);
    for (j, (to, words)) in to.as_flattened_mut().iter_mut().zip(words).enumerate() {
        if j % limbs == 0 {
            carry = s.no_carry();
        }
        (*to, carry) = s.digit(s.load(words), carry);
    }
});

operation!(SetAddends { mixed: &'a [u64], square: &'a [u64] } -> (), |field, s| {
    for (to, numbers) in [(&mut field.mixed_addend, mixed), (&mut field.square_addend, square)] {
        let digits = to.as_flattened_mut().iter_mut();
        for (digit, words) in digits.zip(numbers.chunks(A::COUNT)) {
            *digit = s.load(words);
        }
    }
});

/// The loop of [`Squarings`], for numbers in arrays or slices.
macro_rules! square_repeatedly {
    ($s:ident, ($high:ident, $low:ident, $doubles:ident), $field:ident, $n:ident, $a:ident, $product:ident, $quotient:ident) => {
        for bit in ($low..$high).rev() {
            for g in 0..GROUPS {
                square::<A, K, SPLIT>(
                    $s,
                    &$a[g],
                    &$field.product_bias,
                    $product[g].as_flattened_mut(),
                );
            }
            for g in 0..GROUPS {
                let shift = if $doubles {
                    $s.and($field.exponent_from($s, g, bit), $s.splat(1))
                } else {
                    $s.splat(0)
                };
                let modulus = Modulus {
                    n: &$n[g],
                    inverse: $field.inverse[g],
                    second: $field.second[g],
                };
                let product = $product[g].as_flattened();
                reduce::<A, K, SPLIT>(
                    $s,
                    product,
                    modulus,
                    &mut $quotient,
                    Then::Shift(shift),
                    &mut $a[g],
                );
            }
        }
    };
}

/// For each exponent bit from `high − 1` down to `low`: squares, and doubles if that is asked for
/// and the bit is set.
struct Squarings<
    'a,
    A: Arithmetic,
    const K: usize,
    const BLOCKS: usize,
    const GROUPS: usize,
    const SPLIT: bool,
> {
    field: &'a mut Blocks<A, K, BLOCKS, GROUPS, SPLIT>,
    high: u32,
    low: u32,
    doubles: bool,
}

impl<A: Arithmetic, const K: usize, const BLOCKS: usize, const GROUPS: usize, const SPLIT: bool>
    Operation<A> for Squarings<'_, A, K, BLOCKS, GROUPS, SPLIT>
{
    type Output = ();

    #[inline(always)]
    fn run(self, s: A) {
        let Self {
            field,
            high,
            low,
            doubles,
        } = self;
        if BLOCKS == 0 {
            let (mut a, mut product) = (
                std::mem::take(&mut field.a),
                std::mem::take(&mut field.product),
            );
            let mut quotient = std::mem::take(&mut field.quotient);
            {
                let (n, mut a) = ([field.n.as_slice()], [a.as_mut_slice()]);
                let (pairs, _) = product.as_chunks_mut::<2>();
                let product = [pairs];
                square_repeatedly!(s, (high, low, doubles), field, n, a, product, quotient);
            }
            (field.a, field.product, field.quotient) = (a, product, quotient);
            return;
        }
        // In arrays of this function alone, which the compiler keeps in registers where they fit.
        let zero = [s.splat(0); K];
        let (mut n, mut a) = ([[zero; BLOCKS]; GROUPS], [[zero; BLOCKS]; GROUPS]);
        n.as_flattened_mut().copy_from_slice(&field.n);
        a.as_flattened_mut().copy_from_slice(&field.a);
        let mut product = [[[zero; 2]; BLOCKS]; GROUPS];
        let mut quotient = [zero; BLOCKS];
        square_repeatedly!(s, (high, low, doubles), field, n, a, product, quotient);
        field.a.copy_from_slice(a.as_flattened());
    }
}

operation!(MultiplyNumbers {} -> (), |field, s| {
    let blocks = field.blocks();
    let Blocks { n, a, factor, inverse, second, product, quotient, product_bias, .. } = field;
    let (n, a, factor) = (&n[..GROUPS * blocks], &mut a[..GROUPS * blocks], &factor[..GROUPS * blocks]);
    let product = &mut product[..2 * GROUPS * blocks];
    for g in 0..GROUPS {
        let (a, factor) = (&a[blocks * g..][..blocks], &factor[blocks * g..][..blocks]);
        let columns = &mut product[2 * blocks * g..][..2 * blocks];
        multiply::<A, K, SPLIT>(s, a, factor, product_bias, columns);
    }
    for g in 0..GROUPS {
        let modulus = Modulus {
            n: &n[blocks * g..][..blocks],
            inverse: inverse[g],
            second: second[g],
        };
        let columns = &product[2 * blocks * g..][..2 * blocks];
        let to = &mut a[blocks * g..][..blocks];
        let shift = Then::Shift(s.splat(0));
        reduce::<A, K, SPLIT>(s, columns, modulus, &mut quotient[..blocks], shift, to);
    }
});

operation!(Select { low: u32 } -> (), |field, s| {
    for g in 0..GROUPS {
        field.select(s, g, low);
    }
});

operation!(SelectBit { bit: u32 } -> (), |field, s| {
    for g in 0..GROUPS {
        let set = s.equal(s.and(field.exponent_from(s, g, bit), s.splat(1)), s.splat(1));
        let blocks = field.blocks();
        let table = &field.powers[g * POWERS * blocks..][..2 * blocks];
        let (ones, bases) = table.split_at(blocks);
        let factors = &mut field.factor[g * blocks..][..blocks];
        for ((factor, one), base) in factors.iter_mut().zip(ones).zip(bases) {
            for c in 0..K {
                factor[c] = s.blend(set, one[c], base[c]);
            }
        }
    }
});

operation!(Lucas { high: u32, low: u32 } -> (), |field, s| {
    // Of the mixed product V_2k+1 and the square, V_2k or V_2k+2, the next mixed product needs
    // both. So they are put in order only at the end; until then a is the mixed one, and b the
    // square, in lanes where the last bit was not set the first of the two.
    let one = s.splat(1);
    let blocks = field.blocks();
    let Blocks {
        n, a, b, mixed_addend, square_addend, exponent, inverse, second, product, other_product, quotient, scratch,
        product_bias, ..
    } = field;
    let (n, a, b) = (&n[..GROUPS * blocks], &mut a[..GROUPS * blocks], &mut b[..GROUPS * blocks]);
    let (product, other_product) = (&mut product[..2 * GROUPS * blocks], &mut other_product[..2 * GROUPS * blocks]);
    let (quotient, scratch) = (&mut quotient[..blocks], &mut scratch[..blocks]);
    let mut last = [one; GROUPS];
    for bit in (low..high).rev() {
        for g in 0..GROUPS {
            let (a, b) = (&a[blocks * g..][..blocks], &b[blocks * g..][..blocks]);
            let columns = &mut product[2 * blocks * g..][..2 * blocks];
            multiply::<A, K, SPLIT>(s, a, b, product_bias, columns);
            let digit = K * blocks * g + (bit / DIGIT_BITS) as usize;
            let digit = s.load(&exponent[A::COUNT * digit..]);
            let set = s.and(s.shift_right(digit, bit % DIGIT_BITS), one);
            // The bit asks for the first or the second.
            let mixed = s.equal(s.xor(set, last[g]), one);
            last[g] = set;
            for ((to, a), b) in scratch.iter_mut().zip(a).zip(b) {
                for c in 0..K {
                    to[c] = s.blend(mixed, b[c], a[c]);
                }
            }
            let columns = &mut other_product[2 * blocks * g..][..2 * blocks];
            square::<A, K, SPLIT>(s, scratch, product_bias, columns);
        }
        for g in 0..GROUPS {
            let numbers = blocks * g..blocks * g + blocks;
            let modulus = Modulus {
                n: &n[numbers.clone()],
                inverse: inverse[g],
                second: second[g],
            };
            let addend = Then::Add(&mixed_addend[numbers.clone()]);
            let columns = &product[2 * blocks * g..][..2 * blocks];
            reduce::<A, K, SPLIT>(s, columns, modulus, quotient, addend, &mut a[numbers.clone()]);
            let addend = Then::Add(&square_addend[numbers.clone()]);
            let columns = &other_product[2 * blocks * g..][..2 * blocks];
            reduce::<A, K, SPLIT>(s, columns, modulus, quotient, addend, &mut b[numbers]);
        }
    }
    for g in 0..GROUPS {
        let last = s.equal(last[g], one);
        let numbers = blocks * g..blocks * g + blocks;
        for (a, b) in a[numbers.clone()].iter_mut().zip(&mut b[numbers]) {
            for c in 0..K {
                (a[c], b[c]) = (s.blend(last, b[c], a[c]), s.blend(last, a[c], b[c]));
            }
        }
    }
});

// Sets the scratch to the numbers of a group's register without Montgomery form.
//
// The quotient is at most R − 1, so with a number x < 4N the result is at most N + (x − N)/R, so at
// most N. With signs it is at most (1/2 + 2^−50) N in size.
operation!(LeaveGroup { register: Register, group: usize } -> (), |field, s| {
    let (numbers, columns) = (field.group(group), field.columns(group));
    let from = match register {
        Register::First => &field.a[numbers.clone()],
        Register::Second => &field.b[numbers.clone()],
    };
    let product = &mut field.product[columns];
    let zero = [[s.splat(0); K]];
    let rest = from.iter().chain(std::iter::repeat(&zero[0]));
    for (k, (to, digits)) in product.iter_mut().zip(rest).enumerate() {
        for c in 0..K {
            to[c] = s.integer(digits[c]);
            if !field.leave_bias.is_empty() {
                to[c] = s.add(to[c], s.splat(field.leave_bias[K * k + c]));
            }
            if k >= numbers.len() {
                to[c] = if field.leave_bias.is_empty() { s.splat(0) } else { s.splat(field.leave_bias[K * k + c]) };
            }
        }
    }
    reduce::<A, K, SPLIT>(
        s,
        product,
        Modulus {
            n: &field.n[numbers],
            inverse: field.inverse[group],
            second: field.second[group],
        },
        &mut field.quotient,
        Then::Shift(s.splat(0)),
        &mut field.scratch,
    );
});

// Writes the scratch, of signed digits or not, as numbers in [0, N].
operation!(WriteScratch { moduli: &'a [u64], numbers: &'a mut [u64] } -> (), |field, s| {
    let (zero, mask) = (s.splat(0), s.splat(DIGIT_MASK));
    let digits = field.scratch.as_flattened();
    let mut carry = zero;
    for (&digit, words) in digits.iter().zip(numbers.chunks_mut(A::COUNT)) {
        let digit = s.add(s.integer(digit), carry);
        carry = s.shift_right_signed(digit);
        s.store(s.and(digit, mask), words);
    }
    if A::SIGNED {
        // The last carry is −1 where the number is negative, and 0 elsewhere.
        let is_negative = carry;
        let mut carry = zero;
        for (words, n) in numbers.chunks_mut(A::COUNT).zip(moduli.chunks(A::COUNT)) {
            let digit = s.add(s.load(words), s.and(s.load(n), is_negative));
            let digit = s.add(digit, carry);
            carry = s.shift_right_signed(digit);
            s.store(s.and(digit, mask), words);
        }
    }
});

operation!(CompareUnits { group: usize } -> (u32, u32), |field, s| {
    let n = field.n[field.group(group)].as_flattened();
    let (mut off_one, mut off_minus_one) = (s.splat(0), s.splat(0));
    for (j, (&digit, &n)) in field.scratch.as_flattened().iter().zip(n).enumerate() {
        let (digit, one) = if A::SIGNED {
            (digit, s.splat(A::digit_word(i64::from(j == 0))))
        } else {
            (s.integer(digit), s.splat(u64::from(j == 0)))
        };
        let minus_one = if A::SIGNED {
            s.splat(A::digit_word(-i64::from(j == 0)))
        } else {
            // The moduli are odd, so N − 1 differs from N in its lowest bit only.
            s.xor(n, one)
        };
        off_one = s.or(off_one, s.xor(digit, one));
        off_minus_one = s.or(off_minus_one, s.xor(digit, minus_one));
    }
    let zero = s.splat(0);
    (s.mask_bits(s.equal(off_one, zero)), s.mask_bits(s.equal(off_minus_one, zero)))
});

impl<A: Arithmetic, const K: usize, const BLOCKS: usize, const GROUPS: usize, const SPLIT: bool>
    Field for Blocks<A, K, BLOCKS, GROUPS, SPLIT>
{
    fn layout(&self) -> Layout {
        Layout {
            limbs: K * self.blocks,
            width: A::COUNT,
            lanes: A::COUNT * GROUPS,
        }
    }

    fn set_moduli(&mut self, moduli: &[u64]) {
        self.arithmetic.run(SetModuli {
            moduli,
            field: self,
        });
    }

    fn exponents_mut(&mut self) -> &mut [u64] {
        &mut self.exponent
    }

    fn set_powers_of_two(
        &mut self,
        bits: &[u32],
        heads: &[u32],
        moduli: &[u64],
        digits: &mut [u64],
    ) {
        self.arithmetic.run(SetPowersOfTwo {
            bits,
            heads,
            moduli,
            digits,
            field: self,
        });
    }

    fn set(&mut self, register: Register, numbers: &[u64]) {
        self.arithmetic.run(Set {
            register,
            numbers,
            field: self,
        });
    }

    fn set_addends(&mut self, mixed: &[u64], square: &[u64]) {
        self.arithmetic.run(SetAddends {
            mixed,
            square,
            field: self,
        });
    }

    fn keep(&mut self) {
        self.kept.copy_from_slice(&self.a);
    }

    fn restore(&mut self) {
        self.a.copy_from_slice(&self.kept);
    }

    fn power_of_two(&mut self, high: u32, low: u32) {
        self.arithmetic.run(Squarings {
            high,
            low,
            doubles: true,
            field: self,
        });
    }

    fn begin_power(&mut self, ones: &[u64]) {
        let blocks = self.blocks();
        let zero = self.arithmetic.splat(0);
        self.powers.resize(POWERS * blocks * GROUPS, [zero; K]);
        self.factor.copy_from_slice(&self.a);
        for power in 1..POWERS {
            if power > 1 {
                self.arithmetic.run(MultiplyNumbers { field: self });
            }
            for group in 0..GROUPS {
                let numbers = self.group(group);
                self.powers[(group * POWERS + power) * blocks..][..blocks]
                    .copy_from_slice(&self.a[numbers]);
            }
        }
        self.set(Register::First, ones);
        for group in 0..GROUPS {
            let numbers = self.group(group);
            self.powers[group * POWERS * blocks..][..blocks].copy_from_slice(&self.a[numbers]);
        }
    }

    fn power(&mut self, count: u32, low: u32) {
        for window in (0..count).rev() {
            // Nothing waits for the factors yet, so the processor selects them beside the
            // squarings.
            self.arithmetic.run(Select {
                low: low + WINDOW * window,
                field: self,
            });
            self.arithmetic.run(Squarings {
                high: WINDOW,
                low: 0,
                doubles: false,
                field: self,
            });
            self.arithmetic.run(MultiplyNumbers { field: self });
        }
    }

    fn power_step(&mut self, bit: u32) {
        self.arithmetic.run(SelectBit { bit, field: self });
        self.arithmetic.run(Squarings {
            high: 1,
            low: 0,
            doubles: false,
            field: self,
        });
        self.arithmetic.run(MultiplyNumbers { field: self });
    }

    fn lucas(&mut self, high: u32, low: u32) {
        self.arithmetic.run(Lucas {
            high,
            low,
            field: self,
        });
    }

    fn units(&mut self) -> (u32, u32) {
        let (mut ones, mut minus_ones) = (0, 0);
        for group in 0..GROUPS {
            self.arithmetic.run(LeaveGroup {
                register: Register::First,
                group,
                field: self,
            });
            let (one, minus_one) = self.arithmetic.run(CompareUnits { group, field: self });
            ones |= one << (group * A::COUNT);
            minus_ones |= minus_one << (group * A::COUNT);
        }
        (ones, minus_ones)
    }

    fn leave(&mut self, register: Register, moduli: &[u64], numbers: &mut [u64]) {
        let words = K * self.blocks * A::COUNT;
        let groups = numbers.chunks_mut(words).zip(moduli.chunks(words));
        for (group, (numbers, moduli)) in groups.enumerate() {
            self.arithmetic.run(LeaveGroup {
                register,
                group,
                field: self,
            });
            self.arithmetic.run(WriteScratch {
                moduli,
                numbers,
                field: self,
            });
        }
    }
}
