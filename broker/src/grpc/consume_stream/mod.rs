//! `tercet.client.v1.ConsumeService`: deliveries pushed against credit, and what becomes of them sent up, on one stream.
//!
//! ```text
//!              ┌ requests: Credit ─► flow ─► push: receives in flight ─► picks ─► batches ─┐
//!   client ────┤                       ▲ what has arrived                                  ├─► outgoing ─► client
//!              └ requests: Settle ─► settle: one Ack command for each, changes ────────────┘
//!   watch: leadership, stop, deletion, a client that went ─► the stream is over, for one reason
//!   over: receives in flight come to their end; batches that have not left are withdrawn and given back; End;
//!         what has left and is not confirmed when the client has heard of the end is given back
//!         (a node that leads no longer, or stops, can give nothing back: there everything is sent)
//! ```
//! Who may consume for a group may settle its deliveries, so they are named by plain references here and not by sealed
//! handles. Memory of one stream: a few batches on their way out, and a reference for each message that is not confirmed.
//! Both are bounded for all streams together: who holds something that he does not read loses it when others need the room,
//! and who would hold too many references waits.

mod end;
mod flow;
mod open;
mod outgoing;
mod push;
mod references;
mod requests;
mod session;
mod settle;
mod streams;
mod watch;
mod wire;

use std::{sync::Arc, time::Duration};

use tercet_proto::client::v1::{ConsumeRequest, EndReason};
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};

pub(super) use self::streams::Streams;
pub use self::wire::ConsumeServer;

use self::{
    end::Ending,
    open::Opened,
    outgoing::{Answers, Last, Outgoing},
    push::Left,
    session::Session,
};
use super::{caller::Caller, node::Node, presence, sessions::OpenStream};
use crate::listen::Load;

/// How long giving back may delay the end of a stream; it goes on behind it.
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
        let (out, last, answers) = outgoing::channel();
        tokio::spawn(serve(Arc::clone(&self.node), caller, connection, requests, (out, last)));
        Ok(Response::new(answers))
    }
}

async fn serve(
    node: Arc<Node>,
    caller: Caller,
    connection: Option<Arc<Load>>,
    mut requests: Streaming<ConsumeRequest>,
    (out, last): (Outgoing, Last),
) {
    let opened = open::open(&node, &caller, &mut requests).await;
    let Opened { wanted, of, group, term, credit, lease, joined } = match opened {
        Ok(opened) => opened,
        Err(end) => return last.say(end),
    };
    let flow = flow::Flow::new(&credit, node.streams.references.clone());
    let session = Session { node, wanted, of, group, connection, flow, out, ending: Ending::default() };
    let mut left = Left::default();
    if session.say_opened().await.is_ok() {
        (left, (), ()) = tokio::join!(session.push(), session.read(&mut requests), session.watch(term));
    }
    drop(joined);
    session.finish(requests, lease, last, left).await;
}

impl Session {
    /// Whether a delivery is the client's or comes again is decided for each batch, once: what has not left is withdrawn and
    /// given back, what has left is the client's, unless it does not confirm it when it has read the end, or has gone.
    async fn finish(&self, requests: Streaming<ConsumeRequest>, lease: Option<OpenStream>, last: Last, mut left: Left) {
        let end = self.ending.take();
        let reason = end.reason();
        // Nothing is renewed from here on, unless by another stream of the session: silence alone would take a while to tell.
        let session_ended = lease.is_some_and(OpenStream::leave);
        if matches!(reason, EndReason::NotLeader | EndReason::Stopping) {
            // The next leader takes what is said of these deliveries, and nothing can be given back here. All of it is sent, as
            // long as the client reads.
            last.say(end);
            let heard = async {
                tokio::select! {
                    () = self.hear_out(requests) => {}
                    () = self.is_not_read() => drop(self.out.cut()),
                }
            };
            // A command without an outcome ends a stream as well, and then this may do.
            tokio::join!(self.put_back(&left), heard);
            return;
        }
        let has_left = self.out.cut();
        // Who says goodbye wants nothing more, who has gone gets nothing, and who never says what arrived says nothing now. By the
        // reason a client knows that what it has not confirmed may be at another.
        let wants_nothing = match reason {
            EndReason::Finished | EndReason::Unspecified => true,
            reason => reason == EndReason::Overloaded && self.flow.crowds_others(),
        };
        left.back.extend(self.flow.take_behind(if wants_nothing { 0 } else { has_left }));
        let given_back = async {
            // What a client that says goodbye still holds comes back soon; of one that was cut off, when the lease has run out.
            let shortened = async {
                if session_ended && reason == EndReason::Finished {
                    let _ =
                        timeout(GIVE_BACK_WITHIN, presence::stop_renewing(&self.node, self.wanted.auto_renew)).await;
                }
            };
            tokio::join!(self.put_back(&left), shortened);
        };
        let mut given_back = std::pin::pin!(given_back);
        let in_time = timeout(GIVE_BACK_WITHIN, &mut given_back).await.is_ok();
        last.say(end);
        let rest = async {
            if !in_time {
                given_back.await;
            }
        };
        tokio::join!(rest, self.give_back_what_does_not_arrive(requests));
    }
}
