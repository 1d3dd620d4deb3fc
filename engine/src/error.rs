//! The error type of the engine.

/// The reason why a computation has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The caller set the [`Cancel`](crate::Cancel) flag.
    #[error("the computation was cancelled")]
    Cancelled,

    /// The request asks for something that does not exist or is out of range; do not retry it.
    #[error("invalid request: {reason}")]
    Invalid {
        /// What is wrong with the request, and what would be valid.
        reason: String,
    },

    /// The requested kernel does not exist, or this processor does not have it.
    #[error("no such kernel: {reason}")]
    Kernel {
        /// What is wrong, and what would be valid.
        reason: String,
    },

    /// A result was wrong because of a bug in the program or a library, or a hardware fault.
    #[error("wrong result: {reason}")]
    Fault {
        /// What is wrong.
        reason: String,
    },

    /// The operating system's random number generator failed.
    #[error("the operating system's random number generator failed: {0}")]
    Randomness(#[from] getrandom::Error),
}

impl Error {
    /// [`Error::Invalid`] for this reason.
    pub fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid {
            reason: reason.into(),
        }
    }

    /// [`Error::Fault`] for this reason.
    pub fn fault(reason: impl Into<String>) -> Self {
        Self::Fault {
            reason: reason.into(),
        }
    }

    pub(crate) fn kernel(reason: impl Into<String>) -> Self {
        Self::Kernel {
            reason: reason.into(),
        }
    }
}
