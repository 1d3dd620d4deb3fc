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

/// A private broker, and one virtual host of it.
#[derive(Debug)]
pub struct Broker {
    server: primepool_sandbox::Broker,
    dir: PathBuf,
    /// Address of the virtual host.
    pub url: String,
    /// Present if this broker belongs to one test.
    own: Option<TempDir>,
}

/// The folder of the broker that all tests share.
static SHARED: OnceLock<PathBuf> = OnceLock::new();
static VHOSTS: AtomicU32 = AtomicU32::new(0);

impl Broker {
    /// A fresh virtual host of the broker that all tests share: the one of `sandbox with`, or one
    /// of this process.
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

    /// A broker for one test, to be killed.
    pub fn private() -> Self {
        Self::private_with(BrokerOptions::default())
    }

    /// The same with the management API, at the address that comes with it.
    pub fn with_management() -> (Self, String) {
        let broker = Self::private_with(BrokerOptions {
            management: true,
            ..BrokerOptions::default()
        });
        let url = broker.server.management_url().unwrap();
        (broker, url)
    }

    /// A broker for one test, in the virtual host that is set up for the pool (infra/rabbitmq), as
    /// its administrator; and the address of its management API.
    pub fn pool() -> (Self, String) {
        let (mut broker, management) = Self::with_management();
        broker.url = in_pool(&broker.url);
        (broker, management)
    }

    /// The same with TLS besides, at the port that comes with it, with the certificates in a
    /// folder; `mutual`: clients have to show one too.
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

    /// Address of the virtual host that is set up for the pool, for one of its users: `consumer`,
    /// `producer`, `operator`, `monitoring`.
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

    /// kill -9.
    pub fn kill(&self) {
        assert!(self.own.is_some(), "other tests use this broker");
        self.server.kill().unwrap();
    }

    /// Starts it again after [`Broker::kill`], with its data.
    pub fn start_again(&self) {
        self.server.restart().unwrap();
    }

    /// Another user of this virtual host with these permissions (patterns of names); its address.
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

    /// The folder with its addresses and logs.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The server's log.
    pub fn log(&self) -> PathBuf {
        self.server.log()
    }

    /// The server's process.
    pub fn pid(&self) -> u32 {
        self.server.pid().unwrap()
    }

    /// Runs rabbitmqctl.
    pub fn ctl(&self, args: &[&str]) -> String {
        self.server.ctl(args).unwrap()
    }

    /// The password of the broker's user.
    pub fn password(&self) -> &str {
        let userinfo = &self.url["amqp://".len()..self.url.find('@').unwrap()];
        userinfo.split_once(':').unwrap().1
    }

    /// Does something with a channel (in confirm mode) on a connection of its own.
    pub fn with_channel<T>(&self, act: impl AsyncFnOnce(&Channel) -> T) -> T {
        with_channel(&self.url, act)
    }

    /// The same where there is a runtime already.
    pub async fn with_second_channel<T>(&self, act: impl AsyncFnOnce(&Channel) -> T) -> T {
        with_second_channel(&self.url, act).await
    }

    /// Publishes a body to an exchange and waits for the broker's word.
    pub fn publish(
        &self,
        exchange: &str,
        routing_key: &str,
        body: &[u8],
        properties: BasicProperties,
    ) {
        publish(&self.url, exchange, routing_key, body, properties);
    }

    /// Takes one message out of a queue.
    pub fn take(&self, queue: &str) -> Option<BasicGetMessage> {
        // A queue that was declared just now cannot be read yet, and that would be an error.
        self.ready(queue).filter(|messages| *messages > 0)?;
        self.with_channel(async |channel| {
            channel
                .basic_get(queue.into(), BasicGetOptions { no_ack: true })
                .await
                .unwrap()
        })
    }

    /// Messages that wait in a queue; nothing if there is no such queue.
    pub fn ready(&self, queue: &str) -> Option<u32> {
        self.look_at(queue).map(|queue| queue.message_count())
    }

    /// Consumers that are subscribed to a queue.
    pub fn consumers(&self, queue: &str) -> Option<u32> {
        self.look_at(queue).map(|queue| queue.consumer_count())
    }

    fn look_at(&self, queue: &str) -> Option<Queue> {
        look_at(&self.url, queue)
    }

    /// The bodies of the messages in a stream, as far as they come within a moment.
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

    /// Takes messages out of a queue and returns them, as consumers do that die over their work,
    /// until one whose body holds this text has been returned so often.
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

/// The same address in the virtual host that is set up for the pool.
fn in_pool(url: &str) -> String {
    format!("{}/primepool", url.trim_end_matches("/%2f"))
}

/// Three private nodes that are one cluster; stopped and deleted when this is dropped.
#[derive(Debug)]
pub struct Cluster {
    servers: BrokerCluster,
    _own: TempDir,
}

impl Cluster {
    /// Starts one.
    pub fn private() -> Self {
        let own = tempfile::tempdir().unwrap();
        let lifetime = Lifetime::with_this_process(own.path());
        let folder = own.path().join("cluster");
        Self {
            servers: BrokerCluster::start(&folder, BrokerOptions::default(), &lifetime).unwrap(),
            _own: own,
        }
    }

    /// Address of a node, 1 to 3, for one of the pool's users, in the pool's virtual host.
    pub fn url(&self, node: u8, user: &str) -> String {
        self.node(node).url(user).unwrap()
    }

    /// The same for the user who may do everything.
    pub fn admin_url(&self, node: u8) -> String {
        in_pool(&self.url(node, "amqp"))
    }

    /// The log of a node.
    pub fn log(&self, node: u8) -> PathBuf {
        self.node(node).log()
    }

    /// Runs rabbitmqctl on a node.
    pub fn ctl(&self, node: u8, args: &[&str]) -> String {
        self.node(node).ctl(args).unwrap()
    }

    /// kill -9 of a node.
    pub fn kill(&self, node: u8) {
        self.node(node).kill().unwrap();
    }

    /// Starts a node again after [`Cluster::kill`], with its data.
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

/// State of a queue of the virtual host at this address, if there is such a queue.
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

/// Publishes a body to an exchange of the virtual host at this address and waits for the broker's
/// word.
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

/// Does something with a channel (in confirm mode) on a connection to this address.
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
