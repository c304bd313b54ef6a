//! The typed answer "no": a RocketMQ code and words for a person. Codes are an interface (clients decide by them
//! whether to retry), so each is named where the rule stands, never computed.

use tercet_proto::rocketmq::v2::{Code, Status};

/// Why a request was not done. Says also whether it may have been done nevertheless (hazards 15).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What clients decide by.
    pub code: Code,
    /// What a person reads; names the offending value or bound.
    pub message: String,
    /// True if it cannot be said that nothing was stored.
    pub unknown: bool,
}

impl Refusal {
    /// A definite refusal: nothing was done.
    pub fn new(code: Code, message: impl Into<String>) -> Refusal {
        Refusal { code, message: message.into(), unknown: false }
    }

    /// It may have been done.
    pub fn unknown(code: Code, message: impl Into<String>) -> Refusal {
        Refusal { code, message: message.into(), unknown: true }
    }

    /// No leader to do it, or this node lost its leadership before it began: nothing was done, try again.
    pub fn no_leader() -> Refusal {
        Refusal::new(
            Code::HaNotAvailable,
            "the broker group has no leader at the moment; nothing was stored, try again",
        )
    }

    /// Whether it is that one.
    pub fn is_no_leader(&self) -> bool {
        self.code == Code::HaNotAvailable && !self.unknown
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Status {
        Status { code: refusal.code as i32, message: refusal.message }
    }
}

impl From<&Refusal> for Status {
    fn from(refusal: &Refusal) -> Status {
        refusal.clone().into()
    }
}

/// The status of a success.
pub fn ok() -> Status {
    Status { code: Code::Ok as i32, message: String::from("OK") }
}
