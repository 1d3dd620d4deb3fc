//! Metrics: points, and the line protocol in which InfluxDB takes them.

mod line_protocol;
mod point;
pub mod points;

pub use line_protocol::{LineProtocolFile, encode};
pub use point::{FieldValue, Point};
