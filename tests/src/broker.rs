use std::{
    fs,
    path::{Path, PathBuf},
    process::id,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, Queue,
    message::BasicGetMessage,
    options::{
        BasicGetOptions, BasicPublishOptions, BasicRejectOptions, ConfirmSelectOptions,
        QueueDeclareOptions, QueueDeleteOptions,
    },
    types::FieldTable,
};
use tempfile::TempDir;

/// A private broker, and one virtual host of it.
#[derive(Debug)]
pub struct Broker {
    dir: PathBuf,
    /// Address of the virtual host.
    pub url: String,
    /// Present if this broker belongs to one test.
    own: Option<TempDir>,
}

static SHARED: OnceLock<PathBuf> = OnceLock::new();
static VHOSTS: AtomicU32 = AtomicU32::new(0);

impl Broker {
    /// A fresh virtual host of the broker that all tests share.
    pub fn vhost() -> Self {
        let dir = SHARED
            .get_or_init(|| match std::env::var_os("PRIMEPOOL_TEST_BROKER_DIR") {
                Some(dir) => dir.into(),
                None => {
                    // Ends with this process, by its watchdog.
                    let dir = std::env::temp_dir().join(format!("primepool-tests-{}", id()));
                    script(&[
                        "start",
                        path(&dir),
                        "--watch-pid",
                        &id().to_string(),
                        "--remove",
                    ]);
                    dir
                }
            })
            .clone();
        let name = format!("test-{}-{}", id(), VHOSTS.fetch_add(1, Ordering::Relaxed));
        let url = script(&["vhost", path(&dir), &name]);
        Self {
            dir,
            url,
            own: None,
        }
    }

    /// A broker for one test, to be killed.
    pub fn private() -> Self {
        Self::private_with(&[])
    }

    /// The same with the management API, at the address that comes with it.
    pub fn with_management() -> (Self, String) {
        let broker = Self::private_with(&["--management"]);
        let url = fs::read_to_string(broker.dir.join("management-url")).unwrap();
        (broker, url.trim().to_owned())
    }

    /// A broker for one test, in the virtual host that is set up for the pool (infra/rabbitmq), as its administrator; and the
    /// address of its management API.
    pub fn pool() -> (Self, String) {
        let (mut broker, management) = Self::with_management();
        broker.url = format!("{}/primepool", broker.url.trim_end_matches("/%2f"));
        (broker, management)
    }

    /// The same with TLS besides, at the port that comes with it, with the certificates in a folder; `mutual`: clients have to
    /// show one too.
    pub fn tls(certificates: &Path, mutual: bool) -> (Self, u16, String) {
        let mut options = vec!["--management", "--tls", path(certificates)];
        if mutual {
            options.push("--mutual");
        }
        let broker = Self::private_with(&options);
        let read = |name: &str| fs::read_to_string(broker.dir.join(name)).unwrap();
        let port = read("tls-port").trim().parse().unwrap();
        let management = read("management-url").trim().to_owned();
        (broker, port, management)
    }

    /// Address of the virtual host that is set up for the pool, for one of its users: `consumer`, `producer`, `monitoring`.
    pub fn pool_url(&self, user: &str) -> String {
        pool_url(&self.dir, user)
    }

    fn private_with(options: &[&str]) -> Self {
        let own = tempfile::tempdir().unwrap();
        let dir = own.path().join("broker");
        let (dir_text, pid) = (path(&dir), id().to_string());
        let mut args = vec!["start", dir_text, "--watch-pid", &pid, "--remove"];
        args.extend(options);
        script(&args);
        let url = fs::read_to_string(dir.join("amqp-url")).unwrap();
        Self {
            dir,
            url: url.trim().to_owned(),
            own: Some(own),
        }
    }

    /// kill -9.
    pub fn kill(&self) {
        assert!(self.own.is_some(), "other tests use this broker");
        script(&["kill", path(&self.dir)]);
    }

    /// Starts it again after [`Broker::kill`], with its data.
    pub fn start_again(&self) {
        script(&["start", path(&self.dir), "--watch-pid", &id().to_string()]);
    }

    /// Another user of this virtual host with these permissions (patterns of names); its address.
    pub fn user(&self, name: &str, [configure, write, read]: [&str; 3]) -> String {
        let vhost = self.url.rsplit('/').next().unwrap();
        let password = "other-password";
        let args = ["user", path(&self.dir), name, vhost, configure, write, read];
        crate::script_with_input("broker.sh", &args, password);
        let at = self.url.find('@').unwrap();
        format!("amqp://{name}:{password}{}", &self.url[at..])
    }

    /// The folder that `broker.sh` was given.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The server's log.
    pub fn log(&self) -> PathBuf {
        self.dir.join("log/broker.log")
    }

    /// The server's process.
    pub fn pid(&self) -> u32 {
        let pid = fs::read_to_string(self.dir.join("pid")).unwrap();
        pid.trim().parse().unwrap()
    }

    /// Runs rabbitmqctl.
    pub fn ctl(&self, args: &[&str]) -> String {
        let mut all = vec!["ctl", path(&self.dir)];
        all.extend(args);
        script(&all)
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

    /// Takes messages out of a queue and returns them, as consumers do that die over their work, until one whose body holds this
    /// text has been returned so often.
    pub fn return_unit(&self, queue: &str, text: &str, times: u32) {
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
            script(&["stop", path(&self.dir)]);
        }
    }
}

/// Three private nodes that are one cluster; stopped and deleted when this is dropped.
#[derive(Debug)]
pub struct Cluster {
    folder: TempDir,
}

impl Cluster {
    /// Starts one.
    pub fn private() -> Self {
        let cluster = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let (dir, pid) = (cluster.folder.path(), id().to_string());
        crate::script("cluster.sh", &["start", path(dir), "--watch-pid", &pid]);
        cluster
    }

    /// Address of a node, 1 to 3, for one of the pool's users, in the pool's virtual host.
    pub fn url(&self, node: u8, user: &str) -> String {
        pool_url(&self.node(node), user)
    }

    /// The same for who may do everything.
    pub fn admin_url(&self, node: u8) -> String {
        let url = pool_url(&self.node(node), "amqp");
        format!("{}/primepool", url.trim_end_matches("/%2f"))
    }

    /// The log of a node.
    pub fn log(&self, node: u8) -> PathBuf {
        self.node(node).join("log/broker.log")
    }

    /// Runs rabbitmqctl on a node.
    pub fn ctl(&self, node: u8, args: &[&str]) -> String {
        let dir = self.node(node);
        let mut all = vec!["ctl", path(&dir)];
        all.extend(args);
        script(&all)
    }

    /// kill -9 of a node.
    pub fn kill(&self, node: u8) {
        script(&["kill", path(&self.node(node))]);
    }

    /// Starts a node again after [`Cluster::kill`], with its data.
    pub fn start_again(&self, node: u8) {
        let pid = id().to_string();
        script(&["start", path(&self.node(node)), "--watch-pid", &pid]);
    }

    fn node(&self, node: u8) -> PathBuf {
        self.folder.path().join(node.to_string())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        crate::script("cluster.sh", &["stop", path(self.folder.path())]);
    }
}

fn pool_url(dir: &Path, user: &str) -> String {
    let url = fs::read_to_string(dir.join(format!("{user}-url"))).unwrap();
    url.trim().to_owned()
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

/// Publishes a body to an exchange of the virtual host at this address and waits for the broker's word.
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

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs `infra/local/broker.sh`; what it prints.
fn script(args: &[&str]) -> String {
    crate::script("broker.sh", args)
}
