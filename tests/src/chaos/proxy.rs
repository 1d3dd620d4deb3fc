//! A TCP proxy between a process and its broker, which forwards bytes or simulates network faults.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

/// The state of the simulated network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkState {
    /// Forwards everything.
    Fair,
    /// Closes new connections at once, and cuts the open ones.
    Refuse,
    /// Keeps connections open but forwards nothing.
    Stall,
    /// Forwards bytes to the broker, and holds back bytes from it.
    Mute,
    /// Forwards everything after this delay.
    Delay(Duration),
    /// Forwards a few bytes at a time, so that every frame arrives in pieces.
    Trickle,
}

/// A TCP port whose connections are forwarded to the broker.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    to: String,
    state: Mutex<NetworkState>,
    open: Mutex<Vec<TcpStream>>,
    closed: AtomicBool,
    accepted: AtomicUsize,
}

/// Number of bytes that [`NetworkState::Trickle`] forwards every [`DROP`].
const DROPLET: usize = 512;
const DROP: Duration = Duration::from_millis(5);

impl Proxy {
    /// Listens on a new port of 127.0.0.1 and forwards to the address `to`.
    pub fn new(to: &str) -> Self {
        Self::at(Ipv4Addr::LOCALHOST.into(), to)
    }

    /// Listens on a new port of this local address and forwards to the address `to`.
    pub fn at(here: IpAddr, to: &str) -> Self {
        let listener = TcpListener::bind((here, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            to: to.to_owned(),
            state: Mutex::new(NetworkState::Fair),
            open: Mutex::default(),
            closed: AtomicBool::new(false),
            accepted: AtomicUsize::new(0),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.closed.load(Relaxed) {
                    return;
                }
                if let Ok(client) = client {
                    accepting.accept(client);
                }
            }
        });
        Self { address, shared }
    }

    /// Starts a proxy for the broker of an AMQP URL; also returns the URL that leads through it.
    pub fn before(url: &str) -> (Self, String) {
        let (head, tail) = url.split_once('@').unwrap();
        let (address, vhost) = tail.split_once('/').unwrap();
        let proxy = Self::new(address);
        let url = format!("{head}@127.0.0.1:{}/{vhost}", proxy.port());
        (proxy, url)
    }

    /// The port on which the proxy listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Number of connections accepted so far, including those that were refused.
    pub fn connections(&self) -> usize {
        self.shared.accepted.load(Relaxed)
    }

    /// Changes the state of the network; [`NetworkState::Refuse`] cuts the open connections.
    pub fn set(&self, state: NetworkState) {
        *self.shared.state.lock().unwrap() = state;
        if state == NetworkState::Refuse {
            self.cut();
        }
    }

    /// Closes all connections.
    pub fn cut(&self) {
        for stream in self.shared.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.closed.store(true, Relaxed);
        self.cut();
        // Wakes the accepting thread, which then ends.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn state(&self) -> NetworkState {
        *self.state.lock().unwrap()
    }

    fn accept(self: &Arc<Self>, client: TcpStream) {
        self.accepted.fetch_add(1, Relaxed);
        if self.state() == NetworkState::Refuse {
            return;
        }
        // The broker does not run: the client sees its connection end.
        let Ok(server) = TcpStream::connect(&self.to) else {
            return;
        };
        let _ = client.set_nodelay(true);
        let _ = server.set_nodelay(true);
        let (Ok(from_client), Ok(from_server)) = (client.try_clone(), server.try_clone()) else {
            return;
        };
        let mut open = self.open.lock().unwrap();
        // Forget connections that have ended on both sides.
        open.retain(|stream| stream.peer_addr().is_ok());
        open.extend(client.try_clone());
        open.extend(server.try_clone());
        drop(open);
        for (from, to, is_broker) in [(from_client, server, false), (from_server, client, true)] {
            let this = Arc::clone(self);
            thread::spawn(move || this.pass(from, to, is_broker));
        }
    }

    /// `is_broker`: whether the bytes come from the broker.
    fn pass(&self, mut from: TcpStream, mut to: TcpStream, is_broker: bool) {
        let mut buffer = [0; 65_536];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            if !self.write(&mut to, &buffer[..length], is_broker) {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }

    fn write(&self, to: &mut TcpStream, mut bytes: &[u8], is_broker: bool) -> bool {
        while !bytes.is_empty() {
            let length = match self.state() {
                NetworkState::Fair => bytes.len(),
                NetworkState::Mute if !is_broker => bytes.len(),
                NetworkState::Refuse => return false,
                NetworkState::Stall | NetworkState::Mute => {
                    thread::sleep(Duration::from_millis(20));
                    if to.peer_addr().is_err() || self.closed.load(Relaxed) {
                        return false;
                    }
                    continue;
                }
                NetworkState::Delay(time) => {
                    thread::sleep(time);
                    bytes.len()
                }
                NetworkState::Trickle => {
                    thread::sleep(DROP);
                    bytes.len().min(DROPLET)
                }
            };
            if to.write_all(&bytes[..length]).is_err() {
                return false;
            }
            bytes = &bytes[length..];
        }
        true
    }
}
