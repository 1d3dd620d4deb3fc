//! Tests that take long; `make test-all` runs them.

mod chaos;
mod compare;
mod compose;
mod dashboard;
mod experiment;
mod influxdb_1;
mod influxdb_2;
mod proofs;
mod protocol;
mod spread;
