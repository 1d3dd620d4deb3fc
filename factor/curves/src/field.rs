//! Arithmetic for curves: modulo one number, or modulo several numbers at once.

use rug::Integer;

/// Arithmetic modulo one number, or modulo several numbers, one in each lane.
///
/// The result of a multiplication need not be reduced. Its absolute value is less than twice the
/// modulus, and it must become a [`Field::Factor`] before it is multiplied again. Sums and
/// differences of at most three such products are factors.
pub(crate) trait Field {
    /// An operand of a multiplication.
    type Factor: Copy + Send;
    /// The result of a multiplication.
    type Product: Copy + Send;

    /// Whether curves are so short that the cost of calls would matter.
    const IS_SMALL: bool;

    /// a · b.
    fn multiply(&self, a: &Self::Factor, b: &Self::Factor) -> Self::Product;
    /// a².
    fn square(&self, a: &Self::Factor) -> Self::Product;
    /// Converts a product to a factor without changing the number.
    fn factor(&self, a: &Self::Product) -> Self::Factor;
    /// a + b.
    fn add(&self, a: &Self::Product, b: &Self::Product) -> Self::Factor;
    /// a − b.
    fn subtract(&self, a: &Self::Product, b: &Self::Product) -> Self::Factor;
    /// a − b − c.
    fn subtract_both(
        &self,
        a: &Self::Product,
        b: &Self::Product,
        c: &Self::Product,
    ) -> Self::Factor;
    /// a − b + 2c.
    fn subtract_add_twice(
        &self,
        a: &Self::Product,
        b: &Self::Product,
        c: &Self::Product,
    ) -> Self::Factor;
    fn one(&self) -> Self::Factor;
    fn zero(&self) -> Self::Product;
    /// The element that stands for a small integer.
    fn integer(&self, integer: i32) -> Self::Product;

    /// Converts a factor to a product without changing the number.
    #[inline(always)]
    fn product(&self, a: &Self::Factor) -> Self::Product {
        self.multiply(a, &self.one())
    }

    /// Runs a task in a function of its own that is compiled for the field's instructions: the
    /// compiler could not cope with all steps of a curve in one function.
    fn call<T: Task<Self>>(&self, task: T) -> T::Output
    where
        Self: Sized;

    /// Reads a product from the words of a [`Moduli`].
    fn load(&self, words: &[u64]) -> Self::Product;
    /// Writes a product as the words of a [`Moduli`].
    fn store(&self, product: &Self::Product, words: &mut [u64]);
}

/// Moduli, one in each lane, and their field.
pub(crate) trait Moduli: Send {
    /// The field of these moduli.
    type Field: Field;

    /// The number of lanes.
    const LANES: usize;
    /// Largest size of a modulus in bits.
    const BITS: u32;

    /// Sets the modulus of a lane, which is odd and above 1.
    fn set(&mut self, lane: usize, n: &Integer);
    /// The same for a modulus of 64 bits.
    fn set_word(&mut self, lane: usize, n: u64);

    /// Runs a task with the field.
    fn with<T: Task<Self::Field>>(&self, task: T) -> T::Output;

    /// Number of words that hold a product in all lanes.
    fn words(&self) -> usize;
    /// Indices of the words of a lane, the least significant first.
    fn places(lane: usize) -> impl Iterator<Item = usize>;
    /// Sets the number of a lane to an integer that is at least 0 and less than the modulus.
    fn put(&self, lane: usize, integer: &Integer, words: &mut [u64]);
    /// The number of a lane times a unit, not reduced.
    fn value(&self, lane: usize, words: &[u64]) -> Integer;
    /// The same for a modulus `n` of 64 bits, reduced.
    fn value_word(&self, lane: usize, n: u64, words: &[u64]) -> u64;
}

/// A computation with a field. The functions that it calls with the field are `#[inline(always)]`,
/// so that they are compiled for the field's instructions.
pub(crate) trait Task<F> {
    /// The result of the computation.
    type Output;

    /// Runs the computation.
    fn run(self, field: &F) -> Self::Output;
}
