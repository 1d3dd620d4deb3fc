//! `make chaos`: runs with injected faults, and a verdict on the promises.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, ExitCode},
    time::Duration,
};

use clap::Parser;
use primepool_common::{
    cli::duration,
    output::{notice, print},
};
use primepool_tests::chaos::{Fault, Options, run, table};

/// Breaks a pool in every way that it promises to survive, and looks at what is left.
#[derive(Debug, Parser)]
#[command(name = "chaos", max_term_width = 110)]
struct Cli {
    /// What goes wrong: all, or some of consumer-kill, producer-kill, broker-kill, cluster, network-cut, network-delay,
    /// consumer-freeze, memory-alarm, disk-full, influx-gone, clock-jump
    #[arg(
        long,
        value_name = "FAULT,…",
        value_delimiter = ',',
        default_value = "all"
    )]
    faults: Vec<String>,

    /// All of them in one run, in place of each in a run of its own
    #[arg(long)]
    together: bool,

    /// Everything follows from it: what happens when, and to whom [default: a random one, which is printed]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Work units of a run
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(100..))]
    units: u64,

    /// Consumer processes, of one worker each
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u8).range(1..=64))]
    consumers: u8,

    /// Bits of the primes: how long a unit takes
    #[arg(long, value_name = "BITS", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(64..=8192))]
    bits: u32,

    /// Times that each fault strikes during a run
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    hits: u64,

    /// Goes on with further runs on the same broker and consumers for so long; each fault, or all with --together
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
    soak: Duration,

    /// Also writes what came of it to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Folder for logs and results of runs that broke a promise
    #[arg(long, value_name = "DIR", default_value = "runs/chaos")]
    evidence: PathBuf,
}

/// Environment variable that is set inside the private mount namespace.
const NAMESPACE: &str = "PRIMEPOOL_CHAOS_NAMESPACE";

fn main() -> ExitCode {
    match chaos(&Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            notice(&format!("chaos: {error}"));
            ExitCode::from(2)
        }
    }
}

fn chaos(cli: &Cli) -> Result<ExitCode, String> {
    let faults = if cli.faults.iter().any(|name| name == "all") {
        Fault::all()
    } else {
        let named: Result<Vec<Fault>, _> = cli.faults.iter().map(|name| name.parse()).collect();
        named?
    };
    if faults.contains(&Fault::DiskFull) && std::env::var_os(NAMESPACE).is_none() {
        // The mount is visible only in this namespace, and vanishes with its last process.
        let this = std::env::current_exe().map_err(|error| error.to_string())?;
        let error = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "--"])
            .arg(this)
            .args(std::env::args_os().skip(1))
            .env(NAMESPACE, "1")
            .exec();
        return Err(format!("disk-full needs unshare (util-linux): {error}"));
    }
    let seed = match cli.seed {
        Some(seed) => seed,
        None => getrandom::u64().map_err(|error| error.to_string())? >> 32,
    };
    fs::create_dir_all(&cli.evidence).map_err(|error| {
        format!(
            "cannot make {}: {error}; name another folder with --evidence",
            cli.evidence.display()
        )
    })?;
    let options = Options {
        seed,
        units: cli.units,
        consumers: cli.consumers.into(),
        bits: cli.bits,
        hits: cli.hits,
        soak: cli.soak,
        evidence: fs::canonicalize(&cli.evidence).map_err(|error| error.to_string())?,
    };
    notice(&format!("seed {seed}"));
    let mut reports = Vec::new();
    if cli.together {
        reports.push(run("together", &faults, &options));
    } else {
        for fault in faults {
            notice(&format!("--- {fault}"));
            reports.push(run(fault.name(), &[fault], &options));
        }
    }
    let printed = print(&format!("seed {seed}\n{}", table(&reports)));
    if let Some(path) = &cli.json {
        let all: Vec<_> = reports.iter().map(|report| report.json()).collect();
        let text = serde_json::json!({ "seed": seed, "units": cli.units, "reports": all });
        fs::write(path, format!("{text:#}\n"))
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    printed.map_err(|error| error.to_string())?;
    let kept = reports.iter().all(|report| report.broken.is_empty());
    Ok(if kept {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}
