//! Number of cases that tests try. The tests of the `factor` crate include this file too.

/// `all` if `PRIMEPOOL_TEST_FULL` is set (as by `make test-all`), else `sample`.
pub(crate) fn cases<T>(sample: T, all: T) -> T {
    if std::env::var_os("PRIMEPOOL_TEST_FULL").is_some() {
        all
    } else {
        sample
    }
}
