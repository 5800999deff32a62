//! Answers that stall.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use object_store::client::{HttpError, HttpErrorKind, HttpResponse, HttpResponseBody};
use tokio::time::Sleep;

use super::Unasked;

/// The same answer; it breaks off where nothing comes for so long.
pub(super) fn patient(response: HttpResponse, stalled: Duration) -> HttpResponse {
    let (parts, inner) = response.into_parts();
    let body = HttpResponseBody::new(Patient { inner, stalled, waiting: None });
    HttpResponse::from_parts(parts, body)
}

pub(super) fn stalled() -> HttpError {
    HttpError::new(HttpErrorKind::Timeout, Unasked("the store sends nothing".into()))
}

/// (A time-out of the client's own runs on while nobody reads, and is looked at before what has come.)
struct Patient {
    inner: HttpResponseBody,
    stalled: Duration,
    /// Since somebody waits.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Body for Patient {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            self.waiting = None;
            return Poll::Ready(frame);
        }
        let limit = self.stalled;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(waiting.as_mut().poll(cx));
        self.waiting = None;
        Poll::Ready(Some(Err(stalled())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// Has a frame once it is told so.
    struct Late(Arc<AtomicBool>);

    impl Body for Late {
        type Data = Bytes;
        type Error = HttpError;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
            match self.0.load(Ordering::SeqCst) {
                true => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x"))))),
                false => Poll::Pending,
            }
        }
    }

    #[tokio::test]
    async fn only_waiting_counts() {
        let has_come = Arc::new(AtomicBool::new(false));
        let response = HttpResponse::new(HttpResponseBody::new(Late(has_come.clone())));
        let limit = Duration::from_millis(50);
        let mut body = patient(response, limit).into_body();
        let begun = poll_fn(|cx| Poll::Ready(Pin::new(&mut body).poll_frame(cx).is_ready()));
        assert!(!begun.await);
        // Nobody looks for a while.
        tokio::time::sleep(limit * 3).await;
        has_come.store(true, Ordering::SeqCst);
        let mut next = async || poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.unwrap();
        assert!(next().await.is_ok());
        has_come.store(false, Ordering::SeqCst);
        assert_eq!(next().await.unwrap_err().kind(), HttpErrorKind::Timeout);
    }
}
