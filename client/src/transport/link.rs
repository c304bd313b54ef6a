//! The kept connections to one node: one for everything, and one for the stream through which publishes go.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::sync::Mutex as AsyncMutex;
use tonic::{Code, Status, transport::Channel};

use super::{
    dial::Dial,
    metadata::{Identity, SendHeaders},
    publish_stream::{PublishStream, refused},
    raw::{SendAnswer, send_message},
};

/// Cheap to clone; all clones share connections and stream.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) channel: Channel,
    dial: Dial,
    publishing: Arc<AsyncMutex<Publishing>>,
}

#[derive(Debug, Default)]
struct Publishing {
    /// The connection of the stream, made when it is opened first.
    channel: Option<Channel>,
    stream: Stream,
}

#[derive(Debug, Default)]
enum Stream {
    #[default]
    Unopened,
    Open(Arc<PublishStream>),
    /// The node knows no such stream: each publish is a call of its own.
    Unsupported,
}

impl Link {
    /// `channel` leads to where `dial` does.
    pub(super) fn new(channel: Channel, dial: Dial) -> Self {
        Self { channel, dial, publishing: Arc::default() }
    }

    /// Whether both are clones of one link.
    pub(crate) fn is_same(&self, other: &Link) -> bool {
        Arc::ptr_eq(&self.publishing, &other.publishing)
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
        match &publishing.stream {
            Stream::Open(stream) if stream.is_open() => return Ok(Some(Arc::clone(stream))),
            Stream::Unsupported => return Ok(None),
            Stream::Open(_) | Stream::Unopened => {}
        }
        let channel = match &publishing.channel {
            Some(channel) => channel.clone(),
            None => {
                let made = self.dial.connect().await.map_err(|why| refused(Status::unavailable(why)))?;
                publishing.channel.insert(made).clone()
            }
        };
        match PublishStream::open(channel, identity).await {
            Ok(stream) => {
                let stream = Arc::new(stream);
                publishing.stream = Stream::Open(Arc::clone(&stream));
                Ok(Some(stream))
            }
            Err(status) if status.code() == Code::Unimplemented => {
                *publishing = Publishing { channel: None, stream: Stream::Unsupported };
                Ok(None)
            }
            Err(status) => Err(refused(status)),
        }
    }
}
