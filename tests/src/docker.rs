use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use primepool_sandbox::Lifetime;
use tempfile::TempDir;

use crate::{Binary, images};

/// A private Docker engine with a network of its own; stopped and deleted when this is dropped.
#[derive(Debug)]
pub struct DockerEngine {
    server: primepool_sandbox::DockerEngine,
    /// `None` if the engine stays, see [`DockerEngine::with_images`].
    own: Option<TempDir>,
}

impl DockerEngine {
    /// Address at which processes and containers in the engine's network reach this machine's
    /// 127.0.0.1.
    pub const HOST: &str = primepool_sandbox::DockerEngine::HOST;

    /// Starts an engine; `None` without root, which an engine needs.
    pub fn private() -> Option<Self> {
        let user = Command::new("id").arg("-u").output().unwrap();
        if user.stdout.trim_ascii() != b"0" {
            eprintln!("not tested: a private Docker engine needs root");
            return None;
        }
        let own = tempfile::tempdir().unwrap();
        let lifetime = Lifetime::with_this_process(own.path());
        let folder = own.path().join("engine");
        Some(Self {
            server: primepool_sandbox::DockerEngine::start(&folder, &lifetime).unwrap(),
            own: Some(own),
        })
    }

    /// Starts an engine with the images that the Dockerfile and docker-compose.yml name, the
    /// compiler's only if requested. Also returns a line for each image that is missing or was made
    /// from packages.
    ///
    /// With `PRIMEPOOL_TEST_ENGINE_DIR` the engine is in that folder and keeps running, with its
    /// images and caches; this is for work on the tests.
    pub fn with_images(with_compiler: bool) -> Option<(Self, String)> {
        let engine = match std::env::var_os("PRIMEPOOL_TEST_ENGINE_DIR") {
            Some(dir) => {
                let dir = PathBuf::from(dir);
                let server = primepool_sandbox::DockerEngine::start(&dir, &Lifetime::Detached);
                Self {
                    server: server.unwrap(),
                    own: None,
                }
            }
            None => Self::private()?,
        };
        let told = images::ensure(&engine, with_compiler);
        Some((engine, told))
    }

    pub(crate) fn dir(&self) -> &Path {
        self.server.dir()
    }

    /// Kills the first process of a container with SIGKILL, as in a crash that the engine did not
    /// request.
    pub fn crash(&self, container: &str) {
        let pid = self.docker(&["inspect", "--format", "{{.State.Pid}}", container]);
        let namespace = format!("--pid=/proc/{}/ns/pid", self.server.pid().unwrap());
        let killed = Command::new("nsenter")
            .args([&namespace, "--", "kill", "-KILL", &pid])
            .status();
        assert!(killed.unwrap().success());
    }

    /// A command that runs in the engine's network; its `docker` uses this engine.
    pub fn command(&self, program: &Path) -> Command {
        self.server.command(program).unwrap()
    }

    /// Runs docker; returns its standard output.
    pub fn docker(&self, args: &[&str]) -> String {
        let output = self
            .command(Path::new("docker"))
            .args(args)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "docker {args:?}: {out}{err}");
        out
    }

    /// Makes an image that contains only these programs and the libraries that they need.
    pub fn make_image(&self, name: &str, programs: &[Binary]) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        let bin = root.join("usr/local/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir_all(root.join("tmp")).unwrap();
        let mut libraries = BTreeSet::new();
        for program in programs {
            let path = program.path();
            fs::copy(&path, bin.join(path.file_name().unwrap())).unwrap();
            let output = Command::new("ldd").arg(&path).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let words = text.split_whitespace().filter(|word| word.starts_with('/'));
            libraries.extend(words.map(PathBuf::from));
        }
        for library in libraries {
            let copy = root.join(library.strip_prefix("/").unwrap());
            fs::create_dir_all(copy.parent().unwrap()).unwrap();
            fs::copy(library, copy).unwrap();
        }
        self.import(&root, name);
    }

    /// Makes an image from a folder.
    pub fn import(&self, root: &Path, name: &str) {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("image.tar");
        let made = Command::new("tar")
            .arg("-cf")
            .args([&archive, Path::new("-C"), root, Path::new(".")])
            .status();
        assert!(made.unwrap().success());
        self.docker(&["import", archive.to_str().unwrap(), name]);
    }
}

impl Drop for DockerEngine {
    fn drop(&mut self) {
        if self.own.is_some() {
            let _ = self.server.stop();
        }
    }
}
