//! The socket below lapin, with or without TLS.
//!
//! lapin's own TLS support adds forty crates, among them parsers for unused formats (PKCS#12). This
//! module uses the same TLS library as the HTTP client.

use std::{
    fmt,
    io::{self, Read, Write},
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd},
    sync::Arc,
    time::{Duration, Instant},
};

use async_compat::Compat;
use async_rs::{Runtime, Tokio, traits::Reactor, util::RuntimeParts};
use futures_util::Stream;
use lapin::{AsyncTcpStream, Connection, ConnectionProperties, uri::AMQPUri};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// A bidirectional byte stream: TCP, or TLS over TCP.
trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

type Socket = Compat<Box<dyn Bytes>>;

/// Connects to a broker, over TLS if a configuration is given.
pub(super) async fn connect(
    uri: AMQPUri,
    tls: Option<Arc<ClientConfig>>,
    properties: ConnectionProperties,
) -> lapin::Result<Connection> {
    let tokio = Tokio::current();
    let runtime = Runtime::new(RuntimeParts::new(tokio.clone(), Network(tokio)));
    let open = async move |uri, runtime| Ok(open(&uri, &runtime, tls.clone()).await?);
    Connection::connector(uri, runtime, open, properties).await
}

async fn open(
    uri: &AMQPUri,
    runtime: &Runtime<RuntimeParts<Tokio, Network>>,
    tls: Option<Arc<ClientConfig>>,
) -> io::Result<AsyncTcpStream<Socket>> {
    let host = &uri.authority.host;
    let addresses = runtime.to_socket_addrs((host.clone(), uri.authority.port));
    let socket = runtime.tcp_connect(addresses).await?;
    let Some(config) = tls else {
        return Ok(AsyncTcpStream::Plain(socket));
    };
    let name = ServerName::try_from(host.clone())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let session = TlsConnector::from(config).connect(name, socket.into_inner());
    Ok(AsyncTcpStream::Plain(boxed(session.await?)))
}

async fn plain(address: SocketAddr) -> io::Result<Socket> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(boxed(stream))
}

fn boxed(stream: impl Bytes + 'static) -> Socket {
    Compat::new(Box::new(stream))
}

/// The Tokio runtime for lapin, with sockets that may have a TLS layer between them and lapin.
#[derive(Clone)]
struct Network(Tokio);

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Network")
    }
}

impl Reactor for Network {
    type TcpStream = Socket;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl futures_io::AsyncRead + futures_io::AsyncWrite + Send + Unpin + 'static>
    {
        self.0.register(socket)
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Socket>> + Send + 'static {
        plain(address)
    }
}
