//! The first request of a stream: checked, and turned into what each of its receives asks for.

use std::{sync::Arc, time::Duration};

use raft_log::types::Term;
use tercet_proto::{
    client::v1::{ConsumeRequest, Credit, End, Open, Opened as Answer, consume_answer, consume_request::Content},
    rocketmq::v2::{Code, FilterExpression, FilterType, Resource},
};
use tokio::time::{Instant, timeout};
use tonic::Streaming;

use super::{
    super::{
        caller::Caller,
        consumers::Joined,
        filter, groups, names,
        node::Node,
        receive_check::{INVISIBLE_MILLIS_MAX, INVISIBLE_MILLIS_MIN},
        receive_items::Gone,
        refusal::Refusal,
        sessions::OpenStream,
        unary::{FIND_LEADER_MAX, Refused},
    },
    end,
    session::Session,
};
use crate::{
    consume::{Delivered, RENEWED_FOR, Wanted, millis},
    forward::{Line, Place},
    model::{AttemptKey, ClientKey, GroupName, TagFilter, TopicName},
    state::UnknownName,
};

/// A stream on which nothing is asked for is ended after this time.
const OPEN_WITHIN: Duration = Duration::from_secs(10);
/// What a stream holds while it waits for a leader.
const OPEN_BYTES: usize = 1024;
/// Bytes of a session's name.
const SESSION_BYTES_MAX: usize = 64;

/// A stream that may begin.
pub(super) struct Opened {
    pub(super) wanted: Wanted,
    pub(super) of: Delivered,
    pub(super) group: GroupName,
    /// The leadership that it lives in.
    pub(super) term: Term,
    pub(super) credit: Credit,
    /// What is delivered on it is renewed while this is held.
    pub(super) lease: Option<OpenStream>,
    /// Says who consumes, until it is dropped.
    pub(super) joined: Joined,
}

/// What can be said of a request without state.
struct Draft {
    topic: TopicName,
    group: GroupName,
    filter: TagFilter,
    invisible_ms: u64,
    lease: ClientKey,
}

/// Reads the first request and looks up what it names, on the leader.
pub(super) async fn open(
    node: &Arc<Node>,
    caller: &Caller,
    requests: &mut Streaming<ConsumeRequest>,
) -> Result<Opened, End> {
    let first = tokio::select! {
        first = timeout(OPEN_WITHIN, requests.message()) => first,
        () = node.stop.cancelled() => return Err(end::stopping()),
    };
    let Ok(Ok(Some(ConsumeRequest { content: Some(Content::Open(open)) }))) = first else {
        return Err(end::bad_request("a stream begins with Open"));
    };
    let draft = check(&open, caller).map_err(end::refused)?;
    let leadership = node.relay.leadership();
    let find_until = Instant::now() + FIND_LEADER_MAX;
    let term = tokio::select! {
        place = leadership.find(false, (OPEN_BYTES, Line::Receives), find_until) => match place {
            Some(Place::Here) => leadership.term(),
            Some(Place::At { .. }) | None => return Err(end::not_leader(node)),
        },
        () = node.stop.cancelled() => return Err(end::stopping()),
    };
    let topic = node.state.topic(draft.topic.as_str()).ok_or_else(|| end::unknown(UnknownName::Topic))?;
    let topics = [topic.name.as_str().to_owned()];
    let group = groups::subscribed(node, &draft.group, &topics).await.map_err(|refused| match refused {
        Refused::Typed(refusal) if refusal.is_no_leader() => end::not_leader(node),
        Refused::Typed(refusal) if refusal.code == Code::ConsumerGroupNotFound => end::group_not_found(refusal.message),
        Refused::Typed(refusal) => end::overloaded(refusal.message),
        Refused::Grpc(status) => end::overloaded(status.message()),
    })?;
    groups::warn_of_lost_order(node, &group, &topic);
    let lease = (!draft.lease.is_none()).then(|| node.sessions.open_stream(draft.lease)).transpose();
    let lease = lease.map_err(|full| end::overloaded(full.to_string()))?;
    let wanted = Wanted {
        topic: topic.id,
        group: group.id,
        fifo: group.settings.fifo,
        filter: draft.filter,
        messages_max: 0,
        bytes_max: 0,
        invisible_ms: draft.invisible_ms,
        auto_renew: draft.lease,
        // A stream that breaks gives back; nothing is asked for again.
        attempt: AttemptKey::NONE,
        until: Instant::now(),
    };
    let of = Delivered { topic: topic.id, topic_name: topic.name, group: group.id };
    let joined = node.consumers.join(&draft.group, &caller.client_id);
    let credit = open.credit.unwrap_or_default();
    Ok(Opened { wanted, of, group: draft.group, term, credit, lease, joined })
}

fn check(open: &Open, caller: &Caller) -> Result<Draft, Refusal> {
    let refuse = |why: String| Err(Refusal::new(Code::BadRequest, why));
    let resource = |name: &str| Resource { resource_namespace: String::new(), name: name.to_owned() };
    let topic = names::topic(Some(&resource(&open.topic)))?;
    let group = names::group(Some(&resource(&open.group)))?;
    let expression = FilterExpression { r#type: FilterType::Tag as i32, expression: open.filter.clone() };
    let filter = filter::parse(Some(&expression))?;
    if open.session.len() > SESSION_BYTES_MAX {
        return refuse(format!("the session's name is longer than {SESSION_BYTES_MAX} bytes"));
    }
    if !open.auto_renew {
        let bounds = INVISIBLE_MILLIS_MIN.unsigned_abs()..=INVISIBLE_MILLIS_MAX.unsigned_abs();
        if !bounds.contains(&open.invisible_ms) {
            return refuse(format!("invisible time is {} ms, allowed are 10 seconds to 12 hours", open.invisible_ms));
        }
        return Ok(Draft { topic, group, filter, invisible_ms: open.invisible_ms, lease: ClientKey::NONE });
    }
    if open.session.is_empty() {
        return refuse(String::from("without the name of a session nothing can be renewed"));
    }
    // A lease of its own, beside the client's: it ends with the stream, whatever else the client does.
    let lease = ClientKey::of(&format!("{}/{}", caller.client_id, open.session));
    Ok(Draft { topic, group, filter, invisible_ms: millis(RENEWED_FOR), lease })
}

impl Session {
    pub(super) async fn say_opened(&self) -> Result<(), Gone> {
        let (fifo, invisible_ms) = (self.wanted.fifo, self.wanted.invisible_ms);
        let opened = Answer { fifo, invisible_ms, broker_group: self.node.deliverer.group().0 };
        self.out.say(consume_answer::Content::Opened(opened), None).await
    }
}
