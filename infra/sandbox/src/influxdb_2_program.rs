//! The program of InfluxDB 2: where it is, and how Go makes it from its published module. Neither
//! its source nor the program is part of the repository.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{
    error::{Result, failed, file_error},
    files::make_private_dir,
    tools::tools,
};

const MODULE: &str = "github.com/influxdata/influxdb/v2";
const VERSION: &str = "2.7.12";

/// The library for Flux is in Rust, denies warnings, and so does not compile with later compilers
/// than its own. This is what its build calls in place of cargo.
const LENIENT_CARGO: &str =
    "#!/bin/sh\nexec cargo \"$@\" --no-default-features --features flux/cffi\n";

fn folder() -> PathBuf {
    tools().join(format!("influxdb-{VERSION}"))
}

/// The program: the one that the variable `PRIMEPOOL_INFLUXD_2` names, or the one that was made.
pub(crate) fn program() -> Result<PathBuf> {
    let named = env::var_os("PRIMEPOOL_INFLUXD_2").map(PathBuf::from);
    let path = named.unwrap_or_else(|| folder().join("influxd"));
    path.is_file().then_some(path).ok_or_else(|| {
        failed("there is no InfluxDB 2: make it with infra/local/setup.sh --influxdb2")
    })
}

/// Makes the program, unless it is there: some ten minutes, and some gigabytes meanwhile, all in
/// the folder of tools.
///
/// # Errors
/// Go is missing or too old, a module cannot be had, or the build fails.
pub(crate) fn make() -> Result<PathBuf> {
    let folder = folder();
    let program = folder.join("influxd");
    if program.is_file() {
        return Ok(program);
    }
    make_private_dir(&tools())?;
    let work = tempfile::Builder::new()
        .prefix("influxdb-")
        .tempdir_in(tools())
        .map_err(file_error("make a folder in", tools()))?;
    let build = Build(work.path());
    let source = build.download()?;
    build.go(
        &source,
        &[
            "build",
            "-o",
            "../tools/pkg-config",
            "github.com/influxdata/pkg-config",
        ],
    )?;
    build.lenient_cargo()?;
    build.go(
        &source,
        &[
            "build",
            "-ldflags=-s -w",
            "-o",
            "../made/influxd",
            "./cmd/influxd",
        ],
    )?;
    // Complete or not there: another one may have made it meanwhile.
    let made = fs::rename(work.path().join("made"), &folder);
    if made.is_err() && !program.is_file() {
        made.map_err(file_error("make", &folder))?;
    }
    Ok(program)
}

/// A build in a folder, which also has Go's caches.
struct Build<'a>(&'a Path);

impl Build<'_> {
    /// Go in some folder, with caches and helpers of the build.
    fn command(&self, dir: &Path, arguments: &[&str]) -> Command {
        let cache = |name: &str| self.0.join(name);
        let mut command = Command::new("go");
        command
            .args(arguments)
            .current_dir(dir)
            .stdin(Stdio::null())
            .env("GOFLAGS", "-mod=mod -modcacherw -buildvcs=false")
            .env("GOMODCACHE", cache("modules"))
            .env("GOCACHE", cache("objects"))
            .env("PKG_CONFIG", cache("tools").join("pkg-config"))
            .env("CARGO", cache("tools").join("cargo"))
            .env_remove("CARGO_TARGET_DIR");
        // Else the library's own folder would name one that is not installed.
        if let Some(toolchain) = toolchain() {
            command.env("RUSTUP_TOOLCHAIN", toolchain);
        }
        command
    }

    /// Downloads the module; where a copy is that may be written to, which makes it the main
    /// module, so that its replacements of others hold.
    fn download(&self) -> Result<PathBuf> {
        let module = format!("{MODULE}@v{VERSION}");
        let output = self
            .command(self.0, &["mod", "download", "-json", &module])
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| {
                failed(format!(
                    "InfluxDB 2 is made with Go (go.dev), and there is none: {error}"
                ))
            })?;
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let Some(dir) = answer["Dir"].as_str() else {
            return Err(failed(format!(
                "cannot download {module}: {}",
                answer["Error"]
            )));
        };
        let source = self.0.join("source");
        fs::rename(dir, &source).map_err(file_error("move", dir))?;
        Ok(source)
    }

    fn lenient_cargo(&self) -> Result<()> {
        let path = self.0.join("tools/cargo");
        let executable = fs::Permissions::from_mode(0o700);
        fs::write(&path, LENIENT_CARGO)
            .and_then(|()| fs::set_permissions(&path, executable))
            .map_err(file_error("write", &path))
    }

    fn go(&self, dir: &Path, arguments: &[&str]) -> Result<()> {
        let status = self.command(dir, arguments).status().map_err(failed)?;
        if status.success() {
            return Ok(());
        }
        Err(failed(format!(
            "go {} failed: see above",
            arguments.join(" ")
        )))
    }
}

/// The toolchain of rustup that is in use here, if there is a rustup.
fn toolchain() -> Option<String> {
    let output = Command::new("rustup")
        .args(["show", "active-toolchain"])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.split_whitespace().next().map(str::to_owned)
}
