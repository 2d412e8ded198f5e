//! [`Connection`]: one that many operations share.

use redis::aio::MultiplexedConnection;
use redis::cluster_async::ClusterConnection;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, ServerErrorKind};

use super::command::Command;

/// A connection to one node, or those to the nodes of a Cluster. Clones are the same connection.
#[derive(Clone)]
pub(super) enum Connection {
    Node(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    pub(super) async fn send<T: FromRedisValue>(&mut self, command: &Command) -> RedisResult<T> {
        let answer = self.query(&command.command).await;
        match (&answer, &command.in_full) {
            // a server that was restarted has forgotten the script
            (Err(error), Some(in_full))
                if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) =>
            {
                self.query(in_full).await
            }
            _ => answer,
        }
    }

    async fn query<T: FromRedisValue>(&mut self, command: &Cmd) -> RedisResult<T> {
        match self {
            Self::Node(node) => command.query_async(node).await,
            Self::Cluster(cluster) => command.query_async(cluster).await,
        }
    }

    /// Whether one slow node says little about the others.
    pub(super) fn has_other_nodes(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// Whether this connection is of no use after that error: it broke, or its node is not the master any more.
    pub(super) fn is_lost(&self, error: &RedisError) -> bool {
        match self {
            Self::Node(_) => {
                let is_demoted = matches!(
                    error.kind(),
                    ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
                );
                is_demoted || error.is_io_error() || error.is_unrecoverable_error()
            }
            // it reconnects to single nodes by itself, and would have to find all of them again
            Self::Cluster(_) => {
                error.kind() == ErrorKind::ClusterConnectionNotFound
                    || (error.is_connection_dropped() && !error.is_connection_refusal())
            }
        }
    }
}
