//! What scripted nodes tell of the leader by themselves.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures::stream::{self, BoxStream, StreamExt as _};
use tercet_proto::client::v1::{Leadership, WatchRequest, leader_service_server::LeaderService};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

/// The same for all nodes: nothing until the test says something, and then every node knows the call.
#[derive(Clone)]
pub(crate) struct News {
    told: watch::Sender<Option<Leadership>>,
    /// How many streams stand, at all nodes.
    standing: Arc<AtomicUsize>,
}

impl News {
    pub(crate) fn new() -> Self {
        Self { told: watch::Sender::new(None), standing: Arc::default() }
    }

    pub(crate) fn tell(&self, term: u64, leader: &str, nodes: Vec<String>) {
        self.told.send_replace(Some(Leadership { group: 0, term, leader: leader.to_owned(), nodes }));
    }

    pub(crate) fn standing(&self) -> usize {
        self.standing.load(Ordering::SeqCst)
    }
}

struct Standing(Arc<AtomicUsize>);

impl Drop for Standing {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tonic::async_trait]
impl LeaderService for News {
    type WatchStream = BoxStream<'static, Result<Leadership, Status>>;

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let mut told = self.told.subscribe();
        if told.borrow().is_none() {
            return Err(Status::unimplemented("nothing was said"));
        }
        told.mark_changed();
        self.standing.fetch_add(1, Ordering::SeqCst);
        let standing = Standing(Arc::clone(&self.standing));
        let stream = stream::unfold((told, standing), |(mut told, standing)| async move {
            told.changed().await.ok()?;
            let now = told.borrow_and_update().clone()?;
            Some((Ok(now), (told, standing)))
        });
        Ok(Response::new(stream.boxed()))
    }
}
