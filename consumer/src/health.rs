//! The health file, which the consumer writes every second and whenever its connection changes, and
//! the check that reads it.

use std::{
    fs, io,
    path::Path,
    time::{Duration, SystemTime},
};

use primepool_common::{exit::Exit, output::print, text::json_error};
use serde::{Deserialize, Serialize};

use crate::cli::HealthArgs;

/// Age of the file after which the consumer counts as hung or gone.
const STALE_AFTER: Duration = Duration::from_secs(10);

/// Contents of a health file.
#[derive(Debug, Serialize, Deserialize)]
pub struct Health {
    /// Process ID of the consumer.
    pub pid: u32,
    /// Whether it is subscribed to its queues and can publish.
    pub connected: bool,
    /// Time of writing.
    pub at: SystemTime,
}

impl Health {
    /// Parses a health file.
    ///
    /// # Errors
    /// The text is not a health file.
    pub fn read(body: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(body).map_err(|error| json_error(&error))
    }

    /// Replaces the file atomically.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let new = path.with_extension(format!("{}.new", self.pid));
        fs::write(&new, serde_json::to_vec(self)?)?;
        fs::rename(&new, path)
    }
}

/// Runs `consumer health` and prints the result to standard output.
///
/// # Errors
/// The reason why the consumer is not healthy.
pub fn check(args: &HealthArgs) -> Result<Exit, String> {
    let path = args.health_file.display();
    let body = fs::read(&args.health_file)
        .map_err(|error| format!("cannot read {path}: {error}; is the consumer running?"))?;
    let health = Health::read(&body)
        .map_err(|error| format!("{path} is not a consumer's health file: {error}"))?;
    let age = health.at.elapsed().unwrap_or_default();
    if age > STALE_AFTER {
        return Err(format!(
            "consumer {} has not been heard of for {} s",
            health.pid,
            age.as_secs()
        ));
    }
    if !health.connected {
        return Err(format!(
            "consumer {} has no connection to its broker",
            health.pid
        ));
    }
    // The exit status is the result; a probe must not fail because its output cannot be written.
    let _ = print(&format!("consumer {} is connected", health.pid));
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn answer(health: &Health) -> Result<Exit, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("health");
        health.write(&file).unwrap();
        check(&HealthArgs { health_file: file })
    }

    #[test]
    fn well_only_while_fresh_and_connected() {
        let now = SystemTime::now();
        let health = |connected, at| Health {
            pid: 7,
            connected,
            at,
        };
        assert_eq!(answer(&health(true, now)), Ok(Exit::Ok));
        assert!(answer(&health(false, now)).is_err());
        assert!(answer(&health(true, now - 2 * STALE_AFTER)).is_err());
        let missing = HealthArgs {
            health_file: "/nonexistent/health".into(),
        };
        assert!(check(&missing).is_err());
    }
}
