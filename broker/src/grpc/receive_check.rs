//! A receive, checked at the door. Pure.

use std::time::Duration;

use tercet_proto::rocketmq::v2::{Code, ReceiveMessageRequest};

use super::{caller::Caller, filter, names, refusal::Refusal};
use crate::{
    consume::{RENEWED_FOR, millis},
    limits::RECEIVE_MESSAGES_MAX,
    model::{AttemptKey, ClientKey, GroupName, TagFilter, TopicName},
};

/// A client that gives less time than this is refused, and no poll is shorter.
pub const POLL_MIN: Duration = Duration::from_secs(5);
/// The answer leaves so long before the client's deadline.
pub const BEFORE_DEADLINE: Duration = Duration::from_secs(1);
/// Shortest invisible time of a receive.
pub const INVISIBLE_MILLIS_MIN: i64 = 10_000;
/// Longest invisible time, of a receive and of a change.
pub const INVISIBLE_MILLIS_MAX: i64 = 12 * 3600 * 1000;

/// A checked receive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiveDraft {
    /// Of this topic; the queue and the broker of the request do not matter.
    pub topic: TopicName,
    /// For this group.
    pub group: GroupName,
    /// These messages.
    pub filter: TagFilter,
    /// At most so many; 0 waits for the end of the poll.
    pub messages_max: u16,
    /// Hidden for so long.
    pub invisible_ms: u64,
    /// The client, if the server renews its deliveries.
    pub auto_renew: ClientKey,
    /// By which a repeat is known.
    pub attempt: AttemptKey,
    /// How long to wait.
    pub poll: Duration,
}

/// All rules that need no state.
pub fn check(request: &ReceiveMessageRequest, caller: &Caller, poll_max: Duration) -> Result<ReceiveDraft, Refusal> {
    let topic = names::topic(request.message_queue.as_ref().and_then(|queue| queue.topic.as_ref()))?;
    let group = names::group(request.group.as_ref())?;
    let poll = poll_of(request, caller, poll_max)?;
    let filter = filter::parse(request.filter_expression.as_ref())?;
    let batch = usize::try_from(request.batch_size)
        .map_err(|_| Refusal::new(Code::BadRequest, format!("batch size {} is negative", request.batch_size)))?;
    let messages_max = u16::try_from(batch.min(RECEIVE_MESSAGES_MAX)).expect("capped");
    let invisible_ms = if request.auto_renew {
        millis(RENEWED_FOR)
    } else {
        let given = request.invisible_duration.as_ref().map_or(0, millis_of);
        if !(INVISIBLE_MILLIS_MIN..=INVISIBLE_MILLIS_MAX).contains(&given) {
            let why = format!("invisible duration is {given} ms, allowed are 10 seconds to 12 hours");
            return Err(Refusal::new(Code::IllegalInvisibleTime, why));
        }
        given.unsigned_abs()
    };
    Ok(ReceiveDraft {
        topic,
        group,
        filter,
        messages_max,
        invisible_ms,
        auto_renew: if request.auto_renew { ClientKey::of(&caller.client_id) } else { ClientKey::NONE },
        attempt: AttemptKey::of(request.attempt_id.as_deref().unwrap_or_default()),
        poll,
    })
}

fn poll_of(request: &ReceiveMessageRequest, caller: &Caller, poll_max: Duration) -> Result<Duration, Refusal> {
    let asked = request
        .long_polling_timeout
        .as_ref()
        .map_or(poll_max, |asked| Duration::from_millis(u64::try_from(millis_of(asked)).unwrap_or(0)));
    let poll = asked.max(POLL_MIN).min(poll_max);
    let Some(timeout) = caller.timeout else { return Ok(poll) };
    // A node that forwards has used a part of the client's time already.
    if timeout < POLL_MIN && !caller.forwarded {
        let why = format!("the deadline leaves {} ms, at least 5 s are needed", timeout.as_millis());
        return Err(Refusal::new(Code::IllegalPollingTime, why));
    }
    Ok(poll.min(timeout.saturating_sub(BEFORE_DEADLINE)))
}

/// Whole milliseconds of a protobuf duration.
pub fn millis_of(duration: &prost_types::Duration) -> i64 {
    duration.seconds.saturating_mul(1000).saturating_add(i64::from(duration.nanos / 1_000_000))
}

