use std::borrow::Cow;

/// The value of a field.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldValue {
    /// A 64-bit float. Infinities and NaN are left out, because InfluxDB cannot store them.
    Float(f64),
    /// A signed 64-bit integer.
    Integer(i64),
    /// A boolean.
    Boolean(bool),
    /// A string, for annotations. Line breaks become spaces, and text beyond about 60,000 bytes is
    /// cut off (InfluxDB accepts 64 KiB).
    Text(Cow<'static, str>),
}

impl From<f64> for FieldValue {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<bool> for FieldValue {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<u32> for FieldValue {
    fn from(value: u32) -> Self {
        Self::Integer(value.into())
    }
}

impl From<u64> for FieldValue {
    fn from(value: u64) -> Self {
        Self::Integer(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<&'static str> for FieldValue {
    fn from(value: &'static str) -> Self {
        Self::Text(value.into())
    }
}

impl From<String> for FieldValue {
    fn from(value: String) -> Self {
        Self::Text(value.into())
    }
}

/// One point of a measurement: tags, fields and a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Point<'a> {
    pub(super) measurement: &'static str,
    pub(super) tags: Vec<(&'static str, Cow<'a, str>)>,
    pub(super) fields: Vec<(Cow<'static, str>, FieldValue)>,
    pub(super) at_ns: u64,
}

impl<'a> Point<'a> {
    /// A point without tags and fields. `at_ns` is its time in nanoseconds since 1970.
    #[must_use]
    pub fn new(measurement: &'static str, at_ns: u64) -> Self {
        Self {
            measurement,
            tags: Vec::new(),
            fields: Vec::new(),
            at_ns,
        }
    }

    /// Adds a tag. Every value of a tag creates a series, so a tag must never name a job, a unit or
    /// a connection.
    #[must_use]
    pub fn tag(mut self, key: &'static str, value: impl Into<Cow<'a, str>>) -> Self {
        self.tags.push((key, value.into()));
        self
    }

    /// Adds a field.
    #[must_use]
    pub fn field(
        mut self,
        key: impl Into<Cow<'static, str>>,
        value: impl Into<FieldValue>,
    ) -> Self {
        self.fields.push((key.into(), value.into()));
        self
    }
}
