use serde::{Deserialize, Serialize};

use super::{DecodeError, MAX_CONTROL_BYTES, RunId, VERSION, decode::text};

/// A message to all consumers and producers of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// Format of this message, see [`VERSION`].
    pub version: u32,
    /// The instruction, with the run that it is about.
    #[serde(flatten)]
    pub instruction: Instruction,
}

/// The instruction of a control message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Instruction {
    /// The run is cancelled.
    Cancel(RunId),
    /// The units of this batch of the run are cancelled, see [`super::UnitId`]; the run continues.
    CancelGroup(RunId, u32),
}

impl Control {
    /// The message that cancels a run.
    #[must_use]
    pub fn cancel(run: RunId) -> Self {
        Self {
            version: VERSION,
            instruction: Instruction::Cancel(run),
        }
    }

    /// The message that cancels a batch of units.
    #[must_use]
    pub fn cancel_group(run: RunId, group: u32) -> Self {
        Self {
            version: VERSION,
            instruction: Instruction::CancelGroup(run, group),
        }
    }

    /// The run that the message is about.
    #[must_use]
    pub fn run(&self) -> &RunId {
        match &self.instruction {
            Instruction::Cancel(run) | Instruction::CancelGroup(run, _) => run,
        }
    }

    /// Whether the message cancels this run.
    #[must_use]
    pub fn cancels(&self, run: &RunId) -> bool {
        matches!(&self.instruction, Instruction::Cancel(cancelled) if cancelled == run)
    }

    /// Reads a control message.
    ///
    /// # Errors
    /// The body is not a valid control message of this version.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let body = text(body, MAX_CONTROL_BYTES)?;
        let control: Self =
            serde_json::from_str(body).map_err(|error| DecodeError::from(&error))?;
        if control.version == VERSION {
            Ok(control)
        } else {
            Err(DecodeError::UnknownVersion(control.version))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_format_is_frozen() {
        let control = Control::cancel("r1".parse().unwrap());
        let body = serde_json::to_string(&control).unwrap();
        assert_eq!(body, r#"{"version":1,"cancel":"r1"}"#);
        assert_eq!(Control::decode(body.as_bytes()), Ok(control));
        let control = Control::cancel_group("r1".parse().unwrap(), 3);
        let body = serde_json::to_string(&control).unwrap();
        assert_eq!(body, r#"{"version":1,"cancel-group":["r1",3]}"#);
        assert_eq!(Control::decode(body.as_bytes()), Ok(control));
    }

    #[test]
    fn others_are_refused() {
        for body in [
            &br#"{"version":2,"cancel":"r1"}"#[..],
            br#"{"version":1,"cancel":"../r1"}"#,
            br#"{"version":1}"#,
            b"",
            &[b' '; MAX_CONTROL_BYTES + 1],
        ] {
            assert!(Control::decode(body).is_err());
        }
    }
}
