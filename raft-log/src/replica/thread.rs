//! The thread that runs openraft and the network of one replica.
//!
//! It has a runtime of its own: whatever the process does beside it, heartbeats leave and votes are answered in time
//! (hazards 12). Everything on it ends when it is told to stop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use openraft::type_config::TypeConfigExt;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::raft::log_store::LogStore;
use crate::raft::network::link::LinkFactory;
use crate::raft::network::peers::Peers;
use crate::raft::network::server;
use crate::raft::state_adapter::StateAdapter;
use crate::raft::type_config::{RaftCore, TypeConfig};
use crate::replica::OpenError;
use crate::replica::status_task::StatusTask;
use crate::types::NodeId;

/// Blocking reads of old entries may still run when the thread ends; they are waited for this long.
const BLOCKING_READS_END: Duration = Duration::from_secs(1);

/// What the thread is started with.
pub(crate) struct CoreParts {
    pub(crate) node_id: NodeId,
    pub(crate) config: openraft::Config,
    pub(crate) listener: std::net::TcpListener,
    pub(crate) peers: Arc<Peers>,
    pub(crate) store: LogStore,
    pub(crate) state: StateAdapter,
    pub(crate) status: StatusTask,
}

/// The running thread.
pub(crate) struct CoreThread {
    pub(crate) stop: CancellationToken,
    pub(crate) joiner: JoinHandle<()>,
}

/// Binds the peer port; it is taken over by the thread.
pub(crate) fn bind(address: SocketAddr) -> Result<std::net::TcpListener, OpenError> {
    let listen = |source| OpenError::Listen { address, source };
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None);
    let socket = socket.map_err(listen)?;
    // A restarted node takes its port back while old connections are still in TIME_WAIT.
    socket.set_reuse_address(true).map_err(listen)?;
    socket.bind(&address.into()).map_err(listen)?;
    socket.listen(LISTEN_BACKLOG).map_err(listen)?;
    Ok(socket.into())
}

/// Connections that may wait to be accepted.
const LISTEN_BACKLOG: i32 = 128;

/// Starts openraft on a thread of its own.
pub(crate) async fn start(parts: CoreParts) -> Result<(RaftCore, CoreThread), OpenError> {
    let stop = CancellationToken::new();
    let (started, starting) = oneshot::channel();
    let name = format!("raft-{}", parts.node_id);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| OpenError::Raft(error.to_string()))?;
    let run = {
        let stop = stop.clone();
        move || {
            runtime.block_on(async move {
                match launch(parts, stop.clone()).await {
                    Ok(raft) => {
                        // The opener may be gone; then the token is dropped or cancelled soon.
                        drop(started.send(Ok(raft)));
                        stop.cancelled().await;
                    }
                    Err(error) => drop(started.send(Err(error))),
                }
            });
            runtime.shutdown_timeout(BLOCKING_READS_END);
        }
    };
    let spawned = std::thread::Builder::new().name(name).spawn(run);
    let joiner = spawned.map_err(|error| OpenError::Raft(error.to_string()))?;
    let raft = starting.await.map_err(|_| OpenError::Raft("its thread ended at once".to_owned()))??;
    Ok((raft, CoreThread { stop, joiner }))
}

async fn launch(parts: CoreParts, stop: CancellationToken) -> Result<RaftCore, OpenError> {
    let listener = adopt(parts.listener).map_err(|error| OpenError::Raft(error.to_string()))?;
    let links = LinkFactory::new(parts.peers.clone());
    let raft = RaftCore::build(parts.node_id, Arc::new(parts.config), links, parts.store, parts.state)
        .await
        .map_err(|fatal| OpenError::Raft(fatal.to_string()))?;
    parts.peers.follow(raft.server_metrics());
    raft.run();
    drop(TypeConfig::spawn(server::serve(listener, parts.peers, raft.clone(), stop)));
    drop(TypeConfig::spawn(parts.status.run(raft.clone())));
    Ok(raft)
}

fn adopt(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}
