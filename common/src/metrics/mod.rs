//! Metrics: points, their encoding in InfluxDB's line protocol, and their two destinations.
//!
//! [`LineProtocolFile`] is the metrics file of a run. [`MetricsWriter`] sends points to a server:
//! [`MetricsWriter::write`] appends a line to a buffer and returns at once. A separate thread
//! (`sender`) forms batches, sends them (`server`), and keeps on disk (`spool`) the lines that the
//! server does not accept.

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
