//! The engine through its public interface. One binary, so that it is linked once.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod allocations;
mod api;
mod cases;
mod kernels;
mod methods;

use cases::cases;
