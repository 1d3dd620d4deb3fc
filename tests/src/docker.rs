use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio, id},
};

use tempfile::TempDir;

use crate::{Binary, script_of, workspace};

/// A private Docker engine with a network of its own; stopped and deleted when this is dropped.
#[derive(Debug)]
pub struct DockerEngine {
    dir: PathBuf,
    /// Nothing if it is to stay, see [`DockerEngine::with_images`].
    own: Option<TempDir>,
}

impl DockerEngine {
    /// Where processes and containers in the engine's network find this machine's 127.0.0.1.
    pub const HOST: &str = "10.0.2.2";

    /// Starts one. Nothing for a user who may not: an engine needs root.
    pub fn private() -> Option<Self> {
        let user = Command::new("id").arg("-u").output().unwrap();
        if user.stdout.trim_ascii() != b"0" {
            eprintln!("not tested: a private Docker engine needs root");
            return None;
        }
        let own = tempfile::tempdir().unwrap();
        let engine = Self {
            dir: own.path().to_owned(),
            own: Some(own),
        };
        let pid = id().to_string();
        engine.script(&["start", engine.dir(), "--watch-pid", &pid, "--remove"]);
        Some(engine)
    }

    /// One with the images that the Dockerfile and docker-compose.yml name, and a line for each that is made from packages or
    /// missing. With `PRIMEPOOL_TEST_ENGINE_DIR` the engine is in that folder and stays, with its images and caches: for work
    /// on the tests.
    pub fn with_images() -> Option<(Self, String)> {
        let engine = match std::env::var_os("PRIMEPOOL_TEST_ENGINE_DIR") {
            Some(dir) => {
                let engine = Self {
                    dir: dir.into(),
                    own: None,
                };
                engine.script(&["start", engine.dir()]);
                engine
            }
            None => Self::private()?,
        };
        let told = script_of("testing", "images.sh", &[engine.dir()]);
        Some((engine, told))
    }

    /// kill -9 of the first process of a container, as if it had crashed: for the engine nobody has asked for that.
    pub fn crash(&self, container: &str) {
        let pid = self.docker(&["inspect", "--format", "{{.State.Pid}}", container]);
        let engine = fs::read_to_string(self.dir.join("pid")).unwrap();
        let namespace = format!("--pid=/proc/{}/ns/pid", engine.trim());
        let killed = Command::new("nsenter")
            .args([&namespace, "--", "kill", "-KILL", &pid])
            .status();
        assert!(killed.unwrap().success());
    }

    /// A command that runs in the engine's network, with `docker` set to the engine.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(workspace().join("infra/testing/engine.sh"));
        command.args(["run", self.dir()]).arg(program);
        command.stdin(Stdio::null());
        command
    }

    /// Runs docker; what it prints.
    pub fn docker(&self, args: &[&str]) -> String {
        let mut all = vec!["run", self.dir(), "docker"];
        all.extend(args);
        self.script(&all)
    }

    /// Makes an image that holds these programs and the libraries that they need, and nothing else.
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
        let archive = folder.path().join("image.tar");
        let made = Command::new("tar")
            .arg("-cf")
            .args([&archive, Path::new("-C"), &root, Path::new(".")])
            .status();
        assert!(made.unwrap().success());
        self.docker(&["import", archive.to_str().unwrap(), name]);
    }

    fn dir(&self) -> &str {
        self.dir.to_str().unwrap()
    }

    fn script(&self, args: &[&str]) -> String {
        script_of("testing", "engine.sh", args)
    }
}

impl Drop for DockerEngine {
    fn drop(&mut self) {
        if self.own.is_some() {
            self.script(&["remove", self.dir()]);
        }
    }
}
