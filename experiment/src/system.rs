//! The pools that are compared.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What is measured.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum System {
    /// This one.
    Primepool,
    /// Ray.
    Ray,
    /// Celery on RabbitMQ.
    Celery,
    /// Dask.distributed.
    Dask,
    /// The engine in a bare loop: the ceiling of Primepool.
    #[value(skip)]
    Engine,
    /// gmpy2 in a bare loop: the ceiling of the others.
    #[value(skip)]
    Gmpy2,
}

impl System {
    /// For people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Primepool => "Primepool",
            Self::Ray => "Ray",
            Self::Celery => "Celery",
            Self::Dask => "Dask",
            Self::Engine => "engine, bare loop",
            Self::Gmpy2 => "gmpy2, bare loop",
        }
    }

    /// Whether it is no pool, but what one is measured against.
    #[must_use]
    pub fn is_ceiling(self) -> bool {
        matches!(self, Self::Engine | Self::Gmpy2)
    }
}
