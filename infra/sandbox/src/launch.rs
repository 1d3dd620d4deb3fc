//! The command line, environment and log of a process that the keeper starts.

use std::{ffi::OsString, path::PathBuf};

/// A process that the keeper can start.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) program: OsString,
    pub(crate) arguments: Vec<OsString>,
    /// The complete environment: nothing is inherited.
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) log: PathBuf,
}

impl Launch {
    pub(crate) fn new(program: impl Into<OsString>, log: PathBuf) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment: vec![
                ("PATH".into(), std::env::var_os("PATH").unwrap_or_default()),
                ("LANG".into(), "C.UTF-8".into()),
            ],
            log,
        }
    }

    pub(crate) fn arguments<T: Into<OsString>>(
        mut self,
        arguments: impl IntoIterator<Item = T>,
    ) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    pub(crate) fn environment<K: Into<OsString>, V: Into<OsString>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let variables = variables.into_iter().map(|(k, v)| (k.into(), v.into()));
        self.environment.extend(variables);
        self
    }
}
