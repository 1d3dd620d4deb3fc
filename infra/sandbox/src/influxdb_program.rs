//! InfluxDB programs that no distribution packages: their location, and how to build them from
//! their published Go modules. Neither the sources nor the programs are part of the repository.

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

pub(crate) const TWO: Release = Release {
    module: "github.com/influxdata/influxdb/v2",
    version: "2.7.12",
};

/// An InfluxDB 1.x newer than those of distributions.
pub(crate) const ONE: Release = Release {
    module: "github.com/influxdata/influxdb",
    version: "1.13.2",
};

/// Wrapper that InfluxDB's build calls instead of cargo. The Rust library for Flux denies warnings,
/// and therefore does not compile with newer compilers; these flags turn that off.
const LENIENT_CARGO: &str =
    "#!/bin/sh\nexec cargo \"$@\" --no-default-features --features flux/cffi\n";

impl Release {
    fn folder(self) -> PathBuf {
        tools().join(format!("influxdb-{}", self.version))
    }

    /// The path of the program, if it was built.
    pub(crate) fn program(self) -> Option<PathBuf> {
        let program = self.folder().join("influxd");
        program.is_file().then_some(program)
    }

    /// Builds the program unless it exists. This takes about ten minutes, and temporarily some
    /// gigabytes in the folder of tools.
    ///
    /// # Errors
    /// Go is missing or too old, a module cannot be downloaded, or the build fails.
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
        // The version that the program reports.
        let flags = format!("-ldflags=-s -w -X main.version=v{}", self.version);
        build.go(
            &source,
            &["build", &flags, "-o", "../made/influxd", "./cmd/influxd"],
        )?;
        // The rename is atomic; another process may have finished the same build first.
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

/// A build in a temporary folder, which also holds Go's caches.
struct Build<'a>(&'a Path);

impl Build<'_> {
    /// A `go` command in `dir`, with the caches and helpers of the build.
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
        // Otherwise the toolchain file of the Flux library would select a toolchain that may be
        // missing.
        if let Some(toolchain) = toolchain() {
            command.env("RUSTUP_TOOLCHAIN", toolchain);
        }
        command
    }

    /// Downloads the module and moves it to a writable folder. There it is the main module, so that
    /// its `replace` directives apply.
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

/// The active toolchain of rustup, if rustup is installed.
fn toolchain() -> Option<String> {
    let output = Command::new("rustup")
        .args(["show", "active-toolchain"])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.split_whitespace().next().map(str::to_owned)
}
