//! Command-line values and options that several programs share, and the parsing of a command line.

use std::{
    env,
    ffi::OsString,
    io::{Write, stderr, stdout},
    ops::RangeInclusive,
    path::PathBuf,
    process,
    time::Duration,
};

use clap::{
    Args, Command, CommandFactory, Parser,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
    error::ErrorKind,
};
use primepool_engine::Kernel;

use crate::{
    exit::Exit,
    jobs::JobKind,
    output::{OutputError, print_lines, unless_closed},
    text::{presentable, printable, shorten},
};

/// Reads the command line and the environment. Ends the program if help is requested or if they are
/// invalid.
#[must_use]
pub fn parse<C: Parser>() -> C {
    parsed().unwrap_or_else(|error| {
        let text = error.to_string();
        let shown = match error.kind() {
            ErrorKind::DisplayHelp => presentable(&text),
            _ => printable(&text),
        };
        let written = if shown == text {
            // clap prints the text with its colours.
            error.print()
        } else if error.use_stderr() {
            stderr().write_all(shown.as_bytes())
        } else {
            stdout().write_all(shown.as_bytes())
        };
        process::exit(match error.exit_code() {
            0 if unless_closed(written).is_err() => Exit::Incomplete.code().into(),
            code => code,
        })
    })
}

fn parsed<C: Parser>() -> Result<C, clap::Error> {
    let mut command = C::command();
    if env::args_os().any(|argument| argument == "-h") {
        command = brief(command);
    }
    let mut matches = command.try_get_matches_from_mut(env::args_os())?;
    C::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

/// For `-h`: one line for each option. Variables and possible values are in `--help`.
fn brief(command: Command) -> Command {
    command
        .mut_args(|argument| argument.hide_env(true).hide_possible_values(true))
        .mut_subcommands(brief)
}

/// Parses the given arguments, the first of which is the program's name. Returns `None` if they ask
/// for help or the version.
///
/// # Errors
/// The arguments are invalid; the error is the text that [`parse`] would print.
pub fn parse_from<C: Parser>(arguments: Vec<OsString>) -> Result<Option<C>, String> {
    match C::try_parse_from(arguments) {
        Ok(cli) => Ok(Some(cli)),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(None),
            _ => Err(printable(&error.to_string())),
        },
    }
}

/// `completions SHELL`.
#[derive(Debug, Clone, Copy, Args)]
pub struct CompletionsArgs {
    /// Shell that the script is for
    shell: clap_complete::Shell,
}

impl CompletionsArgs {
    /// Prints the completion script of a program.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn print<C: CommandFactory, E: From<OutputError>>(self) -> Result<Exit, (Exit, E)> {
        let mut command = C::command();
        let name = command.get_name().to_owned();
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, name, &mut script);
        print_lines(&script).map_err(|error| (Exit::Incomplete, error.into()))?;
        Ok(Exit::Ok)
    }
}

/// `--kernel`, which all programs that compute have.
#[derive(Debug, Clone, Copy, Args)]
pub struct KernelArgs {
    /// Arithmetic kernel: ifma512 (AVX-512 IFMA), ifma256 (AVX-IFMA), fma512 (AVX-512), fma256
    /// (AVX2 and FMA) or gmp; auto is the fastest that the processor supports
    #[arg(
        long,
        hide_short_help = true,
        env = "PRIMEPOOL_KERNEL",
        value_name = "KERNEL",
        default_value = "auto",
        value_parser = kernel
    )]
    pub kernel: Kernel,
}

/// `--runs-dir`, which all programs that read or write folders of runs have.
#[derive(Debug, Clone, Args)]
pub struct RunsDirArgs {
    /// Folder that contains the folders of runs
    #[arg(
        long,
        env = "PRIMEPOOL_RUNS_DIR",
        value_name = "DIR",
        default_value = "runs"
    )]
    pub runs_dir: PathBuf,
}

