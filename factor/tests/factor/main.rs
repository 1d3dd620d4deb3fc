//! Factoring through its public interface. One binary, so that it is linked once.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod api;

/// How many cases to try: a fixed sample, or all of them where `PRIMEPOOL_TEST_FULL` is set, as
/// `make test-all` does.
fn cases<T>(sample: T, all: T) -> T {
    if std::env::var_os("PRIMEPOOL_TEST_FULL").is_some() {
        all
    } else {
        sample
    }
}
