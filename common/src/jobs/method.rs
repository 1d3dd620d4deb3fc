use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::text::shorten;

/// How a random prime is chosen among the primes of its size, see [`primepool_engine::Method`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The first prime at or above a random start.
    #[default]
    Incremental,
    /// The first prime in a sequence of independent random numbers.
    Uniform,
    /// A prime that is constructed together with its certificate, see
    /// [`primepool_engine::Engine::provable_primes`]. Messages and run folders use the field
    /// `prove` instead of this name.
    #[serde(skip)]
    Provable,
}

/// Time of the provable method relative to the incremental one.
const PROVABLE_COST: f64 = 1.5;

impl Method {
    const ALL: [Self; 3] = [Self::Incremental, Self::Uniform, Self::Provable];

    /// Whether messages omit the name of this method.
    #[must_use]
    pub fn is_unnamed(&self) -> bool {
        matches!(self, Self::Incremental | Self::Provable)
    }

    /// Time of this method relative to the incremental one; `uniform` is that of the uniform
    /// method.
    pub(super) fn cost(self, uniform: f64) -> f64 {
        match self {
            Self::Incremental => 1.0,
            Self::Uniform => uniform,
            Self::Provable => PROVABLE_COST,
        }
    }

    /// The word before `primes` in descriptions.
    pub(super) fn adjective(self) -> &'static str {
        match self {
            Self::Incremental => "",
            Self::Uniform => "uniform ",
            Self::Provable => "proven ",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Incremental => "incremental",
            Self::Uniform => "uniform",
            Self::Provable => "provable",
        })
    }
}

impl FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|method| method.to_string() == text)
            .ok_or_else(|| {
                format!(
                    "{:?} is not a method: incremental, uniform or provable",
                    shorten(text, 80)
                )
            })
    }
}
