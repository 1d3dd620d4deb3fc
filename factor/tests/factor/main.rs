//! Tests of factoring through its public interface, in one binary so that it is linked once.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod api;
#[path = "../../../engine/tests/engine/cases.rs"]
mod cases;

use cases::cases;
