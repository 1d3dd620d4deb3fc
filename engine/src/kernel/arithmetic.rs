//! What a vector kernel is: arithmetic with digits of 52 bits, several numbers side by side, one a
//! lane.
//!
//! Everything above this module (Montgomery multiplication, tests, the sieve, the search) is
//! written once, for any [`Arithmetic`]. A value of such a type is the proof that the processor has
//! the instructions, so all of its methods are safe.

/// Bits of a digit.
pub const DIGIT_BITS: u32 = 52;

/// The low [`DIGIT_BITS`] bits.
pub const DIGIT_MASK: u64 = (1 << DIGIT_BITS) - 1;

/// 2^52, whose sums with whole numbers below it have them in their low bits.
pub(super) const TWO_52: f64 = (1_u64 << DIGIT_BITS) as f64;

/// Registers of 64-bit lanes.
///
/// Methods whose names begin with `double_` read the lanes as floating-point numbers, all others as
/// integers.
pub trait Lanes: Copy + Send + Sync + 'static {
    /// A register.
    type Vector: Copy + Send + Sync;
    /// One truth value a lane.
    type Mask: Copy;
    /// A word of 32 bits a lane.
    type Words: Copy;

    /// Lanes of a register.
    const COUNT: usize;

    /// Runs an operation, compiled for the instructions of this type. What is outside of an
    /// operation is compiled without them, and slow.
    fn run<O: Operation<Self>>(self, operation: O) -> O::Output;

    /// A word in each lane.
    fn splat(self, word: u64) -> Self::Vector;
    /// The first [`Self::COUNT`] words of a slice.
    fn load(self, words: &[u64]) -> Self::Vector;
    /// Writes to the first [`Self::COUNT`] words of a slice.
    fn store(self, vector: Self::Vector, words: &mut [u64]);

    /// a + b modulo 2^64.
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// a − b modulo 2^64.
    fn subtract(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Each bit of a and b.
    fn and(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Each bit of a or b.
    fn or(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Each bit of a or b but not of both.
    fn xor(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Shifts in zeros.
    fn shift_right(self, a: Self::Vector, bits: u32) -> Self::Vector;
    /// Shifts each lane by its own count, below 64.
    fn shift_left_each(self, a: Self::Vector, bits: Self::Vector) -> Self::Vector;
    /// Shifts by a digit, with the sign.
    #[inline(always)]
    fn shift_right_signed(self, a: Self::Vector) -> Self::Vector {
        let shifted = self.shift_right(self.xor(a, self.splat(1 << 63)), DIGIT_BITS);
        self.subtract(shifted, self.splat(1 << (63 - DIGIT_BITS)))
    }
    /// `a`, or a − b if that is not negative.
    #[inline(always)]
    fn subtract_once(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        let difference = self.subtract(a, b);
        let sign = self.shift_right(difference, 63);
        self.blend(self.equal(sign, self.splat(0)), a, difference)
    }
    /// Lanes where a = b.
    fn equal(self, a: Self::Vector, b: Self::Vector) -> Self::Mask;
    /// `b` where the mask is set, `a` elsewhere.
    fn blend(self, mask: Self::Mask, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Bit l is lane l.
    fn mask_bits(self, mask: Self::Mask) -> u32;

    /// A number in each lane.
    #[inline(always)]
    fn double_splat(self, number: f64) -> Self::Vector {
        self.splat(number.to_bits())
    }
    /// An integer below 2^52 as a double.
    #[inline(always)]
    fn double_from(self, integer: Self::Vector) -> Self::Vector {
        let two_52 = self.double_splat(TWO_52);
        self.double_subtract(self.or(integer, two_52), two_52)
    }
    /// a + b.
    fn double_add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// a − b.
    fn double_subtract(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// a · b.
    fn double_multiply(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// a / b.
    fn double_divide(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// The greater one.
    fn double_max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// a · b + c, rounded once.
    fn double_multiply_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector)
    -> Self::Vector;
    /// a · b − c, rounded once.
    fn double_multiply_subtract(
        self,
        a: Self::Vector,
        b: Self::Vector,
        c: Self::Vector,
    ) -> Self::Vector;
    /// Lanes where a < b.
    fn double_less(self, a: Self::Vector, b: Self::Vector) -> Self::Mask;

    /// Integers below 2^32, one from each of the first [`Self::COUNT`] of some words.
    fn widen(self, words: &[u32]) -> Self::Vector;
    /// Integers below 2^31, as doubles, one from each of the first [`Self::COUNT`] of some words.
    fn double_widen(self, words: &[u32]) -> Self::Vector;
    /// The lanes, which are below 2^32, as words.
    fn narrow(self, vector: Self::Vector) -> Self::Words;
    /// The same for doubles that are whole numbers from 0 to 2^31 − 1.
    fn double_narrow(self, vector: Self::Vector) -> Self::Words;
    /// Writes to the first [`Self::COUNT`] words of a slice.
    fn store_words(self, words: Self::Words, to: &mut [u32]);
    /// Writes those of some words, all below 2^31, that are below a bound, in order, and returns how many they are. There is room
    /// for [`Self::COUNT`]; what is written beyond has no meaning.
    fn append_below(self, words: Self::Words, bound: u32, to: &mut [u32]) -> usize;
    /// Bit i is set where byte i is not zero.
    fn nonzero_bytes(self, bytes: &[u8; 64]) -> u64;
}

/// Work that is compiled for the instructions of some lanes: see [`Lanes::run`]. Its `run`, and
/// what that calls with vectors, is `#[inline(always)]`.
pub trait Operation<A> {
    /// What it gives.
    type Output;

    /// Does it.
    fn run(self, arithmetic: A) -> Self::Output;
}

/// What an arithmetic adds to columns besides halves of products; all modulo 2^64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bias {
    /// With each low half, to its column.
    pub low: u64,
    /// With each high half, to its column.
    pub high: u64,
    /// What [`Arithmetic::quotient`] wants to be added to a column.
    pub quotient: u64,
    /// What [`Arithmetic::add_cleared`] adds to the next column besides a high half and its bias.
    pub carried: u64,
}

impl Bias {
    /// That of an arithmetic with integers.
    pub(crate) const NONE: Self = Self {
        low: 0,
        high: 0,
        quotient: 0,
        carried: 0,
    };
}

/// The operations on digits of 52 bits.
///
/// A *column* is a sum of halves of products, each a 64-bit word a lane. What an arithmetic adds to
/// a column with each half, beside the half itself, is known beforehand ([`Self::BIAS`]) and is
/// taken away once a column.
pub trait Arithmetic: Lanes {
    /// What is added to columns besides halves of products.
    const BIAS: Bias;
    /// Whether columns, digits and numbers may be negative.
    ///
    /// If not, a digit of a number is the low 52 bits of a word, whatever is above them. If so, it
    /// is in [−2^51, 2^51).
    const SIGNED: bool;
    /// Whether a quotient digit can be had before the product of the one before with the modulus is
    /// in its column: [`Self::quotient_ahead`].
    const LOOKS_AHEAD: bool;
    /// Whether both halves of a product cost less together: [`Self::add_product`].
    const IN_PAIRS: bool;

    /// sum + the low half of x · y.
    fn add_low(self, sum: Self::Vector, x: Self::Vector, y: Self::Vector) -> Self::Vector;
    /// sum + the high half of x · y.
    fn add_high(self, sum: Self::Vector, x: Self::Vector, y: Self::Vector) -> Self::Vector;
    /// Adds both halves of x · y to two columns.
    fn add_product(
        self,
        low: &mut Self::Vector,
        high: &mut Self::Vector,
        x: Self::Vector,
        y: Self::Vector,
    );

    /// The digit q for which a column + q · n0 is a multiple of 2^52, given −1/n0 modulo 2^52 as a
    /// digit.
    fn quotient(self, column: Self::Vector, inverse: Self::Vector) -> Self::Vector;
    /// The same for a column to which the low half of `digit` · n1 is still to be added; `second`
    /// is `inverse` · n1.
    fn quotient_ahead(
        self,
        column: Self::Vector,
        inverse: Self::Vector,
        digit: Self::Vector,
        second: Self::Vector,
    ) -> Self::Vector;
    /// `next` + (column + q · n0) / 2^52, for that q.
    fn add_cleared(
        self,
        next: Self::Vector,
        column: Self::Vector,
        quotient: Self::Vector,
        n0: Self::Vector,
    ) -> Self::Vector;

    /// What [`Self::digit`] takes as the first carry.
    fn no_carry(self) -> Self::Vector;
    /// The digit of a column to which the carry of the one before is added, and its carry.
    fn digit(self, column: Self::Vector, carry: Self::Vector) -> (Self::Vector, Self::Vector);
    /// The same for columns and carries that may be negative.
    #[inline(always)]
    fn signed_digit(
        self,
        column: Self::Vector,
        carry: Self::Vector,
    ) -> (Self::Vector, Self::Vector) {
        self.digit(column, carry)
    }
    /// The integer that a digit is, from 0 to 2^52 − 1 or, of a signed one, from −2^51 to 2^51 − 1.
    fn integer(self, digit: Self::Vector) -> Self::Vector;

    /// An integer from 0 to 2^52 − 1 as what is only multiplied: a digit of a modulus or of its
    /// inverse.
    fn factor(self, integer: Self::Vector) -> Self::Vector;
    /// The same for one word.
    fn factor_word(integer: u64) -> u64;
    /// −1/n modulo 2^52, an integer, for an odd integer n.
    fn negative_inverse(self, n: Self::Vector) -> Self::Vector;
    /// A small integer as a digit.
    fn digit_word(integer: i64) -> u64;

    /// Low and high half of x · y, of integers with x < 2^52, y < 2^51, without bias. The low one
    /// may be negative.
    fn halves(self, x: Self::Vector, y: Self::Vector) -> (Self::Vector, Self::Vector);

    /// One word of [`Self::reduce`]'s inverse, given that modulo 2^52.
    fn residue_inverse(inverse: u64) -> u64;
    /// One step of Hensel's division of −(a number) by m: ≡ (rest − digit) / 2^52 modulo m.
    ///
    /// `digit` and m are factors. `rest`, of this function or zero, is at most m in size.
    fn reduce(
        self,
        rest: Self::Vector,
        digit: Self::Vector,
        m: Self::Vector,
        inverse: Self::Vector,
    ) -> Self::Vector;
    /// −rest / 2^52 modulo a prime p, zero exactly if p divides the rest.
    fn reduce_by(self, rest: Self::Vector, p: Self::Vector, inverse: Self::Vector) -> Self::Vector;
    /// −(rest · factor) / 2^52 modulo p, in [0, p), for a rest from [`Self::reduce_by`] and a
    /// factor below p.
    fn multiple(
        self,
        rest: Self::Vector,
        factor: Self::Vector,
        p: Self::Vector,
        inverse: Self::Vector,
    ) -> Self::Vector;
    /// Whether a lane of what [`Self::reduce_by`] gave is zero.
    fn has_zero(self, rest: Self::Vector) -> bool;
    /// Primes and factors for [`Self::reduce_by`] and [`Self::multiple`].
    fn primes(self, words: &[u32]) -> Self::Vector;
    /// What [`Self::multiple`] gave, as words.
    fn multiple_words(self, multiples: Self::Vector) -> Self::Words;
}
