//! Curves: all kernels alike, as successful as theory says, and the plans that they follow.

#![allow(clippy::unwrap_used)]

mod fields;
mod plans;
