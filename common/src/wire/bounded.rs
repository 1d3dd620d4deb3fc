//! What others wrote, bounded while it is read: whoever sends a longer list or text is refused before there is memory for it.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Visitor},
};

use crate::text;

/// Longest name of a run, a node or a kind of job, in bytes.
pub const MAX_NAME_BYTES: usize = 64;

/// A list of so many items at most.
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

/// A text of [`MAX_NAME_BYTES`] at most.
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

/// The text of a [`Name`].
pub(crate) fn word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Name::deserialize(deserializer).map(|name| name.0)
}

/// Texts of so many [`Name`]s at most.
pub(crate) fn words<'de, D, const MOST: usize>(deserializer: D) -> Result<Vec<String>, D::Error>
where
    D: Deserializer<'de>,
{
    let names = list::<D, Name, MOST>(deserializer)?;
    Ok(names.into_iter().map(|name| name.0).collect())
}

/// As much of a text as a name may be long.
pub(crate) fn start_of_name<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<String, D::Error> {
    read(deserializer, |text| Ok(text::shorten(text, MAX_NAME_BYTES)))
}

/// As much of a reason as is ever shown; a long one is no ground to refuse what it stands in.
pub(crate) fn reason<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    read(deserializer, |text| Ok(text::reason(text)))
}

/// The same where there may be none.
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

/// Makes something of a text without a copy of it.
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
