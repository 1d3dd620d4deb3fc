//! The interface of a vector kernel: arithmetic on 52-bit digits of several numbers, one number per
//! lane.
//!
//! Everything above this module (Montgomery multiplication, tests, the sieve, the search) is
//! written once, for any [`Arithmetic`]. A value of such a type proves that the processor has the
//! instructions, so all of its methods are safe.

/// Number of bits of a digit.
pub const DIGIT_BITS: u32 = 52;

/// The low [`DIGIT_BITS`] bits.
pub const DIGIT_MASK: u64 = (1 << DIGIT_BITS) - 1;

/// 2^52. Its sum with a whole number below it has that number in its low bits.
pub(super) const TWO_52: f64 = (1_u64 << DIGIT_BITS) as f64;

/// Registers of 64-bit lanes.
///
/// Methods whose names begin with `double_` treat the lanes as floating-point numbers, all others
/// as integers.
pub trait Lanes: Copy + Send + Sync + 'static {
    /// A register of [`Self::COUNT`] 64-bit lanes.
    type Vector: Copy + Send + Sync;
    /// One truth value per lane.
    type Mask: Copy;
    /// A 32-bit word per lane.
    type Words: Copy;

    /// Number of lanes of a register.
    const COUNT: usize;

    /// Runs an operation, compiled for the instructions of this type. Code outside of an operation
    /// is compiled without them, and is slow.
    fn run<O: Operation<Self>>(self, operation: O) -> O::Output;

    /// The same word in each lane.
    fn splat(self, word: u64) -> Self::Vector;
    /// Loads the first [`Self::COUNT`] words of a slice.
    fn load(self, words: &[u64]) -> Self::Vector;
    /// Stores to the first [`Self::COUNT`] words of a slice.
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
    /// Shifts each lane right by `bits`, with zeros from the left.
    fn shift_right(self, a: Self::Vector, bits: u32) -> Self::Vector;
    /// Shifts each lane left by its own count, below 64.
    fn shift_left_each(self, a: Self::Vector, bits: Self::Vector) -> Self::Vector;
    /// Shifts each lane right by [`DIGIT_BITS`], with copies of the sign bit from the left.
    #[inline(always)]
    fn shift_right_signed(self, a: Self::Vector) -> Self::Vector {
        let shifted = self.shift_right(self.xor(a, self.splat(1 << 63)), DIGIT_BITS);
        self.subtract(shifted, self.splat(1 << (63 - DIGIT_BITS)))
    }
    /// a − b if that is not negative, else `a`.
    #[inline(always)]
    fn subtract_once(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        let difference = self.subtract(a, b);
        let sign = self.shift_right(difference, 63);
        self.blend(self.equal(sign, self.splat(0)), a, difference)
    }
    /// The lanes where a = b.
    fn equal(self, a: Self::Vector, b: Self::Vector) -> Self::Mask;
    /// `b` where the mask is set, `a` elsewhere.
    fn blend(self, mask: Self::Mask, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// The mask as bits: bit l is lane l.
    fn mask_bits(self, mask: Self::Mask) -> u32;

    /// The same number in each lane.
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
    /// The greater of a and b.
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
    /// The lanes where a < b.
    fn double_less(self, a: Self::Vector, b: Self::Vector) -> Self::Mask;

    /// Loads the first [`Self::COUNT`] of some 32-bit words as integers.
    fn widen(self, words: &[u32]) -> Self::Vector;
    /// Loads the first [`Self::COUNT`] of some words, all below 2^31, as doubles.
    fn double_widen(self, words: &[u32]) -> Self::Vector;
    /// The lanes, which must be below 2^32, as words.
    fn narrow(self, vector: Self::Vector) -> Self::Words;
    /// The lanes, which must be doubles of whole numbers from 0 to 2^31 − 1, as words.
    fn double_narrow(self, vector: Self::Vector) -> Self::Words;
    /// Stores to the first [`Self::COUNT`] words of a slice.
    fn store_words(self, words: Self::Words, to: &mut [u32]);
    /// Stores the words that are below `bound`, in order, and returns their number. All words must
    /// be below 2^31. The slice must have room for [`Self::COUNT`] words; the contents after the
    /// stored words are unspecified.
    fn append_below(self, words: Self::Words, bound: u32, to: &mut [u32]) -> usize;
    /// A word whose bit i is set if byte i is not zero.
    fn nonzero_bytes(self, bytes: &[u8; 64]) -> u64;
}

/// Work that is compiled for the instructions of some lanes: see [`Lanes::run`]. Its `run`, and all
/// functions called from there with vectors, must be `#[inline(always)]`.
pub trait Operation<A> {
    /// Result of the work.
    type Output;

    /// Does the work.
    fn run(self, arithmetic: A) -> Self::Output;
}

/// The terms that an arithmetic adds to columns besides halves of products, all modulo 2^64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bias {
    /// Added with each low half, to the same column.
    pub low: u64,
    /// Added with each high half, to the same column.
    pub high: u64,
    /// Must be added to a column before [`Arithmetic::quotient`].
    pub quotient: u64,
    /// Added to the next column by [`Arithmetic::add_cleared`], besides a high half and its bias.
    pub carried: u64,
}

