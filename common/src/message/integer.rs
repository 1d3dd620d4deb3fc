use std::{fmt, str::FromStr};

use primepool_engine::Integer;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::MAX_INTEGER_BITS;

/// An integer that travels as a lower-case hexadecimal string with a `-` before a negative one, such as `"c3f1"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HexInteger(pub Integer);

impl HexInteger {
    /// Reads decimal, or hexadecimal after `0x`, as people write integers.
    ///
    /// # Errors
    /// Says what is wrong with the text: empty, a character that is no digit, or too long.
    pub fn parse_human(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        let (sign, digits) = match trimmed.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, trimmed),
        };
        let hex = digits
            .strip_prefix("0x")
            .or_else(|| digits.strip_prefix("0X"));
        let (radix, digits) = hex.map_or((10, digits), |hex| (16, hex));
        // Bounded before it is parsed: 4 bits a hexadecimal digit, at least 3 a decimal one.
        let longest = MAX_INTEGER_BITS as usize / if radix == 16 { 4 } else { 3 };
        if digits.len() > longest {
            return Err(format!(
                "an integer of {} digits is too long: {MAX_INTEGER_BITS} bits at most",
                digits.len()
            ));
        }
        if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
            return Err(format!(
                "{trimmed:?} is not an integer: write it in decimal, or in hexadecimal after 0x"
            ));
        }
        let magnitude =
            Integer::from_str_radix(digits, radix as i32).map_err(|error| error.to_string())?;
        if magnitude.significant_bits() > MAX_INTEGER_BITS {
            return Err(format!(
                "an integer of {} bits is too long: {MAX_INTEGER_BITS} bits at most",
                magnitude.significant_bits()
            ));
        }
        Ok(Self(magnitude * sign))
    }
}

impl FromStr for HexInteger {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        // The length is bounded before anything is allocated for the number.
        if digits.is_empty() || digits.len() > MAX_INTEGER_BITS as usize / 4 {
            return Err(format!(
                "an integer of {} hexadecimal digits (1 to {} are allowed)",
                digits.len(),
                MAX_INTEGER_BITS / 4
            ));
        }
        if !digits
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        {
            return Err("an integer that is not lower-case hexadecimal".to_owned());
        }
        Integer::from_str_radix(text, 16)
            .map(Self)
            .map_err(|error| error.to_string())
    }
}

impl fmt::Display for HexInteger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl Serialize for HexInteger {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HexInteger {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = HexInteger;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a lower-case hexadecimal string")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<HexInteger, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn survives_json(value in any::<i128>()) {
            let integer = HexInteger(Integer::from(value));
            let text = serde_json::to_string(&integer).unwrap();
            prop_assert_eq!(serde_json::from_str::<HexInteger>(&text).unwrap(), integer);
        }

        #[test]
        fn reads_both_notations(value in any::<i64>()) {
            let integer = Integer::from(value);
            let sign = if value < 0 { "-" } else { "" };
            let hex = format!("{sign}0x{:X}", value.unsigned_abs());
            prop_assert_eq!(&HexInteger::parse_human(&value.to_string()).unwrap().0, &integer);
            prop_assert_eq!(&HexInteger::parse_human(&hex).unwrap().0, &integer);
        }
    }

    #[test]
    fn refuses_what_is_no_integer() {
        for text in ["", "-", "0x", "12a", "1.5", "0xg", "--1", "+1", "1_000"] {
            assert!(HexInteger::parse_human(text).is_err(), "{text:?}");
        }
        for text in ["", "-", "FF", "0x1", "--1", "+1", "1_0", " 1"] {
            assert!(text.parse::<HexInteger>().is_err(), "{text:?}");
        }
        let long = "1".repeat(MAX_INTEGER_BITS as usize);
        assert!(long.parse::<HexInteger>().is_err());
        assert!(HexInteger::parse_human(&long).is_err());
    }
}
