//! How an error is told: in words or as JSON, and with what to do about it.

use std::error::Error;

use serde::Serialize;
use tercet_client::{Code, Error as ClientError, RpcCode, SendError};
use tercet_proto::rocketmq::v2::Code as Proto;

use super::{args::Format, notices::notice};

#[derive(Serialize)]
struct Failure {
    error: String,
    /// Whether the same command can succeed later without any change to it.
    can_retry: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

/// What was waited for has not come; to be waited for again.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NotYet(pub(super) String);

/// Says on standard error why a command failed.
pub(super) fn tell(error: &(dyn Error + 'static), format: Format) {
    let failure = failure(error);
    match format {
        Format::Json => notice(serde_json::to_string(&failure).expect("text and a truth value are always JSON")),
        Format::Table => {
            notice(format!("error: {}", failure.error));
            if let Some(hint) = failure.hint {
                notice(format!("hint: {hint}"));
            }
        }
    }
}

fn failure(error: &(dyn Error + 'static)) -> Failure {
    let (can_retry, hint) = if let Some(error) = error.downcast_ref::<ClientError>() {
        (error.can_retry(), hint(error))
    } else if let Some(error) = error.downcast_ref::<SendError>() {
        (error.can_retry(), hint_for_send(error))
    } else {
        (error.is::<NotYet>(), None)
    };
    Failure { error: error.to_string(), can_retry, hint }
}

/// What to do about an error, where that is known.
fn hint(error: &ClientError) -> Option<String> {
    match error {
        ClientError::Unavailable { last, .. } if last.contains("invalid peer certificate") => Some(
            "`--tls-ca FILE` names the authority of the nodes' certificates, `--tls-server-name` another name"
                .to_owned(),
        ),
        ClientError::Unavailable { .. } => {
            Some("is the broker running there? `--endpoint` names nodes, `tercetd dev` starts a group".to_owned())
        }
        ClientError::Refused { code, .. } => hint_for_code(*code).map(str::to_owned),
        ClientError::Send(error) => hint_for_send(error),
        ClientError::Rpc { code: RpcCode::NotFound, call, .. } if call.ends_with("topic") => {
            Some(HINT_FOR_TOPIC.to_owned())
        }
        ClientError::Rpc { code: RpcCode::NotFound, call, .. } if call.ends_with("group") => {
            Some("`tercet group list` shows all groups".to_owned())
        }
        ClientError::Rpc { code: RpcCode::Unimplemented, .. } => {
            Some("the endpoint is no Tercet broker, or an older one".to_owned())
        }
        _ => None,
    }
}

fn hint_for_send(error: &SendError) -> Option<String> {
    match error {
        SendError::Refused(refused) => refused.reason.code().and_then(hint_for_code).map(str::to_owned),
        SendError::Unknown(_) => None,
    }
}

/// The message has what messages of the topic do not have, or lacks what they have.
const CONFLICT_WITH_TYPE: Code = Code(Proto::MessagePropertyConflictWithType as i32);

const HINT_FOR_TOPIC: &str = "`tercet topic create NAME --queues N` makes a topic, `tercet topic list` shows all";

/// What to do about an answer with this code.
pub(super) fn hint_for_code(code: Code) -> Option<&'static str> {
    match code {
        Code::TOPIC_NOT_FOUND => Some(HINT_FOR_TOPIC),
        Code::CONSUMER_GROUP_NOT_FOUND => Some("`tercet group create NAME` makes a consumer group"),
        CONFLICT_WITH_TYPE => {
            Some("messages to FIFO topics need --message-group, others have none; `tercet topic list` shows the types")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tercet_client::{Refused, RefusedReason};

    use super::*;

    fn refused(code: Code) -> SendError {
        SendError::Refused(Refused::new(RefusedReason::Answered(code), "no"))
    }

    #[test]
    fn a_refused_message_has_a_hint_and_cannot_be_retried() {
        let told = failure(&refused(Code::TOPIC_NOT_FOUND));
        assert!(!told.can_retry);
        assert!(told.hint.unwrap().contains("tercet topic create"));
        assert!(failure(&refused(CONFLICT_WITH_TYPE)).hint.unwrap().contains("--message-group"));
        assert!(failure(&refused(Code::TOO_MANY_REQUESTS)).can_retry);
    }

    #[test]
    fn an_error_is_one_object_for_programs() {
        let error = refused(Code::TOPIC_NOT_FOUND);
        let json = serde_json::to_value(failure(&error)).unwrap();
        assert_eq!(json["error"], "not stored: no (40402 TOPIC_NOT_FOUND)");
        assert_eq!(json["can_retry"], false);
        assert_eq!(json["hint"], HINT_FOR_TOPIC);
        let other = serde_json::to_value(failure(&std::io::Error::other("bad disk"))).unwrap();
        assert_eq!(other, serde_json::json!({ "error": "bad disk", "can_retry": false }));
    }
}
