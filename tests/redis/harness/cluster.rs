//! [`Cluster`]: three nodes that share all slots.

use redis::cmd;
use tokio::time::Duration;

use super::{eventually, server::Server};

const SLOTS: usize = 16_384;
const READY: Duration = Duration::from_secs(20);

pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Server>,
}

impl Cluster {
    pub(crate) async fn start() -> Option<Self> {
        let mut nodes = Vec::new();
        for _ in 0..3 {
            let settings = [
                ["--cluster-enabled", "yes"],
                ["--cluster-node-timeout", "2000"],
                // or all refuse everything while one is down
                ["--cluster-require-full-coverage", "no"],
            ];
            let settings = settings.concat();
            nodes.push(Server::start_with(&settings, None).await?);
        }
        for (index, node) in nodes.iter().enumerate() {
            let slots = SLOTS * index / 3..SLOTS * (index + 1) / 3;
            let mut add = cmd("CLUSTER");
            add.arg("ADDSLOTS").arg(slots.collect::<Vec<_>>());
            add.exec(&mut node.connect()).unwrap();
            node.send::<()>(&format!("CLUSTER SET-CONFIG-EPOCH {}", index + 1));
        }
        for node in &nodes[1..] {
            nodes[0].send::<()>(&format!("CLUSTER MEET 127.0.0.1 {}", node.port()));
        }
        let cluster = Self { nodes };
        cluster.is_whole().await;
        Some(cluster)
    }

    /// Waits until every node sees all slots.
    pub(crate) async fn is_whole(&self) {
        for node in &self.nodes {
            eventually("the Cluster is whole", READY, async || {
                let info = node.try_send::<String>("CLUSTER INFO");
                info.is_ok_and(|info| {
                    info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
                })
            })
            .await;
        }
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Server::url).collect()
    }
}
