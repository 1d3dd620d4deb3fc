use std::{fmt::Display, path::Path};

/// Why a server could not be started, queried or stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request is wrong.
    #[error("{0}")]
    Usage(String),
    /// A program or a server failed.
    #[error("{0}")]
    Failed(String),
}

/// Result with the error type of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The exit status for the error: 2 for a wrong request, 3 for a failed program or server.
    #[must_use]
    pub fn status(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Failed(_) => 3,
        }
    }
}

pub(crate) fn usage(text: impl Display) -> Error {
    Error::Usage(text.to_string())
}

pub(crate) fn failed(text: impl Display) -> Error {
    Error::Failed(text.to_string())
}

/// For `map_err`: describes the failed action on a file.
pub(crate) fn file_error(
    action: &str,
    path: impl AsRef<Path>,
) -> impl FnOnce(std::io::Error) -> Error {
    let text = format!("cannot {action} {}", path.as_ref().display());
    move |error| Error::Failed(format!("{text}: {error}"))
}
