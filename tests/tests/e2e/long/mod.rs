//! What is long by nature. `make test-all` runs it.

mod chaos;
mod compare;
mod compose;
mod experiment;
mod protocol;
mod spread;
