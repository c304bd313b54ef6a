//! Bodies that know their last frame when they hand it over.
//!
//! tonic's body of a single message says only afterwards that it was the last, which costs an empty frame behind every
//! request. Looking one frame ahead is free for a body that is in memory.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::{body::Body, transport::Channel};
use tower::Service;

/// A channel whose requests end with their last frame.
#[derive(Debug, Clone)]
pub(super) struct EndingRequests(pub(super) Channel);

impl Service<Request<Body>> for EndingRequests {
    type Response = Response<Body>;
    type Error = tonic::transport::Error;
    type Future = <Channel as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.0.call(request.map(|body| Body::new(Ahead { body, next: None, over: false })))
    }
}

/// A body of which one frame more is known than was handed over.
struct Ahead<B: HttpBody> {
    body: B,
    next: Option<Result<Frame<B::Data>, B::Error>>,
    over: bool,
}

impl<B> HttpBody for Ahead<B>
where
    B: HttpBody + Unpin,
    B::Data: Unpin,
    B::Error: Unpin,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let ahead = self.get_mut();
        let frame = match ahead.next.take() {
            Some(frame) => Some(frame),
            None if ahead.over => None,
            None => ready!(Pin::new(&mut ahead.body).poll_frame(cx)),
        };
        ahead.over |= frame.is_none();
        if !ahead.over {
            match Pin::new(&mut ahead.body).poll_frame(cx) {
                Poll::Ready(Some(next)) => ahead.next = Some(next),
                Poll::Ready(None) => ahead.over = true,
                Poll::Pending => {}
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.over && self.next.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, convert::Infallible};

    use futures::FutureExt as _;

    use super::*;

    /// Frames, with `None` where the body is not ready yet.
    struct Scripted(VecDeque<Option<&'static [u8]>>);

    impl HttpBody for Scripted {
        type Data = &'static [u8];
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<&'static [u8]>, Infallible>>> {
            match self.0.pop_front() {
                None => Poll::Ready(None),
                Some(None) => Poll::Pending,
                Some(Some(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
            }
        }
    }

    /// What is handed over, each time with whether that was said to be the last.
    fn handed_over(script: &[Option<&'static [u8]>]) -> Vec<(Option<&'static [u8]>, bool)> {
        let mut body = Ahead { body: Scripted(script.iter().copied().collect()), next: None, over: false };
        let mut seen = Vec::new();
        for _ in 0..=script.len() {
            let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).now_or_never();
            let Some(frame) = frame else { continue };
            let data = frame.map(|frame| frame.unwrap().into_data().unwrap());
            seen.push((data, body.is_end_stream()));
            if data.is_none() {
                break;
            }
        }
        seen
    }

    #[test]
    fn the_last_frame_is_known_as_the_last() {
        assert_eq!(handed_over(&[Some(b"one")]), [(Some(&b"one"[..]), true), (None, true)]);
        let two = [(Some(&b"one"[..]), false), (Some(&b"two"[..]), true), (None, true)];
        assert_eq!(handed_over(&[Some(b"one"), Some(b"two")]), two);
        assert_eq!(handed_over(&[]), [(None, true)]);
    }

    #[test]
    fn a_body_that_is_not_ready_loses_nothing() {
        let late = [(Some(&b"one"[..]), false), (Some(&b"two"[..]), true), (None, true)];
        assert_eq!(handed_over(&[None, Some(b"one"), None, Some(b"two")]), late);
    }
}
