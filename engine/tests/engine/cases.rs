//! How much the tests try. `factor` has this file too.

/// How many cases to try: a fixed sample, or all of them where `PRIMEPOOL_TEST_FULL` is set, as `make test-all` does.
pub(crate) fn cases<T>(sample: T, all: T) -> T {
    if std::env::var_os("PRIMEPOOL_TEST_FULL").is_some() {
        all
    } else {
        sample
    }
}
