//! Metrics: points, the line protocol in which InfluxDB takes them, and the two places that they go to.
//!
//! [`LineProtocolFile`] is the file of a run. [`MetricsWriter`] sends to a server: [`MetricsWriter::write`] leaves a line in a
//! buffer and returns; a thread of its own (`sender`) makes batches of them, sends them (`server`) and keeps on disk (`spool`)
//! what the server does not take.

mod args;
mod buffer;
mod error;
mod line_protocol;
mod options;
mod point;
pub mod points;
mod reader;
mod sender;
mod server;
mod spool;
#[cfg(test)]
mod test_server;
#[cfg(test)]
mod tests;
mod writer;

pub use args::{InfluxArgs, InfluxTarget};
pub use buffer::Stats;
pub use error::MetricsError;
pub use line_protocol::{LineProtocolFile, encode};
pub use options::{Source, WriterOptions};
pub use point::{FieldValue, Point};
pub use reader::{MetricsReader, ReadError, Series, influxql_string};
pub use writer::MetricsWriter;
