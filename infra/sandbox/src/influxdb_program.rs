//! Programs of InfluxDB that no distribution has: where they are, and how Go makes them from their
//! published modules. Neither their sources nor the programs are part of the repository.

use std::{
    fs,
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

/// A release of InfluxDB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Release {
    module: &'static str,
    version: &'static str,
}

/// InfluxDB 2.
pub(crate) const TWO: Release = Release {
    module: "github.com/influxdata/influxdb/v2",
    version: "2.7.12",
};

/// A newer InfluxDB 1.x than distributions have.
pub(crate) const ONE: Release = Release {
    module: "github.com/influxdata/influxdb",
    version: "1.13.2",
};

/// The library for Flux is in Rust, denies warnings, and so does not compile with later compilers
/// than its own. This is what its build calls in place of cargo.
const LENIENT_CARGO: &str =
    "#!/bin/sh\nexec cargo \"$@\" --no-default-features --features flux/cffi\n";

impl Release {
    fn folder(self) -> PathBuf {
        tools().join(format!("influxdb-{}", self.version))
    }

    /// The program, if it was made.
    pub(crate) fn program(self) -> Option<PathBuf> {
        let program = self.folder().join("influxd");
        program.is_file().then_some(program)
    }

    /// Makes the program, unless it is there: some ten minutes, and some gigabytes meanwhile, all in
    /// the folder of tools.
    ///
    /// # Errors
    /// Go is missing or too old, a module cannot be had, or the build fails.
    pub(crate) fn make(self) -> Result<PathBuf> {
        if let Some(program) = self.program() {
            return Ok(program);
        }
        make_private_dir(&tools())?;
        let work = tempfile::Builder::new()
            .prefix("influxdb-")
            .tempdir_in(tools())
            .map_err(file_error("make a folder in", tools()))?;
        let build = Build(work.path());
        let source = build.download(self)?;
        let helper = "github.com/influxdata/pkg-config";
        build.go(&source, &["build", "-o", "../tools/pkg-config", helper])?;
        build.lenient_cargo()?;
        // The version is what it says of itself.
        let flags = format!("-ldflags=-s -w -X main.version=v{}", self.version);
        build.go(
            &source,
            &["build", &flags, "-o", "../made/influxd", "./cmd/influxd"],
        )?;
        // Complete or not there: another one may have made it meanwhile.
        let made = fs::rename(work.path().join("made"), self.folder());
        match self.program() {
            Some(program) => Ok(program),
            None => {
                made.map_err(file_error("make", self.folder()))?;
                Err(failed("the program that was made is gone"))
            }
        }
    }
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
    fn download(&self, Release { module, version }: Release) -> Result<PathBuf> {
        let module = format!("{module}@v{version}");
        let output = self
            .command(self.0, &["mod", "download", "-json", &module])
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| {
                failed(format!(
                    "InfluxDB is made with Go (go.dev), and there is none: {error}"
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
