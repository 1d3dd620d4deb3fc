//! Deserializers with limits: a longer list or text is refused before memory is allocated for it.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Visitor},
};

use crate::text;

/// Longest name of a run, a node or a kind of job, in bytes.
pub const MAX_NAME_BYTES: usize = 64;

/// Reads a list of at most `MOST` items.
pub(crate) fn list<'de, D, T, const MOST: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Items<T, const MOST: usize>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Items<T, MOST> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of {MOST} items at most")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<T>, A::Error> {
            let mut items = Vec::new();
            while let Some(item) = sequence.next_element()? {
                if items.len() == MOST {
                    return Err(Error::invalid_length(MOST + 1, &self));
                }
                items.push(item);
            }
            Ok(items)
        }
    }

    deserializer.deserialize_seq(Items::<T, MOST>(PhantomData))
}

/// A text of at most [`MAX_NAME_BYTES`] bytes.
pub(crate) struct Name(pub(crate) String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer, |text| {
            if text.len() <= MAX_NAME_BYTES {
                Ok(Self(text.to_owned()))
            } else {
                Err(format!(
                    "a name of {} bytes ({MAX_NAME_BYTES} at most)",
                    text.len()
                ))
            }
        })
    }
}

/// Reads a text of at most [`MAX_NAME_BYTES`] bytes.
pub(crate) fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Name::deserialize(deserializer).map(|name| name.0)
}

/// Reads a list of at most `MOST` texts, each of at most [`MAX_NAME_BYTES`] bytes.
pub(crate) fn names<'de, D, const MOST: usize>(deserializer: D) -> Result<Vec<String>, D::Error>
where
    D: Deserializer<'de>,
{
    let names = list::<D, Name, MOST>(deserializer)?;
    Ok(names.into_iter().map(|name| name.0).collect())
}

/// Reads a text and keeps the first [`MAX_NAME_BYTES`] bytes.
pub(crate) fn start_of_name<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<String, D::Error> {
    read(deserializer, |text| Ok(text::shorten(text, MAX_NAME_BYTES)))
}

/// Reads a reason and keeps the part that is ever shown. A long reason is no ground to refuse its
/// message.
pub(crate) fn reason<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    read(deserializer, |text| Ok(text::reason(text)))
}

/// Reads a reason that may be absent.
pub(crate) fn optional_reason<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    struct Reason(String);

    impl<'de> Deserialize<'de> for Reason {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            reason(deserializer).map(Self)
        }
    }

    Ok(Option::<Reason>::deserialize(deserializer)?.map(|reason| reason.0))
}

/// Converts a text without copying it.
pub(crate) fn read<'de, D, T>(
    deserializer: D,
    make: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
{
    struct Text<M>(M);

    impl<T, M: FnOnce(&str) -> Result<T, String>> Visitor<'_> for Text<M> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            (self.0)(text).map_err(E::custom)
        }
    }

    deserializer.deserialize_str(Text(make))
}
