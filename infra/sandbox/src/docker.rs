//! A private Docker engine in its own namespaces: network (bridges, firewall rules, ports), mounts
//! and processes. It cannot interfere with the system's engine, and the kernel removes everything
//! when the engine ends.
//!
//! The keeper starts the host process, which starts the engine in new namespaces and a user-mode
//! network stack for it (slirp4netns, which changes no firewall rule, route or setting of this
//! machine). The first process in the namespaces is this program too.

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use rustix::process::{Signal, WaitOptions};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    error::{Result, failed, file_error, usage},
    files::read,
    launch::Launch,
    process::{self, ProcessId, descendants, tied_by, wait_for},
    server::{Lifetime, Servers, life_of_one},
    settings::Kind,
    tools::tools,
};

/// Longest path of the folder, in bytes: the address of a Unix socket has room for 107.
const LONGEST_DIR: usize = 90;
const CGROUP: &str = "primepool-engine-";
/// Folders of programs that a user's `PATH` may lack.
const SYSTEM: &str = "/usr/sbin:/sbin";

/// A private Docker engine at `unix://DIR/docker.sock`. Needs root.
#[derive(Debug)]
pub struct DockerEngine {
    servers: Servers,
}

life_of_one!(DockerEngine);

impl DockerEngine {
    /// The address of this machine's 127.0.0.1 for processes and containers in the engine's
    /// network.
    pub const HOST: &str = "10.0.2.2";

    /// Starts an engine with its data in `dir`, or starts the engine in `dir` again on its data.
    ///
    /// # Errors
    /// The user is not root, a program is missing, the engine does not start, or the folder holds
    /// something else.
    pub fn start(dir: &Path, lifetime: &Lifetime) -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Err(usage(
                "a private Docker engine needs root: run this with sudo",
            ));
        }
        if dir.as_os_str().len() > LONGEST_DIR {
            let dir = dir.display();
            return Err(usage(format!(
                "{dir} is too long for a socket: name a folder nearer to the root"
            )));
        }
        if !Path::new("/dev/net/tun").exists() {
            return Err(failed(
                "there is no /dev/net/tun, which a network of its own needs: try modprobe tun",
            ));
        }
        for program in [
            "dockerd",
            "docker",
            "slirp4netns",
            "iptables",
            "ip",
            "unshare",
            "nsenter",
        ] {
            let path = format!("{}:{SYSTEM}", std::env::var("PATH").unwrap_or_default());
            if !std::env::split_paths(&path).any(|folder| folder.join(program).is_file()) {
                return Err(failed(format!(
                    "{program} is not installed: run infra/local/setup.sh --docker"
                )));
            }
        }
        let servers = Servers::keep(dir, || Ok(Kind::DockerEngine), lifetime)?;
        servers.start(1)?;
        Ok(Self { servers })
    }

    /// The engine in `dir`, which was started before.
    ///
    /// # Errors
    /// There is no server in that folder.
    pub fn at(dir: &Path) -> Result<Self> {
        Servers::at(dir).map(|servers| Self { servers })
    }

    /// The folder of the engine.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.servers.dir()
    }

    /// The process id of the first process in the engine's namespaces.
    ///
    /// # Errors
    /// The engine does not run.
    pub fn pid(&self) -> Result<u32> {
        read(&self.dir().join("init"))?.parse().map_err(failed)
    }

    /// A command in the engine's network, with `docker` configured for the engine. It reaches ports
    /// that containers publish on 127.0.0.1, but not this machine's 127.0.0.1.
    ///
    /// # Errors
    /// The engine does not run.
    pub fn command(&self, program: &Path) -> Result<Command> {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/proc/{}/ns/net", self.pid()?))
            .arg("--")
            .arg(program)
            .env(
                "DOCKER_HOST",
                format!("unix://{}", self.dir().join("docker.sock").display()),
            )
            .env("DOCKER_CONFIG", configuration())
            .stdin(Stdio::null());
        for name in ["DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"] {
            command.env_remove(name);
        }
        Ok(command)
    }

    /// Stops the engine and deletes its folder.
    ///
    /// # Errors
    /// The keeper does not answer, or the folder cannot be deleted.
    pub fn remove(&self) -> Result<()> {
        self.stop()?;
        fs::remove_dir_all(self.dir()).map_err(file_error("delete", self.dir()))
    }
}

/// Folder with the private configuration of the Docker client, and with Compose and Buildx if
/// `setup.sh` has fetched them.
fn configuration() -> PathBuf {
    tools().join("docker")
}

