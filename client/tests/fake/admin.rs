//! Administration that takes its time: each call is noted, and answered with an empty message after a while.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use tonic::{body::Body, server::NamedService};
use tower::Service;

/// A message without content, with its prefix.
const EMPTY_MESSAGE: [u8; 5] = [0; 5];

#[derive(Clone, Default)]
pub(crate) struct SlowAdmin {
    noted: Arc<Mutex<Noted>>,
}

#[derive(Default)]
struct Noted {
    calls: Vec<String>,
    takes: Duration,
}

impl SlowAdmin {
    /// Each call takes so long from now on.
    pub(crate) fn takes(&self, time: Duration) {
        self.noted.lock().unwrap().takes = time;
    }

    /// The calls so far, by their names.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.noted.lock().unwrap().calls.clone()
    }
}

impl NamedService for SlowAdmin {
    const NAME: &'static str = "tercet.admin.v1.Admin";
}

impl Service<http::Request<Body>> for SlowAdmin {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let name = request.uri().path().rsplit('/').next().unwrap().to_owned();
        let takes = {
            let mut noted = self.noted.lock().unwrap();
            noted.calls.push(name);
            noted.takes
        };
        Box::pin(async move {
            tokio::time::sleep(takes).await;
            let trailers = http::HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
            let message = Full::new(Bytes::from_static(&EMPTY_MESSAGE));
            let body = message.with_trailers(std::future::ready(Some(Ok(trailers))));
            let answer = http::Response::builder().header("content-type", "application/grpc");
            Ok(answer.body(Body::new(body)).unwrap())
        })
    }
}
