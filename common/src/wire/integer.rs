use std::{fmt, str::FromStr};

use primepool_engine::{Integer, Limb, Order};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::text::shorten;

/// Most bits of an integer in a message.
pub const MAX_INTEGER_BITS: u32 = primepool_engine::MAX_BITS;

/// An integer that is encoded as a lower-case hexadecimal string, such as `"c3f1"`, with a `-`
/// first if it is negative.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HexInteger(pub Integer);

impl HexInteger {
    /// Reads a decimal integer, or a hexadecimal one after `0x`, as people write them.
    ///
    /// # Errors
    /// The text is empty, contains a character that is not a digit, or is too long.
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
        // The length is checked before parsing: 4 bits per hexadecimal digit, at least 3 per
        // decimal digit.
        let longest = MAX_INTEGER_BITS as usize / if radix == 16 { 4 } else { 3 };
        if digits.len() > longest {
            return Err(format!(
                "an integer of {} digits is too long: {MAX_INTEGER_BITS} bits at most",
                digits.len()
            ));
        }
        if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
            return Err(format!(
                "{:?} is not an integer: write it in decimal, or in hexadecimal after 0x",
                shorten(trimmed, 80)
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
        // The length is checked before memory is allocated for the number.
        if digits.is_empty() || digits.len() > MAX_INTEGER_BITS as usize / 4 {
            return Err(format!(
                "an integer of {} hexadecimal digits (1 to {} are allowed)",
                digits.len(),
                MAX_INTEGER_BITS / 4
            ));
        }
        let mut magnitude = read_digits(digits.as_bytes())
            .ok_or("an integer that is not lower-case hexadecimal")?;
        if digits.len() < text.len() {
            magnitude = -magnitude;
        }
        Ok(Self(magnitude))
    }
}

/// Number of hexadecimal digits of a 64-bit word.
const WORD_DIGITS: usize = 16;

/// Most words for which [`with_words`] needs no allocation.
const SMALL: usize = 64;

/// Calls `work` with `count` zero words.
fn with_words<T>(count: usize, work: impl FnOnce(&mut [u64]) -> T) -> T {
    if count <= SMALL {
        work(&mut [0; SMALL][..count])
    } else {
        work(&mut vec![0; count])
    }
}

/// Reads lower-case digits. Several times faster than GMP's conversion for any radix, which matters
/// because results arrive by the hundred thousand per second.
fn read_digits(digits: &[u8]) -> Option<Integer> {
    if digits.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    // Least significant first.
    let chunks = digits.rchunks(WORD_DIGITS);
    with_words(chunks.len(), |words| {
        for (word, chunk) in words.iter_mut().zip(chunks) {
            let mut padded = [b'0'; WORD_DIGITS];
            padded[WORD_DIGITS - chunk.len()..].copy_from_slice(chunk);
            let mut bytes = [0; size_of::<u64>()];
            const_hex::decode_to_slice(padded, &mut bytes).ok()?;
            *word = u64::from_be_bytes(bytes);
        }
        Some(Integer::from_digits(words, Order::Lsf))
    })
}

impl HexInteger {
    /// Appends the integer as in messages: lower-case digits, after a `-` if it is negative.
    pub fn push_bare(&self, text: &mut Vec<u8>) {
        self.push(b"", text);
    }

    /// Appends the integer with `0x` before the digits, as [`parse_human`](Self::parse_human) and
    /// most languages read it.
    pub fn push_human(&self, text: &mut Vec<u8>) {
        self.push(b"0x", text);
    }

    fn push(&self, prefix: &[u8], text: &mut Vec<u8>) {
        if self.0.is_negative() {
            text.push(b'-');
        }
        text.extend_from_slice(prefix);
        // Limbs are least significant first. They have 64 bits on every system with a kernel worth
        // using, 32 on some others.
        let Some((first, rest)) = self.0.as_limbs().split_last() else {
            text.push(b'0');
            return;
        };
        let mut digits = [0; 2 * size_of::<Limb>()];
        // This cannot fail: the buffer has exactly the size that the bytes need.
        let _ = const_hex::encode_to_slice(first.to_be_bytes(), &mut digits);
        text.extend_from_slice(&digits[first.leading_zeros() as usize / 4..]);
        for limb in rest.iter().rev() {
            let _ = const_hex::encode_to_slice(limb.to_be_bytes(), &mut digits);
            text.extend_from_slice(&digits);
        }
    }
}

impl fmt::Display for HexInteger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl Serialize for HexInteger {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut digits = Vec::with_capacity(2 + self.0.significant_bits() as usize / 4);
        self.push_bare(&mut digits);
        serializer.serialize_str(str::from_utf8(&digits).map_err(ser::Error::custom)?)
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
        fn is_written_and_read_as_gmp_does(digits in "[1-9a-f][0-9a-f]{0,80}", negative in any::<bool>()) {
            let text = if negative { format!("-{digits}") } else { digits };
            let integer = HexInteger(Integer::from_str_radix(&text, 16).unwrap());
            prop_assert_eq!(text.parse::<HexInteger>().unwrap(), integer.clone());
            let mut written = Vec::new();
            integer.push_bare(&mut written);
            prop_assert_eq!(str::from_utf8(&written).unwrap(), text);
            written.clear();
            integer.push_human(&mut written);
            prop_assert_eq!(HexInteger::parse_human(str::from_utf8(&written).unwrap()).unwrap(), integer);
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
    fn zero_has_one_digit() {
        assert_eq!(
            serde_json::to_string(&HexInteger(0.into())).unwrap(),
            "\"0\""
        );
        assert_eq!("0".parse::<HexInteger>().unwrap().0, 0);
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