pub(crate) fn launch(dir: &Path) -> Result<Launch> {
    let path = std::env::var("PATH").unwrap_or_default();
    // The engine's data has its own folder, so that a folder with only settings counts as new.
    let data = dir.join("data");
    fs::create_dir_all(&data).map_err(file_error("make", &data))?;
    Ok(Launch::new("/proc/self/exe", dir.join("log/engine"))
        .arguments(["engine".as_ref(), dir.as_os_str()])
        .environment([("PATH", format!("{path}:{SYSTEM}"))]))
}

pub(crate) fn is_ready(dir: &Path) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = UnixStream::connect(dir.join("docker.sock"))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"GET /_ping HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.") && answer.contains(" 200 "))
}

/// Deletes what a killed engine leaves outside of its namespaces: files, and control groups, which
/// belong to no namespace.
pub(crate) fn clean_up(dir: &Path) {
    if let Ok(name) = read(&dir.join("cgroup"))
        && name.starts_with(CGROUP)
    {
        let _ = wait_for(Duration::from_secs(5), || {
            let top = Path::new("/sys/fs/cgroup");
            let mut groups = vec![top.to_owned()];
            groups.extend(folders(top));
            let mut found = groups
                .into_iter()
                .map(|group| group.join(&name))
                .filter(|g| g.is_dir());
            Ok(found.all(|group| remove_group(&group)).then_some(()))
        });
    }
    for name in ["cgroup", "init", "docker.sock"] {
        let _ = fs::remove_file(dir.join(name));
    }
}

/// Removes a control group and the groups in it, inner ones first; all must be empty. Returns
/// whether the group is gone.
fn remove_group(group: &Path) -> bool {
    for inner in folders(group) {
        remove_group(&inner);
    }
    fs::remove_dir(group).is_ok()
}

fn folders(of: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(of).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir() && !path.is_symlink())
        .collect()
}

/// The host process, which the keeper starts.
pub(crate) fn host(dir: &Path) -> Result<()> {
    clean_up(dir); // left by an engine that was killed
    let cgroup = format!("{CGROUP}{}", std::process::id());
    let write = |name: &str, text: &str| {
        fs::write(dir.join(name), text).map_err(file_error("write", dir.join(name)))
    };
    write("cgroup", &cgroup)?;
    // Pass SIGTERM on to the first process in the namespaces; the host ends when the engine has
    // ended.
    let inner = std::sync::Arc::new(AtomicU32::new(0));
    on_terminate({
        let inner = inner.clone();
        move || match inner.load(Ordering::SeqCst) {
            0 => {} // nothing runs yet
            pid => process::signal(pid, Signal::TERM),
        }
    })?;
    let this = std::env::current_exe().map_err(failed)?;
    // Propagation `slave`: mounts of this machine appear inside, mounts of the engine do not appear
    // outside.
    let mut unshare = tied_by("/proc/self/exe".into(), "unshare", Signal::KILL)
        .args([
            "--mount",
            "--propagation",
            "slave",
            "--net",
            "--ipc",
            "--uts",
            "--pid",
            "--fork",
            "--kill-child",
        ])
        .args([
            this.as_os_str(),
            "engine-init".as_ref(),
            dir.as_os_str(),
            cgroup.as_ref(),
        ])
        .spawn()
        .map_err(file_error("start", "unshare"))?;
    let pid = wait_for(Duration::from_secs(10), || {
        if unshare.try_wait().is_ok_and(|status| status.is_some()) {
            return Err(failed("unshare ended"));
        }
        Ok(first_inside(unshare.id()))
    })?
    .ok_or_else(|| failed("nothing started in the new namespaces"))?;
    inner.store(pid, Ordering::SeqCst);
    write("init", &pid.to_string())?;
    let network =
        fs::File::create(dir.join("log/network")).map_err(file_error("write", "log/network"))?;
    let errors = network
        .try_clone()
        .map_err(file_error("write", "log/network"))?;
    let mut slirp = tied_by("/proc/self/exe".into(), "slirp4netns", Signal::KILL)
        .args(["--configure", "--mtu=65520", &pid.to_string(), "tap0"])
        .stdout(network)
        .stderr(errors)
        .spawn()
        .map_err(file_error("start", "slirp4netns"))?;
    let status = unshare.wait().map_err(failed)?;
    let _ = slirp.kill().and_then(|()| slirp.wait());
    clean_up(dir);
    if status.success() {
        Ok(())
    } else {
        Err(failed(format!("the engine ended: {status}")))
    }
}

