//! Tests of the engine's public interface, in one binary so that it is linked only once.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod allocations;
mod api;
mod cases;
mod kernels;
mod methods;

use cases::cases;
