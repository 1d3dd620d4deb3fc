use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};

use super::HexInteger;

/// An integer written in hexadecimal after `0x`, as most languages read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hex(pub HexInteger);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = Vec::new();
        self.0.push_human(&mut text);
        serializer.serialize_str(str::from_utf8(&text).map_err(ser::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <Cow<'de, str>>::deserialize(deserializer)?;
        let read = HexInteger::parse_human(&text).map_err(serde::de::Error::custom)?;
        Ok(Self(read))
    }
}
