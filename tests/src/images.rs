//! Images that infra/Dockerfile and docker-compose.yml name, in a private Docker engine. They are
//! pulled if a registry can be reached. Otherwise stand-ins with the same names are made from the
//! distribution's packages; these carry the label `primepool.stand-in`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use primepool_sandbox::InfluxDb2;

use crate::{DockerEngine, workspace};

const LABEL: &str = "primepool.stand-in";

/// Pulls or makes the images, the compiler's only if requested; returns a line for each image that
/// is missing or a stand-in.
pub(crate) fn ensure(engine: &DockerEngine, with_compiler: bool) -> String {
    let images = Images {
        engine,
        // Not in /tmp, which may be a file system in memory.
        work: tempfile::tempdir_in(engine.dir()).unwrap().keep(),
    };
    let mut lines = Vec::new();
    for name in names(with_compiler) {
        if !images.ensure(&name) {
            assert!(
                name.starts_with("grafana/"),
                "{name} can neither be pulled nor made"
            );
            lines.push(format!(
                "{name}: missing: cannot be pulled, and no package has it"
            ));
            continue;
        }
        let format = format!("{{{{index .Config.Labels \"{LABEL}\"}}}}");
        let label = engine.docker(&["image", "inspect", "--format", &format, &name]);
        if !label.is_empty() {
            lines.push(format!("{name}: stand-in: {label}"));
        }
    }
    let _ = fs::remove_dir_all(&images.work);
    lines.join("\n")
}

/// The image names in the Dockerfile and in the compose file.
fn names(with_compiler: bool) -> Vec<String> {
    let read = |file: &str| fs::read_to_string(workspace().join(file)).unwrap();
    let mut names = Vec::new();
    for line in read("infra/Dockerfile").lines() {
        if let Some((kind, name)) = line
            .strip_prefix("ARG ")
            .and_then(|l| l.split_once("_IMAGE="))
            && (with_compiler || kind != "RUST")
        {
            names.push(name.to_owned());
        }
    }
    for line in read("docker-compose.yml").lines() {
        if let Some(name) = line
            .trim()
            .strip_prefix("image: ")
            .filter(|name| !name.contains('$'))
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    names.dedup();
    names
}

struct Images<'a> {
    engine: &'a DockerEngine,
    work: PathBuf,
}

