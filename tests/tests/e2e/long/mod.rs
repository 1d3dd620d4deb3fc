//! What is long by nature. `make test-all` runs it.

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
