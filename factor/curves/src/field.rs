//! What curves are computed with: arithmetic modulo a number, or modulo several at once.

use rug::Integer;

/// Arithmetic modulo a number, or modulo several, one in each lane.
///
/// What a multiplication gives need not be reduced: it is less than twice the modulus in size, and
/// has to become a [`Field::Factor`] before it is multiplied again. Sums and differences are taken
/// of such products, three of them at the most, and are factors.
pub(crate) trait Field {
    /// What can be multiplied.
    type Factor: Copy + Send;
    /// What a multiplication gives.
    type Product: Copy + Send;

    /// Whether curves are so short that calls of operations would count.
    const IS_SMALL: bool;

    /// a · b.
    fn multiply(&self, a: &Self::Factor, b: &Self::Factor) -> Self::Product;
    /// a².
    fn square(&self, a: &Self::Factor) -> Self::Product;
    /// The same number.
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
    /// One.
    fn one(&self) -> Self::Factor;
    /// Zero.
    fn zero(&self) -> Self::Product;
    /// A small integer.
    fn integer(&self, integer: i32) -> Self::Product;

    /// The same number, as if it were the result of a multiplication.
    #[inline(always)]
    fn product(&self, a: &Self::Factor) -> Self::Product {
        self.multiply(a, &self.one())
    }

    /// Does something in a function of its own, compiled for the field's instructions: the
    /// compiler could not cope with all the steps of a curve in one.
    fn call<T: Task<Self>>(&self, task: T) -> T::Output
    where
        Self: Sized;

    /// A product from words of a [`Moduli`].
    fn load(&self, words: &[u64]) -> Self::Product;
    /// A product as words of a [`Moduli`].
    fn store(&self, product: &Self::Product, words: &mut [u64]);
}

/// Moduli, one in each lane, and the field of them.
pub(crate) trait Moduli: Send {
    /// The field.
    type Field: Field;

    /// The number of lanes.
    const LANES: usize;
    /// The greatest modulus, in bits.
    const BITS: u32;

    /// Sets the modulus of a lane, which is odd and above 1.
    fn set(&mut self, lane: usize, n: &Integer);
    /// The same for a modulus of 64 bits.
    fn set_word(&mut self, lane: usize, n: u64);

    /// Does something with the field.
    fn with<T: Task<Self::Field>>(&self, task: T) -> T::Output;

    /// Words of a product in all lanes.
    fn words(&self) -> usize;
    /// The places of the words of a lane, the least significant first.
    fn places(lane: usize) -> impl Iterator<Item = usize>;
    /// Sets the number of a lane to an integer from 0 on that is less than the modulus.
    fn put(&self, lane: usize, integer: &Integer, words: &mut [u64]);
    /// A multiple of the number of a lane by a unit, not reduced.
    fn value(&self, lane: usize, words: &[u64]) -> Integer;
    /// The same for a modulus `n` of 64 bits, reduced.
    fn value_word(&self, lane: usize, n: u64, words: &[u64]) -> u64;
}

/// Something to be done with a field. What it calls with it is `#[inline(always)]`, so that it is
/// compiled for the field's instructions.
pub(crate) trait Task<F> {
    /// What it gives.
    type Output;

    /// Does it.
    fn run(self, field: &F) -> Self::Output;
}
