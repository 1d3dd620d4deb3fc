//! The protocol between the keeper of a folder and its clients: requests, states of servers, and
//! the path of the control socket.

use std::{
    fs,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

use crate::error::{Result, file_error};

/// A client's request to the keeper: one line of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// Start a server (numbered from 1) unless it runs.
    Start(usize),
    /// Reply with the [`State`] of a server.
    State(usize),
    /// Kill a server with SIGKILL.
    Kill(usize),
    /// End all servers and the keeper.
    Stop,
    /// Keep running without an owner.
    Release,
}

impl Request {
    pub(crate) fn line(self) -> String {
        match self {
            Self::Start(number) => format!("start {number}"),
            Self::State(number) => format!("state {number}"),
            Self::Kill(number) => format!("kill {number}"),
            Self::Stop => "stop".to_owned(),
            Self::Release => "release".to_owned(),
        }
    }

    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let verb = words.next()?;
        let number = words.next().and_then(|word| word.parse().ok());
        match (verb, number) {
            ("start", Some(number)) => Some(Self::Start(number)),
            ("state", Some(number)) => Some(Self::State(number)),
            ("kill", Some(number)) => Some(Self::Kill(number)),
            ("stop", None) => Some(Self::Stop),
            ("release", None) => Some(Self::Release),
            _ => None,
        }
    }
}

/// The state of a server, as the keeper reports it in one line of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// The server was not started, or was killed on request.
    Down,
    /// The server runs but does not answer yet.
    Starting,
    /// The server answers.
    Ready,
    /// The server ended by itself, with this exit status or signal.
    Ended(String),
}

impl State {
    pub(crate) fn line(&self) -> String {
        match self {
            Self::Down => "down".to_owned(),
            Self::Starting => "starting".to_owned(),
            Self::Ready => "ready".to_owned(),
            Self::Ended(how) => format!("ended {how}"),
        }
    }

    pub(crate) fn parse(line: &str) -> Option<Self> {
        match line {
            "down" => Some(Self::Down),
            "starting" => Some(Self::Starting),
            "ready" => Some(Self::Ready),
            _ => line
                .strip_prefix("ended ")
                .map(|how| Self::Ended(how.to_owned())),
        }
    }
}

/// The path of a folder's control socket, short enough for a socket's address even if the folder's
/// own path is not. The path is valid while the returned file is open.
pub(crate) fn control_path(dir: &Path) -> Result<(fs::File, PathBuf)> {
    let folder = fs::File::open(dir).map_err(file_error("open", dir))?;
    let path = format!("/proc/self/fd/{}/control", folder.as_raw_fd());
    Ok((folder, path.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_states_are_read_as_they_are_written() {
        let requests = [
            Request::Start(1),
            Request::State(3),
            Request::Kill(2),
            Request::Stop,
            Request::Release,
        ];
        for request in requests {
            assert_eq!(Request::parse(&request.line()), Some(request));
        }
        for line in ["", "start", "kill x", "stop 1x y", "destroy 1", "start -1"] {
            assert!(
                matches!(Request::parse(line), None | Some(Request::Stop)),
                "{line}"
            );
        }
        let states = [
            State::Down,
            State::Starting,
            State::Ready,
            State::Ended("exit status: 1".to_owned()),
        ];
        for state in states {
            assert_eq!(State::parse(&state.line()), Some(state));
        }
        assert_eq!(State::parse("asleep"), None);
    }
}
