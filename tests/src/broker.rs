use std::{
    path::{Path, PathBuf},
    process::id,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, Queue,
    message::BasicGetMessage,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions,
        BasicQosOptions, BasicRejectOptions, ConfirmSelectOptions, QueueDeclareOptions,
        QueueDeleteOptions,
    },
    types::{AMQPValue, FieldTable},
};
use primepool_sandbox::{BrokerCluster, BrokerOptions, Lifetime, Permissions};
use tempfile::TempDir;
use tokio::time::timeout;

/// A private broker, and one of its virtual hosts.
#[derive(Debug)]
pub struct Broker {
    server: primepool_sandbox::Broker,
    dir: PathBuf,
    /// AMQP URL of the virtual host.
    pub url: String,
    /// Present if this broker belongs to one test.
    own: Option<TempDir>,
}

/// The folder of the broker that all tests share.
static SHARED: OnceLock<PathBuf> = OnceLock::new();
static VHOSTS: AtomicU32 = AtomicU32::new(0);

impl Broker {
    /// A fresh virtual host of the broker that all tests share: the one that `sandbox with`
    /// started, or one that this process starts.
    pub fn vhost() -> Self {
        let dir = SHARED.get_or_init(|| match std::env::var_os("PRIMEPOOL_BROKER_DIR") {
            Some(dir) => dir.into(),
            None => {
                // Not a `TempDir`: one in a static is never dropped.
                let dir = tempfile::tempdir().unwrap().keep();
                start(&dir, BrokerOptions::default());
                dir.join("broker")
            }
        });
        let server = primepool_sandbox::Broker::at(dir).unwrap();
        let name = format!("test-{}-{}", id(), VHOSTS.fetch_add(1, Ordering::Relaxed));
        let url = server.vhost(&name).unwrap();
        Self {
            dir: server.dir(),
            server,
            url,
            own: None,
        }
    }

    /// A broker for one test, which may kill it.
    pub fn private() -> Self {
        Self::private_with(BrokerOptions::default())
    }

    /// Like [`Broker::private`], with the management API; also returns the API's address.
    pub fn with_management() -> (Self, String) {
        let broker = Self::private_with(BrokerOptions {
            management: true,
            ..BrokerOptions::default()
        });
        let url = broker.server.management_url().unwrap();
        (broker, url)
    }

    /// A broker for one test, as the administrator of the pool's virtual host (`infra/rabbitmq`);
    /// also returns the address of its management API.
    pub fn pool() -> (Self, String) {
        let (mut broker, management) = Self::with_management();
        broker.url = in_pool(&broker.url);
        (broker, management)
    }

    /// Like [`Broker::pool`], with TLS in addition; also returns the TLS port. `certificates` is
    /// the folder of the certificates; with `mutual`, clients have to present one too.
    pub fn tls(certificates: &Path, mutual: bool) -> (Self, u16, String) {
        let broker = Self::private_with(BrokerOptions {
            management: true,
            tls: Some(certificates.to_owned()),
            mutual,
        });
        let port = broker.server.tls_port().unwrap();
        let management = broker.server.management_url().unwrap();
        (broker, port, management)
    }

    /// AMQP URL of the pool's virtual host for one of its users: `consumer`, `producer`,
    /// `operator`, `monitoring`.
    pub fn pool_url(&self, user: &str) -> String {
        self.server.url(user).unwrap()
    }

    fn private_with(options: BrokerOptions) -> Self {
        let own = tempfile::tempdir().unwrap();
        let server = start(own.path(), options);
        Self {
            url: server.url("amqp").unwrap(),
            dir: server.dir(),
            server,
            own: Some(own),
        }
    }

    /// Kills the server with SIGKILL.
    pub fn kill(&self) {
        assert!(self.own.is_some(), "other tests use this broker");
        self.server.kill().unwrap();
    }

    /// Restarts the server after [`Broker::kill`], with its data.
    pub fn start_again(&self) {
        self.server.restart().unwrap();
    }

