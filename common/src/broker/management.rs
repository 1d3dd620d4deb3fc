//! Figures about queues and nodes that only the broker's management API provides.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use reqwest::{Client, Url};
use serde::Deserialize;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};
use tracing::warn;

use crate::{
    http,
    text::{has_at_after_host, json_error, reason},
    tls::TlsFiles,
};

/// Longest time for a response.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Longest response that is read, in bytes. Normal responses are a few kilobytes.
const LONGEST_ANSWER: usize = 4 << 20;

/// Interval at which the broker updates its figures.
const EVERY: Duration = Duration::from_secs(5);

/// Figures of a queue that AMQP does not provide.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QueueFigures {
    /// Messages delivered and not yet acknowledged.
    pub unacked: u64,
    /// Messages published per second.
    pub publish_rate: f64,
    /// Messages delivered per second.
    pub deliver_rate: f64,
}

impl QueueFigures {
    /// Reads the API's response about a queue. A missing figure counts as 0: the API omits rates
    /// that are zero.
    ///
    /// # Errors
    /// The response has another form; the error says why, in short.
    pub fn read(body: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Queue {
            #[serde(default)]
            messages_unacknowledged: u64,
            #[serde(default)]
            message_stats: Stats,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Stats {
            publish_details: Details,
            deliver_get_details: Details,
        }
        #[derive(Default, Deserialize)]
        struct Details {
            rate: f64,
        }

        let queue: Queue = serde_json::from_slice(body)
            .map_err(|error| format!("an answer that cannot be read: {}", json_error(&error)))?;
        Ok(Self {
            unacked: queue.messages_unacknowledged,
            publish_rate: queue.message_stats.publish_details.rate,
            deliver_rate: queue.message_stats.deliver_get_details.rate,
        })
    }
}

/// A node of the broker and its active alarms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerNode {
    /// Name of the node, such as `rabbit@head`.
    pub name: String,
    /// Whether the node runs.
    pub is_running: bool,
    /// Whether publishers are blocked because the node is short of memory.
    pub has_memory_alarm: bool,
    /// Whether publishers are blocked because the node is short of disk space.
    pub has_disk_alarm: bool,
}

impl BrokerNode {
    /// Reads the API's response about the broker's nodes.
    ///
    /// # Errors
    /// The response has another form; the error says why, in short.
    pub fn read_all(body: &[u8]) -> Result<Vec<Self>, String> {
        #[derive(Deserialize)]
        struct Node {
            name: String,
            #[serde(default)]
            running: bool,
            #[serde(default)]
            mem_alarm: bool,
            #[serde(default)]
            disk_free_alarm: bool,
        }

        let nodes: Vec<Node> = serde_json::from_slice(body)
            .map_err(|error| format!("an answer that cannot be read: {}", json_error(&error)))?;
        let read = |node: Node| Self {
            name: reason(&node.name),
            is_running: node.running,
            has_memory_alarm: node.mem_alarm,
            has_disk_alarm: node.disk_free_alarm,
        };
        Ok(nodes.into_iter().map(read).collect())
    }
}

/// The management API of a broker, with the user and the virtual host of its AMQP address.
#[derive(Clone)]
pub struct Management {
    client: Client,
    url: Url,
    user: String,
    password: String,
    vhost: String,
    /// The last failure that was logged, until it is over. While the API is down, the requests for
    /// all queues fail alike.
    told: Arc<Mutex<Option<ManagementError>>>,
}

/// An error of the management API.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the management API at {url}: {reason}")]
pub struct ManagementError {
    url: String,
    reason: String,
}

impl Management {
    /// Creates a client without sending a request. `url` is `http://HOST:PORT` or `https://…`, with
    /// a path if a proxy adds one.
    ///
    /// # Errors
    /// The URL is invalid or contains a password, or `tls` cannot be used. The error never repeats
    /// the URL.
    pub fn new(
        url: &str,
        user: &str,
        password: &str,
        vhost: &str,
        tls: &TlsFiles,
    ) -> Result<Self, String> {
        let wrong = |reason: &str| {
            Err(format!(
                "--management-url {reason}: write http://HOST:15672; user and password are those of the AMQP address"
            ))
        };
        if has_at_after_host(url) {
            return wrong("holds a user or a password");
        }
        let Ok(mut url) = Url::parse(url.trim()) else {
            return wrong("is not an address");
        };
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return wrong("does not start with http:// or https://");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return wrong("holds a user or a password");
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(Self {
            client: http::client(&url, TIMEOUT, tls)?,
            url,
            user: user.to_owned(),
            password: password.to_owned(),
            vhost: vhost.to_owned(),
            told: Arc::default(),
        })
    }

