//! Arithmetic with digits of 52 bits, a number in each lane of a register: what the kernels of the
//! search are made of, for other computations modulo many numbers at once.

pub use crate::kernel::arithmetic::{Arithmetic, Bias, DIGIT_BITS, DIGIT_MASK, Lanes, Operation};
pub use crate::kernel::montgomery::{Block, Modulus, Then, biases, multiply, reduce, square};
pub use crate::kernel::{Visitor, visit};