    /// Creates a user of this virtual host with these permissions (patterns of names); returns the
    /// user's AMQP URL.
    pub fn user(&self, name: &str, [configure, write, read]: [&str; 3]) -> String {
        let vhost = self.url.rsplit('/').next().unwrap();
        let permissions = Permissions {
            configure,
            write,
            read,
        };
        let user = self.server.user(name, "other-password", vhost, permissions);
        user.unwrap()
    }

    /// The folder with the server's addresses and logs.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Path of the server's log.
    pub fn log(&self) -> PathBuf {
        self.server.log()
    }

    /// Process id of the server.
    pub fn pid(&self) -> u32 {
        self.server.pid().unwrap()
    }

    /// Runs rabbitmqctl; returns its output.
    pub fn ctl(&self, args: &[&str]) -> String {
        self.server.ctl(args).unwrap()
    }

    /// The password in the broker's AMQP URL.
    pub fn password(&self) -> &str {
        let userinfo = &self.url["amqp://".len()..self.url.find('@').unwrap()];
        userinfo.split_once(':').unwrap().1
    }

    /// Runs `act` with a channel in confirm mode on a connection of its own.
    pub fn with_channel<T>(&self, act: impl AsyncFnOnce(&Channel) -> T) -> T {
        with_channel(&self.url, act)
    }

    /// Like [`Broker::with_channel`], for callers that are inside a runtime already.
    pub async fn with_second_channel<T>(&self, act: impl AsyncFnOnce(&Channel) -> T) -> T {
        with_second_channel(&self.url, act).await
    }

    /// Publishes a body to an exchange and waits for the publisher confirm.
    pub fn publish(
        &self,
        exchange: &str,
        routing_key: &str,
        body: &[u8],
        properties: BasicProperties,
    ) {
        publish(&self.url, exchange, routing_key, body, properties);
    }

    /// Takes one message from a queue, with automatic acknowledgement; `None` if no message is
    /// ready.
    pub fn take(&self, queue: &str) -> Option<BasicGetMessage> {
        // Reading a queue that was declared just now would fail, so look for a ready message first.
        self.ready(queue).filter(|messages| *messages > 0)?;
        self.with_channel(async |channel| {
            channel
                .basic_get(queue.into(), BasicGetOptions { no_ack: true })
                .await
                .unwrap()
        })
    }

    /// Number of ready messages in a queue, if the queue exists.
    pub fn ready(&self, queue: &str) -> Option<u32> {
        self.look_at(queue).map(|queue| queue.message_count())
    }

    /// Number of consumers that are subscribed to a queue, if the queue exists.
    pub fn consumers(&self, queue: &str) -> Option<u32> {
        self.look_at(queue).map(|queue| queue.consumer_count())
    }

    fn look_at(&self, queue: &str) -> Option<Queue> {
        look_at(&self.url, queue)
    }

    /// The bodies of the messages in a stream, until none has arrived for a moment.
    pub fn read_stream(&self, stream: &str) -> Vec<Vec<u8>> {
        const MOMENT: Duration = Duration::from_millis(300);
        self.with_channel(async |channel| {
            let qos = BasicQosOptions::default();
            channel.basic_qos(100, qos).await.unwrap();
            let mut arguments = FieldTable::default();
            let first = AMQPValue::LongString("first".into());
            arguments.insert("x-stream-offset".into(), first);
            let options = BasicConsumeOptions::default();
            let mut messages = channel
                .basic_consume(stream.into(), "test".into(), options, arguments)
                .await
                .unwrap();
            let mut bodies = Vec::new();
            while let Ok(Some(message)) = timeout(MOMENT, messages.next()).await {
                let message = message.unwrap();
                message.acker.ack(BasicAckOptions::default()).await.unwrap();
                bodies.push(message.data);
            }
            bodies
        })
    }

    /// Takes messages from a queue and requeues them, like consumers that crash while they work,
    /// until messages whose body contains this text have been requeued `times` times.
    pub fn return_unit(&self, queue: &str, text: &str, times: u32) {
        crate::wait_for(&format!("a message in {queue}"), || {
            self.ready(queue).filter(|messages| *messages > 0)
        });
        self.with_channel(async |channel| {
            let mut returned = 0;
            while returned < times {
                let options = BasicGetOptions { no_ack: false };
                let got = channel.basic_get(queue.into(), options).await.unwrap();
                let Some(message) = got else {
                    continue;
                };
                let is_it = String::from_utf8_lossy(&message.data).contains(text);
                let requeue = BasicRejectOptions { requeue: true };
                message.reject(requeue).await.unwrap();
                returned += u32::from(is_it);
            }
        });
    }

