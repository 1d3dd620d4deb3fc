use lapin::ErrorKind;

/// An error of the broker or of the connection to it. Each message ends with what to do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BrokerError {
    /// Nothing answers at the address.
    #[error(
        "cannot reach the broker at {broker}: {reason}. Is RabbitMQ running there? \
         Check --amqp-url (PRIMEPOOL_AMQP_URL)"
    )]
    Unreachable {
        /// Address of the broker, without the password.
        broker: String,
        /// Reason given by the operating system.
        reason: String,
    },
    /// The server at the address does not speak AMQP.
    #[error(
        "the server at {broker} does not speak AMQP. If the port uses TLS, write a URL that starts \
         with amqps://; otherwise check host and port in --amqp-url (PRIMEPOOL_AMQP_URL)"
    )]
    NotAmqp {
        /// Address of the broker, without the password.
        broker: String,
    },
    /// The TLS handshake failed.
    #[error(
        "TLS handshake with the broker at {broker} failed: {reason}. Check the scheme (amqp:// or \
         amqps://), --tls-ca, --tls-cert and --tls-key"
    )]
    Tls {
        /// Address of the broker, without the password.
        broker: String,
        /// Reason given by the TLS library.
        reason: String,
    },
    /// The user name or the password is wrong.
    #[error(
        "the broker at {broker} refused the login: wrong user name or password in --amqp-url \
         (PRIMEPOOL_AMQP_URL)"
    )]
    LoginRefused {
        /// Address of the broker, without the password.
        broker: String,
    },
    /// The virtual host does not exist, or this user may not access it.
    #[error(
        "the broker at {broker} refused access to the virtual host {vhost:?}: {reason}. Create it \
         (rabbitmqctl add_vhost) and grant permissions (rabbitmqctl set_permissions), or name \
         another virtual host at the end of --amqp-url"
    )]
    Vhost {
        /// Address of the broker, without the password.
        broker: String,
        /// Name of the virtual host.
        vhost: String,
        /// Reason given by the broker.
        reason: String,
    },
    /// The user lacks a permission in the virtual host.
    #[error(
        "the user lacks a permission on the broker: {reason}. Grant it (rabbitmqctl \
         set_permissions) or use another user"
    )]
    NotPermitted {
        /// Reason given by the broker; it names the exchange or the queue.
        reason: String,
    },
    /// A queue or an exchange of this name exists with different arguments.
    #[error(
        "a queue or exchange exists with different arguments: {reason}. Delete it once it is empty \
         (rabbitmqctl delete_queue NAME), or use another virtual host"
    )]
    OtherArguments {
        /// Reason given by the broker; it names the queue and the argument.
        reason: String,
    },
    /// A limit of the broker or of the virtual host is reached. This may be temporary.
    #[error(
        "a limit of the broker is reached: {reason}. Each producer and consumer needs two \
         connections, and each run needs a queue. Raise the limit (rabbitmqctl set_vhost_limits, \
         set_user_limits) or stop other programs"
    )]
    Limit {
        /// Reason given by the broker; it names the limit.
        reason: String,
    },
    /// A message is larger than the broker accepts.
    #[error(
        "a message is larger than the broker accepts: {reason}. Raise max_message_size in \
         rabbitmq.conf, or make the units smaller (--unit-size)"
    )]
    MessageSize {
        /// Reason given by the broker; it names both sizes.
        reason: String,
    },
    /// A required queue or exchange does not exist.
    #[error("a queue or exchange does not exist: {reason}")]
    NotFound {
        /// Reason given by the broker.
        reason: String,
    },
    /// The connection ended, or the broker aborted an operation.
    #[error("the session with the broker ended: {reason}")]
    Lost {
        /// Reason given by lapin.
        reason: String,
    },
}

impl BrokerError {
    /// Whether a retry cannot succeed until the operator changes the settings of this program or of
    /// the broker.
    #[must_use]
    pub fn needs_operator(&self) -> bool {
        match self {
            Self::LoginRefused { .. }
            | Self::Vhost { .. }
            | Self::NotPermitted { .. }
            | Self::OtherArguments { .. }
            | Self::MessageSize { .. }
            | Self::Tls { .. }
            | Self::NotAmqp { .. } => true,
            Self::Limit { .. }
            | Self::Unreachable { .. }
            | Self::NotFound { .. }
            | Self::Lost { .. } => false,
        }
    }

    /// Classifies an error of an open connection or channel.
    #[must_use]
    pub fn from_session(error: &lapin::Error) -> Self {
        let reason = |text: String| text.trim_end_matches('.').to_owned();
        if let ErrorKind::ProtocolError(amqp) = error.kind() {
            let text = reason(amqp.get_message().to_string());
            return match amqp.get_id() {
                _ if is_limit(&text) => Self::Limit { reason: text },
                406 if text.contains("message size") => Self::MessageSize { reason: text },
                403 => Self::NotPermitted { reason: text },
                // A classic queue whose cluster node is down: it comes back with its messages.
                404 if text.contains("down or inaccessible") => Self::Lost { reason: text },
                404 => Self::NotFound { reason: text },
                406 if text.contains("timed out") => Self::Lost {
                    reason: format!(
                        "a unit was not acknowledged within the broker's consumer_timeout. The \
                         work on it continues, but other consumers may start it too: raise \
                         consumer_timeout in rabbitmq.conf ({text})"
                    ),
                },
                406 if text.contains("inequivalent") => Self::OtherArguments { reason: text },
                501 if text.contains("frame too large") => Self::Lost {
                    reason: format!(
                        "{text}. A message has headers larger than frame_max of this connection: \
                         set frame_max = 16384 in rabbitmq.conf, as \
                         infra/rabbitmq/primepool.conf does, and the broker rejects such \
                         messages. To receive this one, add ?frame_max=131072 to --amqp-url"
                    ),
                },
                _ => Self::Lost { reason: text },
            };
        }
        Self::Lost {
            reason: reason(error.to_string()),
        }
    }
}

/// Whether an error text of RabbitMQ names a limit of connections, channels or queues: `connection
/// limit (1) is reached`, `queue limit in vhost 'x' (3) is reached`.
pub(super) fn is_limit(text: &str) -> bool {
    text.contains("limit") && text.contains("is reached")
}

impl From<lapin::Error> for BrokerError {
    fn from(error: lapin::Error) -> Self {
        Self::from_session(&error)
    }
}
