//! The status codes of the protocol, with their names.

use std::fmt;

use tercet_proto::rocketmq::v2 as pb;

/// A status code as a broker answers it, for example `40402 TOPIC_NOT_FOUND`.
///
/// Codes are part of the protocol of RocketMQ 5, so they mean the same with every client. A code that this crate does
/// not know keeps its number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub i32);

impl Code {
    /// Done.
    pub const OK: Code = Code(pb::Code::Ok as i32);
    /// The entries of a request ended differently.
    pub const MULTIPLE_RESULTS: Code = Code(pb::Code::MultipleResults as i32);
    /// The request is wrong; the message says how.
    pub const BAD_REQUEST: Code = Code(pb::Code::BadRequest as i32);
    /// The proof of a delivery is expired, replaced or forged.
    pub const INVALID_RECEIPT_HANDLE: Code = Code(pb::Code::InvalidReceiptHandle as i32);
    /// Nothing to deliver at present.
    pub const MESSAGE_NOT_FOUND: Code = Code(pb::Code::MessageNotFound as i32);
    /// No such topic.
    pub const TOPIC_NOT_FOUND: Code = Code(pb::Code::TopicNotFound as i32);
    /// No such consumer group.
    pub const CONSUMER_GROUP_NOT_FOUND: Code = Code(pb::Code::ConsumerGroupNotFound as i32);
    /// The deadline passed.
    pub const REQUEST_TIMEOUT: Code = Code(pb::Code::RequestTimeout as i32);
    /// More bytes than one request may carry.
    pub const PAYLOAD_TOO_LARGE: Code = Code(pb::Code::PayloadTooLarge as i32);
    /// The broker is at one of its bounds; nothing was done.
    pub const TOO_MANY_REQUESTS: Code = Code(pb::Code::TooManyRequests as i32);
    /// The broker failed; nothing is said about what was done.
    pub const INTERNAL_SERVER_ERROR: Code = Code(pb::Code::InternalServerError as i32);
    /// The broker group has no leader at present; nothing was done.
    pub const HA_NOT_AVAILABLE: Code = Code(pb::Code::HaNotAvailable as i32);
    /// The broker does not know the call.
    pub const NOT_IMPLEMENTED: Code = Code(pb::Code::NotImplemented as i32);

    /// The name in the protocol, `None` for a number that it lacks.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        pb::Code::try_from(self.0).ok().map(|code| code.as_str_name())
    }

    /// Whether the request itself is at fault, so that sending it again cannot help.
    #[must_use]
    pub fn is_request_fault(self) -> bool {
        (40_000..50_000).contains(&self.0) && self != Self::REQUEST_TIMEOUT && self != Self::TOO_MANY_REQUESTS
    }

    /// Whether one message of a request may be at fault, and not the topic or the caller, which all of them share.
    pub(crate) fn may_be_one_message_s_fault(self) -> bool {
        const ILLEGAL_TOPIC: Code = Code(pb::Code::IllegalTopic as i32);
        // 401xx to 404xx: who calls, what he may, and what there is.
        self.is_request_fault() && self != ILLEGAL_TOPIC && !(40_100..40_500).contains(&self.0)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{} {name}", self.0),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Code({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_shows_its_number_and_name_and_an_unknown_one_its_number() {
        assert_eq!(Code::TOPIC_NOT_FOUND.to_string(), "40402 TOPIC_NOT_FOUND");
        assert_eq!(Code(49_999).to_string(), "49999");
    }

    #[test]
    fn overload_and_timeouts_are_no_fault_of_the_request() {
        assert!(Code::TOPIC_NOT_FOUND.is_request_fault());
        assert!(!Code::TOO_MANY_REQUESTS.is_request_fault());
        assert!(!Code::REQUEST_TIMEOUT.is_request_fault());
        assert!(!Code::HA_NOT_AVAILABLE.is_request_fault());
    }

    #[test]
    fn topic_and_caller_are_the_same_for_all_messages() {
        assert!(Code(pb::Code::IllegalMessagePropertyKey as i32).may_be_one_message_s_fault());
        assert!(Code(pb::Code::MessageBodyTooLarge as i32).may_be_one_message_s_fault());
        for code in [pb::Code::TopicNotFound, pb::Code::Forbidden, pb::Code::IllegalTopic, pb::Code::TooManyRequests] {
            assert!(!Code(code as i32).may_be_one_message_s_fault(), "{code:?}");
        }
    }
}
