//! Tests of curves: all kernels give the same results, curves succeed as often as theory says, and
//! plans are complete.

#![allow(clippy::unwrap_used)]

mod fields;
mod plans;
