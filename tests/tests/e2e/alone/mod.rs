//! Tests that other work on the machine would disturb: they measure time or CPU shares.

mod experiment;
