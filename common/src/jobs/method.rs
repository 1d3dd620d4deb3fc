use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::text::shorten;

/// How a random prime is chosen among those of its size, see [`primepool_engine::Method`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The first prime from a random start on.
    #[default]
    Incremental,
    /// The first prime among independent random numbers.
    Uniform,
}

impl Method {
    /// Whether a message need not name it.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// How many times longer than the incremental method it takes, if the uniform one takes
    /// `uniform` times as long.
    pub(super) fn cost(self, uniform: f64) -> f64 {
        match self {
            Self::Incremental => 1.0,
            Self::Uniform => uniform,
        }
    }

    /// What stands before `primes` in descriptions.
    pub(super) fn adjective(self) -> &'static str {
        match self {
            Self::Incremental => "",
            Self::Uniform => "uniform ",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Incremental => "incremental",
            Self::Uniform => "uniform",
        })
    }
}

impl FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Incremental, Self::Uniform]
            .into_iter()
            .find(|method| method.to_string() == text)
            .ok_or_else(|| {
                format!(
                    "{:?} is not a method: incremental or uniform",
                    shorten(text, 80)
                )
            })
    }
}

impl From<Method> for primepool_engine::Method {
    fn from(method: Method) -> Self {
        match method {
            Method::Incremental => Self::Incremental,
            Method::Uniform => Self::Uniform,
        }
    }
}
