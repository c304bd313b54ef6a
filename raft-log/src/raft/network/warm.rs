//! Connections for heartbeats that are made before there are heartbeats.
//!
//! Who is elected must be heard before those who elected it campaign again. Where round trips are long, a connection alone
//! takes that long to come up: one round trip for TCP, two to know each other. So a node that would be elected, as the
//! answers to its pre-votes say, begins its connections while it asks for the votes.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openraft::type_config::TypeConfigExt;
use tokio::time::Instant;

use crate::raft::network::net::TcpStream;
use crate::raft::type_config::TypeConfig;
use crate::types::NodeId;

/// An election is over by then; the connection is closed.
const FRESH: Duration = Duration::from_secs(2);

/// A connection, and since when it is there; locked while it comes up.
type Slot = Arc<tokio::sync::Mutex<Option<(Instant, TcpStream)>>>;

/// At most one connection for each peer.
#[derive(Default)]
pub(crate) struct Warm {
    slots: Mutex<BTreeMap<NodeId, Slot>>,
}

impl Warm {
    /// Begins a connection, unless one is there or comes up.
    pub(crate) fn begin(&self, target: NodeId, connect: impl Future<Output = Option<TcpStream>> + Send + 'static) {
        let slot = self.slot(target);
        let Ok(mut held) = slot.clone().try_lock_owned() else { return };
        if held.is_some() {
            return;
        }
        drop(TypeConfig::spawn(async move {
            let Some(stream) = connect.await else { return };
            let at = Instant::now();
            *held = Some((at, stream));
            drop(held);
            tokio::time::sleep(FRESH).await;
            slot.lock().await.take_if(|(since, _)| *since == at);
        }));
    }

    /// The connection, once it is up; `None` if none was begun, or it failed.
    pub(crate) async fn take(&self, target: NodeId) -> Option<TcpStream> {
        let slot = self.slot(target);
        let taken = slot.lock().await.take();
        taken.map(|(_, stream)| stream)
    }

    fn slot(&self, target: NodeId) -> Slot {
        self.slots.lock().expect("no holder of this lock panics").entry(target).or_default().clone()
    }
}
