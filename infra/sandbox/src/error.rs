use std::{fmt::Display, path::Path};

/// Why something could not be started, asked or stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request cannot be carried out as it is.
    #[error("{0}")]
    Usage(String),
    /// A program or a server did not do what it was asked.
    #[error("{0}")]
    Failed(String),
}

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The exit status for it: 2 for a wrong request, 3 for a server that fails.
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

/// For `map_err`: an action on a file failed.
pub(crate) fn file_error(
    action: &str,
    path: impl AsRef<Path>,
) -> impl FnOnce(std::io::Error) -> Error {
    let text = format!("cannot {action} {}", path.as_ref().display());
    move |error| Error::Failed(format!("{text}: {error}"))
}
