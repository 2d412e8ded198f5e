//! [`Trio`]: a master, its replica, and the sentinel that watches them.

use tokio::time::Duration;

use super::{
    eventually,
    server::{Server, sentinel},
};

const READY: Duration = Duration::from_secs(15);

pub(crate) struct Trio {
    pub(crate) master: Server,
    pub(crate) replica: Server,
    pub(crate) sentinel: Server,
}

impl Trio {
    pub(crate) const MASTER_NAME: &str = "testmaster";

    pub(crate) async fn start() -> Option<Self> {
        let fast = ["--repl-diskless-sync-delay", "0"];
        let master = Server::start_with(&fast, None).await?;
        let of = format!("127.0.0.1 {}", master.port());
        let replica = Server::start_with(&["--replicaof", &of], None).await?;
        eventually("the replica follows", READY, async || {
            replica.tells("replication", "master_link_status:up")
        })
        .await;

        let name = Self::MASTER_NAME;
        let sentinel = sentinel(&format!(
            "sentinel monitor {name} {of} 1\n\
             sentinel down-after-milliseconds {name} 500\n\
             sentinel failover-timeout {name} 3000\n"
        ))
        .await;
        eventually("the sentinel knows the replica", READY, async || {
            sentinel.tells("sentinel", "status=ok") && sentinel.tells("sentinel", "slaves=1")
        })
        .await;
        Some(Self {
            master,
            replica,
            sentinel,
        })
    }
}
