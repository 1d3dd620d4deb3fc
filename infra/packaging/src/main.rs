//! `packaging PREFIX` writes the man pages and completion scripts of all programs below
//! PREFIX/share, where `man` and the shells look for them.

use std::{env, fs, path::Path};

use anyhow::{Context, Result};
use clap::{Command, CommandFactory};
use clap_complete::{Shell, generate_to};

/// Folder of the completion scripts of each shell, below `share`.
const COMPLETIONS: [(Shell, &str); 3] = [
    (Shell::Bash, "bash-completion/completions"),
    (Shell::Zsh, "zsh/site-functions"),
    (Shell::Fish, "fish/vendor_completions.d"),
];

fn main() -> Result<()> {
    let prefix = env::args_os().nth(1).context("usage: packaging PREFIX")?;
    write(&Path::new(&prefix).join("share"))
}

fn programs() -> [Command; 4] {
    [
        primepool_producer::cli::Cli::command(),
        primepool_consumer::cli::Cli::command(),
        primepool_monitor::cli::Cli::command(),
        primepool_experiment::cli::Cli::command(),
    ]
}

/// Shows the options that `-h` leaves out: clap_mangen would print them without a description.
fn with_all_options(command: Command) -> Command {
    command
        .mut_args(|argument| argument.hide_short_help(false))
        .mut_subcommands(with_all_options)
}

fn write(share: &Path) -> Result<()> {
    let folder = |name: &str| -> Result<_> {
        let folder = share.join(name);
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(folder)
    };
    for mut program in programs() {
        let name = program.get_name().to_owned();
        for (shell, place) in COMPLETIONS {
            generate_to(shell, &mut program, &name, folder(place)?)?;
        }
        clap_mangen::generate_to(with_all_options(program), folder("man/man1")?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_program_has_a_man_page_and_completions() {
        let share = tempfile::tempdir().unwrap();
        write(share.path()).unwrap();
        for file in [
            "man/man1/producer.1",
            "man/man1/producer-factor.1",
            "man/man1/primepool-dead-requeue.1",
            "man/man1/experiment-run.1",
            "bash-completion/completions/consumer.bash",
            "zsh/site-functions/_primepool",
            "fish/vendor_completions.d/producer.fish",
        ] {
            assert!(share.path().join(file).is_file(), "{file}");
        }
        let page = fs::read_to_string(share.path().join("man/man1/producer.1")).unwrap();
        assert!(page.contains("PRIMEPOOL_SEED"), "{page}");
        assert!(page.contains("a file of integers to start above"), "{page}");
    }
}