    /// The figures of a queue.
    ///
    /// # Errors
    /// The API cannot be reached or refuses the request, or the queue does not exist.
    pub async fn queue(&self, queue: &str) -> Result<QueueFigures, ManagementError> {
        let body = self.get(&["queues", &self.vhost, queue]).await?;
        QueueFigures::read(&body).map_err(|reason| self.error(reason))
    }

    /// The nodes of the broker and their alarms.
    ///
    /// # Errors
    /// The API cannot be reached, or the user lacks the tag `monitoring`.
    pub async fn nodes(&self) -> Result<Vec<BrokerNode>, ManagementError> {
        let body = self.get(&["nodes"]).await?;
        BrokerNode::read_all(&body).map_err(|reason| self.error(reason))
    }

    fn error(&self, reason: String) -> ManagementError {
        ManagementError {
            url: self.url.to_string(),
            reason,
        }
    }

    /// The body of the response to a request for this path below `/api`.
    async fn get(&self, path: &[&str]) -> Result<Vec<u8>, ManagementError> {
        let error = |reason: String| self.error(reason);
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("api").extend(path);
        }
        let answer = self
            .client
            .get(url)
            .basic_auth(&self.user, Some(&self.password))
            .send()
            .await
            .map_err(|e| error(http::describe(e)))?;
        if !answer.status().is_success() {
            let hint = match answer.status().as_u16() {
                300..=399 => " (a redirection: write the address that it leads to)",
                401 | 403 => " (the user needs the tag monitoring or management)",
                _ => "",
            };
            return Err(error(format!("{}{hint}", answer.status())));
        }
        http::body(answer, LONGEST_ANSWER)
            .await
            .map_err(error)?
            .ok_or_else(|| error(format!("an answer of more than {LONGEST_ANSWER} bytes")))
    }
}

impl Management {
    /// Requests the figures of a queue as often as the broker updates them, as long as the receiver
    /// lives. The value is `None` while there is no response. The first of several failures in a
    /// row is logged, once for all queues.
    #[must_use]
    pub fn follow(&self, queue: String) -> watch::Receiver<Option<QueueFigures>> {
        let (figures, receiver) = watch::channel(None);
        let api = self.clone();
        tokio::spawn(async move {
            let mut failed = false;
            let mut tick = interval(EVERY);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = tick.tick() => {}
                    () = figures.closed() => return,
                }
                let answer = api.queue(&queue).await;
                match &answer {
                    Err(error) if !failed => api.tell(error),
                    Ok(_) if failed => drop(api.told().take()),
                    _ => {}
                }
                failed = answer.is_err();
                figures.send_replace(answer.ok());
            }
        });
        receiver
    }

    /// Logs a failure as a warning, unless it equals the last one that was logged.
    fn tell(&self, error: &ManagementError) {
        let mut told = self.told();
        if told.as_ref() != Some(error) {
            warn!(%error, "metrics lack unacknowledged messages and rates");
            *told = Some(error.clone());
        }
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Option<ManagementError>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Management {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Management({})", self.url)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_that_cannot_be_used_are_not_repeated() {
        for url in [
            "s3cr3t",
            "amqp://broker:5672/s3cr3t",
            "http://u:s3cr3t@broker:15672",
            "http://u:12/s3cr3t@broker",
        ] {
            let error = Management::new(url, "u", "p", "/", &TlsFiles::default()).unwrap_err();
            assert!(
                !error.contains("s3cr3t") && error.contains("15672"),
                "{error}"
            );
        }
    }

    #[test]
    fn alarms_of_nodes_are_read() {
        let body = br#"[{"name":"rabbit@a","running":true,"mem_alarm":true,"disk_free_alarm":false,"uptime":1},
            {"name":"rabbit@\u001bb","running":false}]"#;
        let nodes = BrokerNode::read_all(body).unwrap();
        assert!(nodes[0].is_running && nodes[0].has_memory_alarm && !nodes[0].has_disk_alarm);
        assert!(!nodes[1].is_running && nodes[1].name == "rabbit@ b");
        assert!(BrokerNode::read_all(b"{}").unwrap_err().contains("cannot"));
    }

    #[test]
    fn the_password_is_not_shown() {
        let api = Management::new(
            "http://broker:15672",
            "u",
            "s3cr3t",
            "/",
            &TlsFiles::default(),
        )
        .unwrap();
        assert_eq!(format!("{api:?}"), "Management(http://broker:15672/)");
    }
}
