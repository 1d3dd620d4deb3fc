//! The request to `make run`: its variables, and the arguments for the producer.

use std::{env, path::PathBuf};

use crate::error::{Result, usage};

/// The variables of `make run`.
#[derive(Debug)]
pub(crate) struct Variables {
    pub(crate) consumers: u32,
    pub(crate) concurrency: u32,
    pub(crate) resume: Option<String>,
    pub(crate) metrics: bool,
    pub(crate) dashboard: bool,
}

impl Variables {
    pub(crate) fn read() -> Result<Self> {
        let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let number = |name: &str, most: u32| match variable(name) {
            None => Ok(None),
            Some(value) => match value.parse() {
                Ok(number) if (1..=most).contains(&number) && !value.starts_with(['+', '0']) => {
                    Ok(Some(number))
                }
                _ => Err(usage(format!(
                    "{name} is '{value}': give a number from 1 to {most}"
                ))),
            },
        };
        let consumers = number("CONSUMERS", 999)?.unwrap_or(1);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let cores = u32::try_from(cores).unwrap_or(u32::MAX);
        let switch = |name: &str, otherwise: bool| match variable(name).as_deref() {
            None => Ok(otherwise),
            Some("on") => Ok(true),
            Some("off") => Ok(false),
            Some(other) => Err(usage(format!("{name} is '{other}': give on or off"))),
        };
        Ok(Self {
            consumers,
            concurrency: number("CONCURRENCY", 9999)?.unwrap_or((cores / consumers).max(1)),
            resume: variable("RESUME"),
            metrics: switch("METRICS", true)?,
            dashboard: switch("DASHBOARD", false)?,
        })
    }
}

/// The command for the producer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ProducerCommand {
    pub(crate) arguments: Vec<String>,
    pub(crate) runs_dir: PathBuf,
    pub(crate) resume: Option<String>,
}

impl ProducerCommand {
    /// Builds the command from the arguments, and from the run that the variable RESUME names.
    pub(crate) fn new(given: &[String], resume: Option<String>, runs_dir: PathBuf) -> Result<Self> {
        let mut command = Self {
            arguments: Vec::new(),
            runs_dir,
            resume,
        };
        let mut rest = given;
        // `resume RUN` as an argument means the same as RESUME=RUN.
        if command.resume.is_none()
            && let [verb, run, options @ ..] = given
            && verb == "resume"
        {
            command.resume = Some(run.clone());
            rest = options;
        }
        let mut before = "";
        for argument in rest {
            if argument == "--detach" {
                return Err(usage(
                    "--detach needs a broker that stays; the one of this run ends with it. Start one with \
                     sandbox broker start",
                ));
            }
            if argument.starts_with("--influx-") || argument.starts_with("--metrics-spool") {
                let flag = argument.split('=').next().unwrap_or(argument);
                return Err(usage(format!(
                    "{flag} would reach the producer only: set INFLUX_HOST, INFLUX_TOKEN and INFLUX_BUCKET \
                     instead, for the consumers too"
                )));
            }
            if let Some(folder) = argument.strip_prefix("--runs-dir=") {
                command.runs_dir = folder.into();
            } else if before == "--runs-dir" {
                command.runs_dir = argument.into();
            }
            before = argument;
        }
        if let Some(run) = &command.resume {
            command.arguments = vec!["resume".to_owned(), run.clone()];
            // The units must be published again: the broker of the earlier session is gone.
            if !rest.iter().any(|argument| argument == "--republish") {
                command.arguments.push("--republish".to_owned());
            }
        } else if rest.is_empty() {
            command.arguments = ["--count", "100", "--bits", "1024"]
                .map(str::to_owned)
                .into();
        }
        command.arguments.extend(rest.iter().cloned());
        Ok(command)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::Path;

    use super::*;

    fn command(arguments: &[&str], resume: Option<&str>) -> Result<ProducerCommand> {
        let arguments: Vec<String> = arguments
            .iter()
            .map(|argument| (*argument).to_owned())
            .collect();
        ProducerCommand::new(&arguments, resume.map(str::to_owned), "runs".into())
    }

    #[test]
    fn without_arguments_there_are_a_hundred_primes() {
        let command = command(&[], None).unwrap();
        assert_eq!(command.arguments, ["--count", "100", "--bits", "1024"]);
        assert_eq!(command.runs_dir, Path::new("runs"));
    }

    #[test]
    fn a_run_goes_on_by_variable_or_by_word() {
        let expected = ["resume", "r1", "--republish", "--json"];
        for command in [
            command(&["--json"], Some("r1")),
            command(&["resume", "r1", "--json"], None),
        ] {
            let command = command.unwrap();
            assert_eq!(command.arguments, expected);
            assert_eq!(command.resume.as_deref(), Some("r1"));
        }
        let command = command(&["resume", "r1", "--republish"], None).unwrap();
        assert_eq!(command.arguments, ["resume", "r1", "--republish"]);
    }

    #[test]
    fn the_folder_of_runs_is_where_the_producer_puts_it() {
        for arguments in [["--runs-dir", "x"].as_slice(), &["--runs-dir=x"]] {
            assert_eq!(command(arguments, None).unwrap().runs_dir, Path::new("x"));
        }
    }

    #[test]
    fn flags_that_would_go_astray_are_refused() {
        for flag in [
            "--detach",
            "--influx-host=http://h",
            "--influx-token-file",
            "--metrics-spool",
        ] {
            assert!(command(&[flag, "x"], None).is_err(), "{flag}");
        }
    }
}
