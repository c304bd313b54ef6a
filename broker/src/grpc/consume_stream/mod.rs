//! `tercet.client.v1.ConsumeService`: deliveries pushed against credit, and what becomes of them sent up, on one stream.
//!
//! ```text
//!              ┌ requests: Credit ─► flow ─► push: receives in flight ─► picks ─► batches ─┐
//!   client ────┤                       ▲ what has arrived                                  ├─► outgoing ─► client
//!              └ requests: Settle ─► settle: one Ack command for each, changes ────────────┘
//!   watch: leadership, stop, deletion, a client that went ─► the stream is over, for one reason
//!   over: receives in flight come to their end; what has not arrived is given back; End
//! ```
//! Who may consume for a group may settle its deliveries, so they are named by plain references here and not by sealed
//! handles. Memory of one stream: a few batches on their way out, and a reference for each message that is not confirmed.

mod end;
mod flow;
mod open;
mod outgoing;
mod push;
mod requests;
mod settle;
mod watch;
mod wire;

use std::{sync::Arc, time::Duration};

use tercet_proto::client::v1::{ConsumeRequest, EndReason};
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};

pub use self::wire::ConsumeServer;

use self::{
    end::Ending,
    open::Opened,
    outgoing::{Answers, Outgoing},
};
use super::{caller::Caller, node::Node};
use crate::{
    consume::{Delivered, GOODBYE_FOR, Wanted, millis},
    listen::Load,
    model::GroupName,
    state::RenewLeases,
};

/// How long giving back may delay the end of a stream.
const GIVE_BACK_WITHIN: Duration = Duration::from_secs(2);

/// Consuming over kept streams.
#[derive(Clone)]
pub struct Consuming {
    node: Arc<Node>,
}

impl Consuming {
    /// Serves this node.
    pub fn new(node: Arc<Node>) -> Consuming {
        Consuming { node }
    }

    /// Answers the RPC.
    fn consume(&self, request: Request<Streaming<ConsumeRequest>>) -> Result<Response<Answers>, Status> {
        let (headers, extensions, requests) = request.into_parts();
        let caller = Caller::of(&headers).map_err(|refusal| Status::invalid_argument(refusal.message))?;
        let connection = extensions.get::<Arc<Load>>().map(Arc::clone);
        let (out, answers) = outgoing::channel();
        tokio::spawn(serve(Arc::clone(&self.node), caller, connection, requests, out));
        Ok(Response::new(answers))
    }
}

/// What the parts of one stream share.
struct Session {
    node: Arc<Node>,
    /// What each receive asks for, but for how much.
    wanted: Wanted,
    of: Delivered,
    group: GroupName,
    connection: Option<Arc<Load>>,
    flow: flow::Flow,
    out: Outgoing,
    ending: Ending,
}

async fn serve(
    node: Arc<Node>,
    caller: Caller,
    connection: Option<Arc<Load>>,
    mut requests: Streaming<ConsumeRequest>,
    mut out: Outgoing,
) {
    let last = out.keep_room_for_the_end();
    let opened = open::open(&node, &caller, &mut requests).await;
    let Opened { wanted, of, group, term, credit, lease } = match opened {
        Ok(opened) => opened,
        Err(end) => return last.say(end),
    };
    let flow = flow::Flow::new(&credit);
    let session = Session { node, wanted, of, group, connection, flow, out, ending: Ending::default() };
    if session.say_opened().await.is_ok() {
        tokio::join!(session.push(), session.read(requests), session.watch(term));
    }
    // Nothing is renewed from here on: silence alone would take a while to tell.
    if lease.is_some() {
        drop(lease);
        let _ = session.node.sessions.terminate(session.wanted.auto_renew);
    }
    let end = session.ending.take();
    if end.reason() != EndReason::NotLeader {
        let given_back = timeout(GIVE_BACK_WITHIN, session.give_back_what_has_not_arrived());
        let (given_back, ()) = tokio::join!(given_back, session.end_lease(end.reason()));
        if given_back.is_err() {
            tracing::debug!(group = %session.group, "not all of a stream was given back; it returns after its time");
        }
    }
    last.say(end);
}

impl Session {
    /// What a client that says goodbye still holds comes back soon; of one that was cut off, when the lease has run out.
    async fn end_lease(&self, reason: EndReason) {
        if self.wanted.auto_renew.is_none() || reason != EndReason::Finished {
            return;
        }
        let clients = vec![self.wanted.auto_renew];
        let shorten = RenewLeases { clients, invisible_ms: millis(GOODBYE_FOR), shorten: true };
        if let Ok(Err(error)) = timeout(GIVE_BACK_WITHIN, self.node.batcher.submit(shorten.encode())).await {
            tracing::debug!(%error, "the lease of a stream was not shortened; it ends by itself");
        }
    }
}
