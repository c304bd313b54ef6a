//! What the client sends up after it has opened the stream.

use std::time::Duration;

use futures::{StreamExt as _, stream::FuturesUnordered};
use tercet_proto::client::v1::{ConsumeRequest, Settle, consume_answer, consume_request::Content};
use tokio::time::timeout;
use tonic::Streaming;

use super::{Session, end};

/// Settles of one stream that are worked on at once; the others wait in the connection's window.
const SETTLES_MAX: usize = 16;
/// A stream that is over waits so long for each answer to be taken.
const LAST_ANSWERS_WITHIN: Duration = Duration::from_secs(1);

impl Session {
    /// Reads until the stream is over, or ends it when the client has ended its side and everything is answered.
    pub(super) async fn read(&self, mut requests: Streaming<ConsumeRequest>) {
        let mut settling = FuturesUnordered::new();
        let mut open = true;
        while open || !settling.is_empty() {
            tokio::select! {
                Some(()) = settling.next(), if !settling.is_empty() => {}
                request = requests.message(), if open && settling.len() < SETTLES_MAX => {
                    match request.map(|request| request.map(|request| request.content)) {
                        Ok(Some(Some(Content::Credit(credit)))) if credit.arrived <= self.flow.last() => {
                            self.flow.grant(&credit);
                        }
                        Ok(Some(Some(Content::Settle(settle)))) => settling.push(self.answer(settle)),
                        Ok(Some(Some(Content::Credit(_)))) => {
                            self.ending.set(end::bad_request("a batch is said to have arrived that was never pushed"));
                        }
                        Ok(Some(Some(Content::Open(_)) | None)) => {
                            self.ending.set(end::bad_request("after Open, a request is Credit or Settle"));
                        }
                        Ok(None) => open = false,
                        Err(_) => self.ending.set(end::gone()),
                    }
                }
                () = self.ending.over(), if open => open = false,
            }
        }
        self.ending.set(end::finished());
    }

    async fn answer(&self, settle: Settle) {
        let settled = match self.settle(settle).await {
            Ok(settled) => settled,
            Err(end) => return self.ending.set(end),
        };
        let said = self.out.say(consume_answer::Content::Settled(settled), None);
        let mut said = std::pin::pin!(said);
        tokio::select! {
            biased;
            _ = &mut said => return,
            () = self.ending.over() => {}
        }
        // Unanswered, it is asked for again.
        let _ = timeout(LAST_ANSWERS_WITHIN, said).await;
    }
}
