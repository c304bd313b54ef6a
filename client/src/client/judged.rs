//! What the end of an attempt means for a call that may be repeated.

use tonic::Status;

use super::answer::Answer;
use crate::{code::Code, error::Error, rpc_code::RpcCode, transport::AttemptError};

/// What an attempt means for a call that may be repeated.
pub(super) enum Judged<T> {
    Final(Result<T, Error>),
    /// The node answered and could not do it now.
    Unready(String),
    /// The node answered that it has too much to do.
    Overloaded(String),
    /// The node did not answer.
    Silent(String),
}

pub(super) fn judge<T: Answer>(call: &'static str, result: Result<T, AttemptError>) -> Judged<T> {
    let answer = match result {
        Ok(answer) => answer,
        Err(AttemptError::Failed(status)) if !RpcCode::of(status.code()).can_retry() && !is_local(&status) => {
            let message = status.message().to_owned();
            return Judged::Final(Err(Error::Rpc { call, code: RpcCode::of(status.code()), message }));
        }
        Err(error) if error.is_silence() => return Judged::Silent(error.words()),
        Err(error) => return Judged::Unready(error.words()),
    };
    let Some(status) = answer.status() else { return Judged::Final(Ok(answer)) };
    let code = Code(status.code);
    let message = status.message.clone();
    match code {
        Code::OK | Code::MULTIPLE_RESULTS | Code::MESSAGE_NOT_FOUND => Judged::Final(Ok(answer)),
        Code::TOO_MANY_REQUESTS => Judged::Overloaded(format!("{message} ({code})")),
        Code::HA_NOT_AVAILABLE => Judged::Unready(format!("{message} ({code})")),
        code if is_timeout(code) => Judged::Unready(format!("{message} ({code})")),
        code => Judged::Final(Err(Error::Refused { call, code, message })),
    }
}

/// Whether the gRPC error was made by this side's transport rather than answered by a node.
fn is_local(status: &Status) -> bool {
    std::error::Error::source(status).is_some()
}

fn is_timeout(code: Code) -> bool {
    (50_400..50_500).contains(&code.0)
}