impl Bias {
    /// The bias of an arithmetic with integers.
    pub(crate) const NONE: Self = Self {
        low: 0,
        high: 0,
        quotient: 0,
        carried: 0,
    };
}

/// The operations on 52-bit digits.
///
/// A *column* is a sum of halves of products, each a 64-bit word per lane. With each half, an
/// arithmetic may add a known constant to the column ([`Self::BIAS`]). The sum of these constants
/// is subtracted once per column.
pub trait Arithmetic: Lanes {
    /// The terms added to columns besides halves of products.
    const BIAS: Bias;
    /// Whether columns, digits and numbers may be negative.
    ///
    /// If not, a digit of a number is the low 52 bits of a word, and the bits above are ignored. If
    /// so, it is in [−2^51, 2^51).
    const SIGNED: bool;
    /// Whether a quotient digit can be computed before the product of the previous one with the
    /// modulus has been added to its column: [`Self::quotient_ahead`].
    const LOOKS_AHEAD: bool;
    /// Whether computing both halves of a product at once is cheaper: [`Self::add_product`].
    const IN_PAIRS: bool;

    /// `sum` + the low half of x · y.
    fn add_low(self, sum: Self::Vector, x: Self::Vector, y: Self::Vector) -> Self::Vector;
    /// `sum` + the high half of x · y.
    fn add_high(self, sum: Self::Vector, x: Self::Vector, y: Self::Vector) -> Self::Vector;
    /// Adds both halves of x · y to two columns.
    fn add_product(
        self,
        low: &mut Self::Vector,
        high: &mut Self::Vector,
        x: Self::Vector,
        y: Self::Vector,
    );

    /// The digit q for which column + q · n0 is a multiple of 2^52. `inverse` is −1/n0 modulo 2^52
    /// as a digit.
    fn quotient(self, column: Self::Vector, inverse: Self::Vector) -> Self::Vector;
    /// Like [`Self::quotient`], for a column to which the low half of `digit` · n1 must still be
    /// added; `second` is `inverse` · n1.
    fn quotient_ahead(
        self,
        column: Self::Vector,
        inverse: Self::Vector,
        digit: Self::Vector,
        second: Self::Vector,
    ) -> Self::Vector;
    /// `next` + (column + q · n0) / 2^52, where q is from [`Self::quotient`].
    fn add_cleared(
        self,
        next: Self::Vector,
        column: Self::Vector,
        quotient: Self::Vector,
        n0: Self::Vector,
    ) -> Self::Vector;

    /// The first carry for [`Self::digit`].
    fn no_carry(self) -> Self::Vector;
    /// Adds the carry of the previous column to a column, and returns its digit and its carry.
    fn digit(self, column: Self::Vector, carry: Self::Vector) -> (Self::Vector, Self::Vector);
    /// Like [`Self::digit`], for columns and carries that may be negative.
    #[inline(always)]
    fn signed_digit(
        self,
        column: Self::Vector,
        carry: Self::Vector,
    ) -> (Self::Vector, Self::Vector) {
        self.digit(column, carry)
    }
    /// The integer value of a digit: from 0 to 2^52 − 1, or from −2^51 to 2^51 − 1 if signed.
    fn integer(self, digit: Self::Vector) -> Self::Vector;

    /// Converts an integer from 0 to 2^52 − 1 to a factor, that is, a number that is only
    /// multiplied: a digit of a modulus or of its inverse.
    fn factor(self, integer: Self::Vector) -> Self::Vector;
    /// Like [`Self::factor`], for one word.
    fn factor_word(integer: u64) -> u64;
    /// −1/n modulo 2^52 as an integer, for an odd integer n.
    fn negative_inverse(self, n: Self::Vector) -> Self::Vector;
    /// Converts a small integer to a digit.
    fn digit_word(integer: i64) -> u64;

    /// Low and high half of x · y without bias, for integers x < 2^52 and y < 2^51. The low half
    /// may be negative.
    fn halves(self, x: Self::Vector, y: Self::Vector) -> (Self::Vector, Self::Vector);

    /// One word of the inverse for [`Self::reduce`], from the inverse modulo 2^52.
    fn residue_inverse(inverse: u64) -> u64;
    /// One step of Hensel's division of the negative of a number: a value that is ≡ (rest − digit)
    /// / 2^52 modulo m.
    ///
    /// `digit` and m are factors. `rest` is zero or a result of this function, and at most m in
    /// size.
    fn reduce(
        self,
        rest: Self::Vector,
        digit: Self::Vector,
        m: Self::Vector,
        inverse: Self::Vector,
    ) -> Self::Vector;
    /// −rest / 2^52 modulo a prime p; zero if and only if p divides the rest.
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
    /// Whether any lane of a result of [`Self::reduce_by`] is zero.
    fn has_zero(self, rest: Self::Vector) -> bool;
    /// Loads primes or factors for [`Self::reduce_by`] and [`Self::multiple`].
    fn primes(self, words: &[u32]) -> Self::Vector;
    /// The result of [`Self::multiple`] as words.
    fn multiple_words(self, multiples: Self::Vector) -> Self::Words;
}