#[cfg(test)]
mod tests {
    use prost_types::Duration as ProtoDuration;
    use tercet_proto::rocketmq::v2::{FilterExpression, FilterType, MessageQueue, Resource};

    use super::*;

    const MAX: Duration = Duration::from_secs(20);

    fn resource(name: &str) -> Option<Resource> {
        Some(Resource { resource_namespace: String::new(), name: name.to_owned() })
    }

    fn seconds(seconds: i64) -> Option<ProtoDuration> {
        Some(ProtoDuration { seconds, nanos: 0 })
    }

    fn request() -> ReceiveMessageRequest {
        ReceiveMessageRequest {
            group: resource("g"),
            message_queue: Some(MessageQueue { topic: resource("t"), ..Default::default() }),
            filter_expression: None,
            batch_size: 16,
            invisible_duration: seconds(30),
            auto_renew: false,
            long_polling_timeout: None,
            attempt_id: None,
        }
    }

    fn caller(timeout: Option<u64>, forwarded: bool) -> Caller {
        Caller {
            client_id: String::from("c"),
            node_client: false,
            single_address: false,
            forwarded,
            timeout: timeout.map(Duration::from_secs),
            namespace: String::new(),
        }
    }

    fn refused(change: impl FnOnce(&mut ReceiveMessageRequest)) -> Code {
        let mut request = request();
        change(&mut request);
        check(&request, &caller(Some(23), false), MAX).expect_err("refused").code
    }

    #[test]
    fn what_is_wrong_is_refused_with_the_code_of_the_reference() {
        assert_eq!(refused(|r| r.message_queue = None), Code::IllegalTopic);
        assert_eq!(refused(|r| r.group = resource(" ")), Code::IllegalConsumerGroup);
        assert_eq!(refused(|r| r.batch_size = -1), Code::BadRequest);
        for invisible in [None, seconds(9), seconds(-1), seconds(12 * 3600 + 1), seconds(i64::MAX)] {
            assert_eq!(refused(|r| r.invisible_duration = invisible), Code::IllegalInvisibleTime, "{invisible:?}");
        }
        let sql = FilterExpression { r#type: FilterType::Sql as i32, expression: String::from("a = 1") };
        assert_eq!(refused(|r| r.filter_expression = Some(sql)), Code::IllegalFilterExpression);
        let short = check(&request(), &caller(Some(4), false), MAX);
        assert_eq!(short.expect_err("too short").code, Code::IllegalPollingTime);
    }

    #[test]
    fn what_is_legal_passes() {
        let mut ask = request();
        ask.batch_size = 100;
        let draft = check(&ask, &caller(None, false), MAX).expect("no deadline is served");
        assert_eq!((draft.messages_max, draft.invisible_ms, draft.poll), (32, 30_000, MAX));
        assert!(draft.auto_renew.is_none() && draft.attempt.is_none());
        ask.batch_size = 0;
        assert_eq!(check(&ask, &caller(None, false), MAX).expect("waits").messages_max, 0);
    }

    #[test]
    fn with_renewal_the_field_is_ignored() {
        let mut ask = request();
        (ask.auto_renew, ask.invisible_duration) = (true, seconds(-5));
        let draft = check(&ask, &caller(None, false), MAX).expect("legal");
        assert_eq!((draft.invisible_ms, draft.auto_renew), (60_000, ClientKey::of("c")));
    }

    #[test]
    fn the_poll_ends_before_the_clients_deadline() {
        // (asked poll, grpc-timeout, forwarded) -> poll, in seconds
        let cases = [
            (None, None, false, 20),
            (Some(1), None, false, 5),
            (Some(60), None, false, 20),
            (Some(20), Some(23), false, 20),
            (Some(20), Some(10), false, 9),
            (Some(40), Some(40), false, 20),
            (Some(5), Some(5), false, 4),
            (Some(20), Some(3), true, 2),
        ];
        for (asked, timeout, forwarded, poll) in cases {
            let mut ask = request();
            ask.long_polling_timeout = asked.and_then(seconds);
            let draft = check(&ask, &caller(timeout, forwarded), MAX).expect("legal");
            assert_eq!(draft.poll, Duration::from_secs(poll), "{asked:?} {timeout:?} {forwarded}");
        }
    }
}