    /// Deletes a queue.
    pub fn delete_queue(&self, queue: &str) {
        self.with_channel(async |channel| {
            channel
                .queue_delete(queue.into(), QueueDeleteOptions::default())
                .await
                .unwrap();
        });
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if self.own.is_some() {
            let _ = self.server.stop();
        }
    }
}

/// Starts a broker in a folder of its own, which is deleted when this process ends.
fn start(folder: &Path, options: BrokerOptions) -> primepool_sandbox::Broker {
    let lifetime = Lifetime::with_this_process(folder);
    primepool_sandbox::Broker::start(&folder.join("broker"), options, &lifetime).unwrap()
}

/// The same URL with the pool's virtual host.
fn in_pool(url: &str) -> String {
    format!("{}/primepool", url.trim_end_matches("/%2f"))
}

/// Three private broker nodes that form a cluster; stopped and deleted when this is dropped.
#[derive(Debug)]
pub struct Cluster {
    servers: BrokerCluster,
    _own: TempDir,
}

impl Cluster {
    /// Starts the cluster.
    pub fn private() -> Self {
        let own = tempfile::tempdir().unwrap();
        let lifetime = Lifetime::with_this_process(own.path());
        let folder = own.path().join("cluster");
        Self {
            servers: BrokerCluster::start(&folder, BrokerOptions::default(), &lifetime).unwrap(),
            _own: own,
        }
    }

    /// AMQP URL of a node (1 to 3) for one of the pool's users, in the pool's virtual host.
    pub fn url(&self, node: u8, user: &str) -> String {
        self.node(node).url(user).unwrap()
    }

    /// AMQP URL of a node for the administrator, in the pool's virtual host.
    pub fn admin_url(&self, node: u8) -> String {
        in_pool(&self.url(node, "amqp"))
    }

    /// Path of the log of a node.
    pub fn log(&self, node: u8) -> PathBuf {
        self.node(node).log()
    }

    /// Runs rabbitmqctl on a node; returns its output.
    pub fn ctl(&self, node: u8, args: &[&str]) -> String {
        self.node(node).ctl(args).unwrap()
    }

    /// Kills a node with SIGKILL.
    pub fn kill(&self, node: u8) {
        self.node(node).kill().unwrap();
    }

    /// Restarts a node after [`Cluster::kill`], with its data.
    pub fn start_again(&self, node: u8) {
        self.node(node).restart().unwrap();
    }

    fn node(&self, node: u8) -> &primepool_sandbox::Broker {
        self.servers.node(node.into())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.servers.stop();
    }
}

/// State of a queue in the virtual host of this URL, if the queue exists.
pub(crate) fn look_at(url: &str, queue: &str) -> Option<Queue> {
    with_channel(url, async |channel| {
        let passive = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        channel
            .queue_declare(queue.into(), passive, FieldTable::default())
            .await
            .ok()
    })
}

/// Publishes a body to an exchange in the virtual host of this URL and waits for the publisher
/// confirm.
pub(crate) fn publish(
    url: &str,
    exchange: &str,
    routing_key: &str,
    body: &[u8],
    properties: BasicProperties,
) {
    with_channel(url, async |channel| {
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let confirm = channel
            .basic_publish(
                exchange.into(),
                routing_key.into(),
                options,
                body,
                properties,
            )
            .await
            .unwrap();
        confirm.await.unwrap();
    });
}

/// Runs `act` with a channel in confirm mode on a connection to this URL.
pub fn with_channel<T>(url: &str, act: impl AsyncFnOnce(&Channel) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(with_second_channel(url, act))
}

async fn with_second_channel<T>(url: &str, act: impl AsyncFnOnce(&Channel) -> T) -> T {
    let connection = Connection::connect(url, ConnectionProperties::default())
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .unwrap();
    let result = act(&channel).await;
    let _ = connection.close(200, "done".into()).await;
    result
}
