//! Arithmetic on 52-bit digits, with one number in each lane of a register. The search kernels are
//! built on it; other crates use it to compute modulo many numbers at once.

pub use crate::kernel::arithmetic::{Arithmetic, Bias, DIGIT_BITS, DIGIT_MASK, Lanes, Operation};
pub use crate::kernel::montgomery::{
    Block, Modulus, ReductionFinish, biases, multiply, reduce, square,
};
pub use crate::kernel::{Visitor, visit};
