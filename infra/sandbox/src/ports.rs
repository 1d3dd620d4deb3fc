//! Ports of servers on 127.0.0.1. The system assigns them, and they stay reserved while a server
//! does not run.

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddrV4, TcpStream},
    os::fd::OwnedFd,
};

use rustix::net::{self, AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

use crate::error::{Result, failed};

/// Ports by name.
pub(crate) type Ports = BTreeMap<String, u16>;

/// Sockets that are bound but do not listen. Linux never assigns their ports to a program that asks
/// for any free port, for listening or connecting. A server that names the port and sets
/// `SO_REUSEADDR`, as servers do, can still listen on it.
#[derive(Debug, Default)]
pub(crate) struct HeldPorts(BTreeMap<String, Held>);

#[derive(Debug)]
struct Held {
    port: u16,
    _socket: OwnedFd,
}

impl HeldPorts {
    /// Reserves a port for each name: the port in `before` if it is free, otherwise any free one.
    pub(crate) fn hold(names: &[String], before: &Ports) -> Result<Self> {
        let mut held = Self::default();
        for name in names {
            let port = match before.get(name).map(|port| bind(*port)) {
                Some(Ok(port)) => port,
                _ => any()?,
            };
            held.0.insert(name.clone(), port);
        }
        Ok(held)
    }

    /// Replaces those of the named ports on which another program listens; returns whether there
    /// were any. The servers of these ports must not run.
    pub(crate) fn replace_taken(&mut self, names: &[String]) -> Result<bool> {
        let mut replaced = false;
        for name in names {
            if let Some(held) = self.0.get_mut(name)
                && TcpStream::connect((Ipv4Addr::LOCALHOST, held.port)).is_ok()
            {
                *held = any()?;
                replaced = true;
            }
        }
        Ok(replaced)
    }

    /// The port numbers by name.
    pub(crate) fn numbers(&self) -> Ports {
        self.0
            .iter()
            .map(|(name, held)| (name.clone(), held.port))
            .collect()
    }
}

fn any() -> Result<Held> {
    bind(0).map_err(|error| failed(format!("no free port on 127.0.0.1: {error}")))
}

fn bind(port: u16) -> io::Result<Held> {
    let socket = net::socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        Some(ipproto::TCP),
    )?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    let address = SocketAddrV4::try_from(net::getsockname(&socket)?)?;
    Ok(Held {
        port: address.port(),
        _socket: socket,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{
        net::TcpListener,
        thread,
        time::{Duration, Instant},
    };

    use super::*;

    fn names() -> Vec<String> {
        ["a", "b"].map(str::to_owned).into()
    }

    /// The standard library sets `SO_REUSEADDR`. The previous listener may live on for a moment in
    /// a child process that another test has just forked, until that executes its program.
    fn listen(port: u16) -> TcpListener {
        let start = Instant::now();
        loop {
            match TcpListener::bind(("127.0.0.1", port)) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    assert!(start.elapsed() < Duration::from_secs(10), "{error}");
                    thread::sleep(Duration::from_millis(1));
                }
                server => return server.unwrap(),
            }
        }
    }

    #[test]
    fn a_server_may_listen_again_and_again_on_a_held_port_that_nobody_else_is_given() {
        let held = HeldPorts::hold(&names(), &Ports::new()).unwrap();
        let ports = held.numbers();
        for _ in 0..3 {
            let server = listen(ports["a"]);
            let client = TcpStream::connect(("127.0.0.1", ports["a"])).unwrap();
            drop((server.accept().unwrap(), server, client));
        }
        for _ in 0..200 {
            let other = TcpListener::bind(("127.0.0.1", 0)).unwrap();
            let port = other.local_addr().unwrap().port();
            assert!(!ports.values().any(|held| *held == port));
        }
    }

    #[test]
    fn ports_stay_the_same_unless_another_program_listens_on_them() {
        let held = HeldPorts::hold(&names(), &Ports::new()).unwrap();
        let before = held.numbers();
        drop(held);
        let held = HeldPorts::hold(&names(), &before).unwrap();
        assert_eq!(held.numbers(), before);
        drop(held);
        let _other = TcpListener::bind(("127.0.0.1", before["b"])).unwrap();
        let held = HeldPorts::hold(&names(), &before).unwrap();
        assert_eq!(held.numbers()["a"], before["a"]);
        assert_ne!(held.numbers()["b"], before["b"]);
    }

    #[test]
    fn a_port_that_was_taken_while_it_was_held_is_replaced() {
        let mut held = HeldPorts::hold(&names(), &Ports::new()).unwrap();
        let before = held.numbers();
        assert!(!held.replace_taken(&names()).unwrap());
        let _other = TcpListener::bind(("127.0.0.1", before["a"])).unwrap();
        assert!(held.replace_taken(&names()).unwrap());
        assert_ne!(held.numbers()["a"], before["a"]);
        assert_eq!(held.numbers()["b"], before["b"]);
    }
}