/// Reads the name of a kernel that this processor supports; `auto` or an empty text means the
/// fastest.
///
/// # Errors
/// There is no such kernel, or this processor does not support it.
pub fn kernel(name: &str) -> Result<Kernel, String> {
    if matches!(name, "" | "auto") {
        return Ok(Kernel::fastest());
    }
    let kernel = name.parse::<Kernel>().and_then(|kernel| {
        kernel.require()?;
        Ok(kernel)
    });
    kernel.map_err(|error| error.to_string())
}

/// Reads a kind of job. Help texts list all kinds except `noop` and those in `hidden`.
pub fn job_kind(hidden: &[JobKind]) -> impl TypedValueParser<Value = JobKind> + use<> {
    let values = JobKind::ALL.map(|kind| {
        let is_hidden = kind == JobKind::Noop || hidden.contains(&kind);
        PossibleValue::new(kind.as_str()).hide(is_hidden)
    });
    PossibleValuesParser::new(values).try_map(|name| name.parse())
}

/// Longest time that a command line accepts. It is far below the range of a clock, so that it can
/// be added to any time.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Reads a duration such as `30s`, `5m` or `1h30m`; a plain number is seconds. The longest is ten
/// years.
///
/// # Errors
/// The text is not a duration, or the duration is too long; the message shows how to write one.
pub fn duration(text: &str) -> Result<Duration, String> {
    let time = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => humantime::parse_duration(text).map_err(|_| {
            format!(
                "{:?} is not a duration: write 30s, 5m or 1h30m",
                shorten(text, 80)
            )
        })?,
    };
    if time > LONGEST {
        return Err("give a time of at most 3650 days".to_owned());
    }
    Ok(time)
}

/// Reads a duration within bounds.
///
/// # Errors
/// The error of [`duration`], or `hint` if the duration is out of bounds.
pub fn duration_within(
    text: &str,
    allowed: RangeInclusive<Duration>,
    hint: &str,
) -> Result<Duration, String> {
    let time = duration(text)?;
    let fits = allowed.contains(&time).then_some(time);
    fits.ok_or_else(|| hint.to_owned())
}

/// Reads a number of bytes such as `500kB`, `64MiB` or `2G`. A plain number is bytes; a single
/// letter means the binary unit.
///
/// # Errors
/// The text is not a size; the message shows how to write one.
pub fn size(text: &str) -> Result<u64, String> {
    let wrong = || {
        format!(
            "{:?} is not a size: write 500kB, 64MiB or 2GiB",
            shorten(text, 80)
        )
    };
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "mb" => 1000 * 1000,
        "gb" => 1000 * 1000 * 1000,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(unit).ok_or_else(wrong)
}

/// Formats a duration for people: `0.42 s`, `1m 12s`.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    if duration < Duration::from_secs(60) {
        format!("{:.2} s", duration.as_secs_f64())
    } else {
        humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("30"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for wrong in ["soon", "", "18446744073709551615", "1000years"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert_eq!(show_duration(Duration::from_millis(420)), "0.42 s");
        assert_eq!(show_duration(Duration::from_secs(72)), "1m 12s");
    }

    #[test]
    fn kernels() {
        assert_eq!(kernel("auto"), Ok(Kernel::fastest()));
        assert_eq!(kernel(""), Ok(Kernel::fastest()));
        assert_eq!(kernel("gmp"), Ok(Kernel::Gmp));
        for known in Kernel::ALL {
            assert_eq!(kernel(known.name()).is_ok(), known.is_available());
        }
        for wrong in ["neon", "avx2", "GMP"] {
            let refused = kernel(wrong);
            assert!(
                refused.is_err_and(|error| error.contains("`gmp`")),
                "{wrong}"
            );
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(size("123"), Ok(123));
        assert_eq!(size("500kB"), Ok(500_000));
        assert_eq!(size("64 MiB"), Ok(64 << 20));
        assert_eq!(size("2G"), Ok(2 << 30));
        for wrong in ["", "MiB", "1.5G", "3 apples", "99999999999G"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
