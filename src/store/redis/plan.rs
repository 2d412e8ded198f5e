//! [`Plan`]: where Redis is, and how it is found there.

use std::fmt;
use std::time::Duration;

use redis::cluster::ClusterClient;
use redis::io::tcp::TcpSettings;
use redis::sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    RedisConnectionInfo, RedisResult, TlsMode,
};

use super::connection::Connection;
use crate::error::ConfigError;

/// How often a Cluster's client follows a redirection or a failed node within one operation.
const CLUSTER_RETRIES: u32 = 3;
/// Between two of those, in milliseconds: the least and the most.
const CLUSTER_WAIT: (u64, u64) = (10, 200);
/// After how long without an acknowledgement the kernel takes a connection for dead (`TCP_USER_TIMEOUT`), so that a machine that
/// vanished is noticed in seconds in place of a quarter of an hour.
#[cfg(target_os = "linux")]
const DEAD_AFTER: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(super) enum Plan {
    Node(ConnectionInfo),
    Sentinel {
        sentinels: Vec<ConnectionInfo>,
        master: String,
        login: RedisConnectionInfo,
    },
    Cluster(Vec<ConnectionInfo>),
}

impl Plan {
    pub(super) fn node(url: &str) -> Result<Self, ConfigError> {
        Ok(Self::Node(parse(url)?))
    }

    pub(super) fn sentinel(
        urls: impl IntoIterator<Item = impl AsRef<str>>,
        master: String,
    ) -> Result<Self, ConfigError> {
        Ok(Self::Sentinel {
            sentinels: parse_all(urls)?,
            master,
            login: RedisConnectionInfo::default(),
        })
    }

    pub(super) fn cluster(
        urls: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Self, ConfigError> {
        let nodes = parse_all(urls)?;
        let are_alike = nodes.iter().all(|node| is_alike(node, &nodes[0]));
        if !are_alike || ClusterClient::new(nodes.clone()).is_err() {
            return Err(ConfigError::new(
                "the URLs of a Redis Cluster name hosts, and agree in user, password, database and TLS",
            ));
        }
        Ok(Self::Cluster(nodes))
    }

    /// The same with another login at the nodes that hold the data.
    pub(super) fn log_in(self, user: &str, password: &str) -> Self {
        let set = |settings: &RedisConnectionInfo| {
            let settings = settings.clone().set_password(password);
            if user.is_empty() {
                settings
            } else {
                settings.set_username(user)
            }
        };
        let log_in = |info: ConnectionInfo| {
            let settings = set(info.redis_settings());
            info.set_redis_settings(settings)
        };
        match self {
            Self::Node(node) => Self::Node(log_in(node)),
            Self::Sentinel {
                sentinels,
                master,
                login,
            } => Self::Sentinel {
                login: set(&login),
                sentinels,
                master,
            },
            Self::Cluster(nodes) => Self::Cluster(nodes.into_iter().map(log_in).collect()),
        }
    }

    /// Connects. With each `turn` another sentinel is asked first: one that does not answer cannot use up the time of all.
    pub(super) async fn connect(&self, limit: Duration, turn: usize) -> RedisResult<Connection> {
        match self {
            Self::Node(node) => {
                let client = Client::open(node.clone().set_tcp_settings(tcp()))?;
                to_node(&client, limit).await
            }
            Self::Sentinel {
                sentinels,
                master,
                login,
            } => {
                let mut sentinels = sentinels.clone();
                let turn = turn % sentinels.len();
                sentinels.rotate_left(turn);
                let mut sentinels = SentinelClient::build(
                    sentinels.clone(),
                    master.clone(),
                    Some(master_settings(&sentinels, login)),
                    SentinelServerType::Master,
                )?;
                let client = sentinels.async_get_client().await?;
                to_node(&client, limit).await
            }
            Self::Cluster(nodes) => {
                // one node that hangs may take half of the time, so that there is some left for another
                let client = ClusterClient::builder(nodes.clone())
                    .retries(CLUSTER_RETRIES)
                    .min_retry_wait(CLUSTER_WAIT.0)
                    .max_retry_wait(CLUSTER_WAIT.1)
                    .connection_timeout(limit / 2)
                    .response_timeout(limit / 2)
                    .overall_response_timeout(Some(limit))
                    .tcp_settings(tcp())
                    .build()?;
                Ok(Connection::Cluster(client.get_async_connection().await?))
            }
        }
    }
}

async fn to_node(client: &Client, limit: Duration) -> RedisResult<Connection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(limit))
        .set_response_timeout(Some(limit));
    let connection = client
        .get_multiplexed_async_connection_with_config(&config)
        .await?;
    Ok(Connection::Node(connection))
}

/// Whether two nodes of a Cluster are reached in the same way: the client takes what it needs to know from the first.
fn is_alike(one: &ConnectionInfo, other: &ConnectionInfo) -> bool {
    let (mine, theirs) = (one.redis_settings(), other.redis_settings());
    mine.username() == theirs.username()
        && mine.password() == theirs.password()
        && mine.db() == theirs.db()
        && has_tls(one) == has_tls(other)
}

fn has_tls(info: &ConnectionInfo) -> bool {
    matches!(info.addr(), ConnectionAddr::TcpTls { .. })
}

/// The master is reached with TLS if its sentinels are.
fn master_settings(
    sentinels: &[ConnectionInfo],
    login: &RedisConnectionInfo,
) -> SentinelNodeConnectionInfo {
    let settings = SentinelNodeConnectionInfo::default()
        .set_redis_connection_info(login.clone())
        .set_tcp_settings(tcp());
    if sentinels.iter().any(has_tls) {
        settings.set_tls_mode(TlsMode::Secure)
    } else {
        settings
    }
}

fn tcp() -> TcpSettings {
    let settings = TcpSettings::default().set_nodelay(true);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(DEAD_AFTER);
    settings
}

fn parse_all(
    urls: impl IntoIterator<Item = impl AsRef<str>>,
) -> Result<Vec<ConnectionInfo>, ConfigError> {
    let parsed = urls
        .into_iter()
        .map(|url| parse(url.as_ref()))
        .collect::<Result<Vec<_>, _>>()?;
    if parsed.is_empty() {
        return Err(ConfigError::new("no Redis URL was given"));
    }
    Ok(parsed)
}

/// Errors leave the URL out, since it may hold a password.
fn parse(url: &str) -> Result<ConnectionInfo, ConfigError> {
    let info = url.into_connection_info().map_err(|_| {
        ConfigError::new(
            "this is no Redis URL; one looks like redis://user:password@host:6379/0 or unix:///path",
        )
    })?;
    if !info.addr().is_supported() {
        return Err(ConfigError::new(
            "TLS to Redis (`rediss://`) needs a TLS feature of the crate `redis`, such as `tokio-rustls-comp`",
        ));
    }
    Ok(info)
}

/// Addresses only.
impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses = |nodes: &[ConnectionInfo]| -> Vec<String> {
            nodes.iter().map(|node| node.addr().to_string()).collect()
        };
        match self {
            Self::Node(node) => write!(f, "Node({})", node.addr()),
            Self::Sentinel {
                sentinels, master, ..
            } => write!(f, "Sentinel({master} by {:?})", addresses(sentinels)),
            Self::Cluster(nodes) => write!(f, "Cluster({:?})", addresses(nodes)),
        }
    }
}