/// The child of unshare, which is the first process in the namespaces, once it has executed this
/// program.
fn first_inside(unshare: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children")).ok();
    let pid = match children {
        Some(text) => text.split_whitespace().next()?.parse().ok()?,
        // This kernel has no file `children`.
        None => descendants().into_iter().find(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains("engine-init")
        })?,
    };
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let is_ours = String::from_utf8_lossy(&line).contains("engine-init");
    (is_ours && ProcessId::of(pid).is_some()).then_some(pid)
}

/// Calls `act` at each SIGTERM, in a thread of its own.
fn on_terminate(mut act: impl FnMut() + Send + 'static) -> Result<()> {
    let runtime = process::runtime()?;
    let mut terminate = {
        let _entered = runtime.enter();
        signal(SignalKind::terminate()).map_err(failed)?
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            while terminate.recv().await.is_some() {
                act();
            }
        });
    });
    Ok(())
}

/// The first process in the namespaces: sets up mounts and the network for the engine, starts it,
/// and waits until it ends. When this process ends, the kernel kills all others in the namespace.
pub(crate) fn init(dir: &Path, cgroup: &str) -> Result<()> {
    let scratch = dir.join("data/.private");
    run("mount", &["-t", "proc", "proc", "/proc"])?;
    // Keep in memory what the engine and its helpers write to /run and /etc.
    fs::create_dir_all(&scratch).map_err(file_error("make", &scratch))?;
    let path = |name: &str| scratch.join(name).display().to_string();
    run(
        "mount",
        &["-t", "tmpfs", "-o", "mode=700", "tmpfs", &path("")],
    )?;
    for name in ["etc", "work"] {
        fs::create_dir(scratch.join(name)).map_err(file_error("make", scratch.join(name)))?;
    }
    run("chmod", &["755", &path("etc")])?;
    let overlay = format!(
        "lowerdir=/etc,upperdir={},workdir={}",
        path("etc"),
        path("work")
    );
    run(
        "mount",
        &["-t", "overlay", "-o", &overlay, "overlay", "/etc"],
    )?;
    let _ = fs::remove_file("/etc/resolv.conf"); // may be a link into /run
    // The DNS forwarder of slirp4netns, which asks the name servers of this machine.
    fs::write("/etc/resolv.conf", "nameserver 10.0.2.3\n")
        .map_err(file_error("write", "/etc/resolv.conf"))?;
    run("mount", &["-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"])?;
    for name in ["/run/lock", "/etc/docker"] {
        fs::create_dir_all(name).map_err(file_error("make", name))?;
    }
    fs::write("/etc/docker/primepool.json", "{}\n")
        .map_err(file_error("write", "/etc/docker/primepool.json"))?;
    run("ip", &["link", "set", "lo", "up"])?;
    let up = wait_for(Duration::from_secs(10), || {
        let output = Command::new("ip")
            .args(["-4", "route", "show", "default"])
            .output();
        Ok(output
            .is_ok_and(|output| !output.stdout.is_empty())
            .then_some(()))
    })?;
    up.ok_or_else(|| failed("the network did not come up: see log/network"))?;
    let engine = start_engine(dir, cgroup)?;
    let pid = engine.id();
    on_terminate(move || process::signal(pid, Signal::TERM))?;
    // As the first process of the namespace, this one also reaps orphans.
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((ended, status))) if u32::try_from(ended.as_raw_nonzero().get()) == Ok(pid) => {
                return match status.exit_status() {
                    Some(0) => Ok(()),
                    _ => Err(failed(format!("dockerd ended: {status:?}"))),
                };
            }
            Err(rustix::io::Errno::CHILD) => return Ok(()),
            _ => {}
        }
    }
}

fn start_engine(dir: &Path, cgroup: &str) -> Result<Child> {
    let option = |path: &str| dir.join(path).display().to_string();
    let socket = format!("unix://{}", option("docker.sock"));
    Command::new("dockerd")
        .args([
            "--config-file",
            "/etc/docker/primepool.json",
            "--data-root",
            &option("data"),
        ])
        .args([
            "--exec-root",
            "/run/docker",
            "--pidfile",
            "/run/docker.pid",
            "--host",
            &socket,
        ])
        .args(["--exec-opt", "native.cgroupdriver=cgroupfs"])
        .args([
            "--cgroup-parent",
            &format!("/{cgroup}"),
            "--shutdown-timeout",
            "30",
        ])
        .env("HOME", "/run")
        .spawn()
        .map_err(file_error("start", "dockerd"))
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let status = Command::new(program).args(arguments).status();
    let status = status.map_err(file_error("start", program))?;
    if status.success() {
        Ok(())
    } else {
        Err(failed(format!("{program} {arguments:?}: {status}")))
    }
}
