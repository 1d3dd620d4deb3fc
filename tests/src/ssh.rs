use std::{
    fs::{self, File},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::wait_for;

/// The empty folder that sshd requires when root starts it.
const PRIVILEGE_SEPARATION: &str = "/run/sshd";

/// An SSH server on loopback that accepts only the key made for it; stopped when this is dropped.
#[derive(Debug)]
pub struct SshServer {
    child: Child,
    dir: PathBuf,
    made_folder: bool,
}

impl SshServer {
    /// Starts a server with its keys in `dir`.
    pub fn start(dir: &Path) -> Self {
        let port = {
            let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
            listener.local_addr().unwrap().port()
        };
        let file = |name: &str| dir.join(name).to_str().unwrap().to_owned();
        for key in ["host", "user"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f", &file(key)])
                .status();
            assert!(made.unwrap().success());
        }
        fs::copy(file("user.pub"), file("authorized_keys")).unwrap();
        let host_key = fs::read_to_string(file("host.pub")).unwrap();
        let known = format!("[127.0.0.1]:{port},[localhost]:{port} {host_key}");
        fs::write(file("known_hosts"), known).unwrap();
        let server = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nPermitRootLogin prohibit-password\n",
            file("host"),
            file("authorized_keys")
        );
        fs::write(file("sshd_config"), server).unwrap();
        let client = format!(
            "Host *\nPort {port}\nAddressFamily inet\nIdentityFile {}\nIdentitiesOnly yes\nUserKnownHostsFile {}\nBatchMode yes\nLogLevel ERROR\n",
            file("user"),
            file("known_hosts")
        );
        fs::write(file("ssh_config"), client).unwrap();
        let made_folder = fs::create_dir(PRIVILEGE_SEPARATION).is_ok();
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f", &file("sshd_config")])
            .stdin(Stdio::null())
            .stderr(File::create(file("sshd.log")).unwrap())
            .spawn()
            .unwrap();
        let server = Self {
            child,
            dir: dir.to_owned(),
            made_folder,
        };
        wait_for("the SSH server", || {
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        server
    }

    /// Path of the client configuration, for `ssh -F` with the host `127.0.0.1` or `localhost`.
    pub fn client_config(&self) -> PathBuf {
        self.dir.join("ssh_config")
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if self.made_folder {
            let _ = fs::remove_dir(PRIVILEGE_SEPARATION);
        }
        if std::thread::panicking() {
            let log = fs::read_to_string(self.dir.join("sshd.log"));
            eprintln!("--- sshd ---\n{}", log.unwrap_or_default());
        }
    }
}
