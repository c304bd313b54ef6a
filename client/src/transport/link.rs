//! The kept connection to one node, and the stream in it through which publishes go.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::sync::Mutex as AsyncMutex;
use tonic::{Code, Status, transport::Channel};

use super::{
    metadata::{Identity, SendHeaders},
    publish_stream::{PublishStream, refused},
    raw::{SendAnswer, send_message},
};

/// Cheap to clone; all clones share connection and stream.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) channel: Channel,
    publishing: Arc<AsyncMutex<Publishing>>,
}

#[derive(Debug, Default)]
enum Publishing {
    #[default]
    Unopened,
    Open(Arc<PublishStream>),
    /// The node knows no such stream: each publish is a call of its own.
    Unsupported,
}

impl Link {
    pub(super) fn new(channel: Channel) -> Self {
        Self { channel, publishing: Arc::default() }
    }

    /// Publishes an encoded `SendMessageRequest`: through the stream, or by a call of its own where there is none.
    pub(crate) async fn publish(
        &self,
        identity: &Identity,
        request: Bytes,
        headers: SendHeaders,
        timeout: Duration,
    ) -> Result<SendAnswer, Status> {
        match self.stream(identity).await? {
            Some(stream) => stream.send(request, headers, timeout).await,
            None => {
                let mut request = identity.request(request);
                headers.write(request.metadata_mut());
                request.set_timeout(timeout);
                send_message(self.channel.clone(), request).await
            }
        }
    }

    /// The open stream, opened if there is none; nothing if the node knows no streams.
    async fn stream(&self, identity: &Identity) -> Result<Option<Arc<PublishStream>>, Status> {
        let mut publishing = self.publishing.lock().await;
        match &*publishing {
            Publishing::Open(stream) if stream.is_open() => return Ok(Some(Arc::clone(stream))),
            Publishing::Unsupported => return Ok(None),
            Publishing::Open(_) | Publishing::Unopened => {}
        }
        match PublishStream::open(self.channel.clone(), identity).await {
            Ok(stream) => {
                let stream = Arc::new(stream);
                *publishing = Publishing::Open(Arc::clone(&stream));
                Ok(Some(stream))
            }
            Err(status) if status.code() == Code::Unimplemented => {
                *publishing = Publishing::Unsupported;
                Ok(None)
            }
            Err(status) => Err(refused(status)),
        }
    }
}