impl Images<'_> {
    fn ensure(&self, name: &str) -> bool {
        let docker = |args: &[&str]| self.engine.command(Path::new("docker")).args(args).output();
        let succeeds = |args: &[&str]| docker(args).unwrap().status.success();
        if succeeds(&["image", "inspect", name]) || succeeds(&["pull", "--quiet", name]) {
            return true;
        }
        match name {
            _ if name.starts_with("debian:") => self.debian(name),
            _ if name.starts_with("rust:") => self.rust(name),
            _ if name.starts_with("rabbitmq:4") => {
                self.of_packages(name, "RabbitMQ of Debian 13", "rabbitmq", "trixie");
            }
            _ if name.starts_with("influxdb:2") => match InfluxDb2::program() {
                Some(program) => self.influxdb_2(name, &program),
                None => {
                    let stand_in = "InfluxDB 1.6 of Debian 12, without authentication";
                    self.of_packages(name, stand_in, "influxdb", "bookworm");
                }
            },
            _ => return false,
        }
        true
    }

    /// A minimal Debian, with this machine's proxy settings and CA certificates.
    fn debian(&self, name: &str) {
        let suite = name.trim_start_matches("debian:").trim_end_matches("-slim");
        let root = self.work.join("root");
        // If this debootstrap does not know the suite yet: the scripts of all recent suites are the
        // same.
        let scripts = Path::new("/usr/share/debootstrap/scripts");
        let script = Some(scripts.join(suite)).filter(|script| script.exists());
        run(Command::new("debootstrap")
            .args([
                "--variant=minbase",
                "--keyring=/usr/share/keyrings/debian-archive-keyring.gpg",
            ])
            .args([suite.as_ref(), root.as_os_str(), mirror().as_ref()])
            .arg(script.unwrap_or(scripts.join("sid"))));
        let policy = root.join("usr/sbin/policy-rc.d");
        // As in Debian's own images, packages start no services in a container.
        fs::write(&policy, "#!/bin/sh\nexit 101\n").unwrap();
        run(Command::new("chmod").arg("755").arg(&policy));
        let copy = "cd / && cp --parents -t \"$0\" $(ls -d etc/apt/apt.conf.d/*proxy* etc/apt/apt.conf \
                    usr/local/share/ca-certificates/*.crt etc/ssl/certs/ca-certificates.crt 2>/dev/null) && \
                    rm -rf \"$0\"/var/cache/apt/archives/*.deb \"$0\"/var/lib/apt/lists/*";
        run(Command::new("sh").args(["-c", copy]).arg(&root));
        let archive = self.work.join("root.tar");
        run(Command::new("tar")
            .arg("-C")
            .arg(&root)
            .args(["-c", "-f"])
            .arg(&archive)
            .arg("."));
        let label = format!("LABEL {LABEL}=\"debootstrap of Debian {suite}\"");
        let archive = archive.to_str().unwrap();
        let change = ["--change", "CMD [\"bash\"]", "--change", &label];
        self.engine
            .docker(&[&["import"], &change[..], &[archive, name]].concat());
        fs::remove_dir_all(root).unwrap();
    }

    /// An image with this machine's Rust compiler, and with its build of GMP if there is one.
    fn rust(&self, name: &str) {
        self.ensure("debian:bookworm-slim");
        let context = self.work.join("rust");
        let cache = context.join("cache");
        fs::create_dir_all(&cache).unwrap();
        let copy = "cp -rL \"$(rustc --print sysroot)/bin\" \"$0/toolchain\" && cp -r \"$(rustc --print sysroot)/lib\" \"$0/lib\"; \
                    gmp=${XDG_CACHE_HOME:-$HOME/.cache}/gmp-mpfr-sys; [ ! -d \"$gmp\" ] || cp -r \"$gmp\" \"$0/cache/\"";
        run(Command::new("sh")
            .args(["-c", copy])
            .arg(&context)
            .current_dir(workspace()));
        let dockerfile = "FROM debian:bookworm-slim\n\
             RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*\n\
             COPY toolchain /usr/local/bin/\nCOPY lib /usr/local/lib/\nCOPY cache /root/.cache\n\
             ENV CARGO_HOME=/usr/local/cargo\n";
        fs::write(context.join("Dockerfile"), dockerfile).unwrap();
        self.build(name, "this machine's Rust", &context);
    }

    fn of_packages(&self, name: &str, stand_in: &str, folder: &str, suite: &str) {
        self.ensure(&format!("debian:{suite}-slim"));
        self.build(
            name,
            stand_in,
            &workspace().join("infra/testing/stand-ins").join(folder),
        );
    }

    /// An image with the InfluxDB 2 that was built on this machine.
    fn influxdb_2(&self, name: &str, program: &Path) {
        self.ensure("debian:trixie-slim");
        let context = self.work.join("influxdb-2");
        let files = workspace().join("infra/testing/stand-ins/influxdb-2");
        run(Command::new("cp").arg("-r").arg(files).arg(&context));
        fs::copy(program, context.join("influxd")).unwrap();
        self.build(name, "InfluxDB 2 as Go made it here", &context);
    }

    fn build(&self, name: &str, stand_in: &str, context: &Path) {
        let label = format!("{LABEL}={stand_in}");
        let context = context.to_str().unwrap();
        self.engine.docker(&[
            "build",
            "--progress",
            "plain",
            "--label",
            &label,
            "-t",
            name,
            context,
        ]);
    }
}

/// URL of this machine's Debian mirror.
fn mirror() -> String {
    let targets = Command::new("apt-get")
        .args(["indextargets", "--format", "$(REPO_URI)"])
        .args(["Created-By: Packages", "Origin: Debian", "Component: main"])
        .output();
    let targets = targets.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let targets = targets.unwrap_or_default();
    let mut mirrors = targets.lines().filter(|line| !line.contains("-security"));
    mirrors
        .next()
        .unwrap_or("http://deb.debian.org/debian/")
        .to_owned()
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
