//! The pools that are compared.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A pool, or a bare loop beside it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum System {
    Primepool,
    Ray,
    Celery,
    Dask,
    /// The engine in a bare loop: the ceiling of Primepool.
    #[value(skip)]
    Engine,
    /// gmpy2 in a bare loop: the ceiling of the others.
    #[value(skip)]
    Gmpy2,
}

impl System {
    /// Whether it is a bare loop, which a pool is measured against.
    pub(crate) fn is_ceiling(self) -> bool {
        matches!(self, Self::Engine | Self::Gmpy2)
    }
}
