//! Bodies of answers that take long.

use hyper::body::{Body, Bytes, Frame};
use serde_json::Value;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Interval, interval};

/// How often an empty line is sent while there is nothing else. A connection that is silent for
/// longer looks dead, to [`crate::door`] as well.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// A body with empty lines between its frames, as signs of life.
pub(crate) struct WithSigns<B> {
    body: B,
    signs: Interval,
}

impl<B> WithSigns<B> {
    /// Needs a runtime.
    pub fn new(body: B) -> Self {
        Self { body, signs: interval(SIGN_OF_LIFE) }
    }
}

impl<B: Body<Data = Bytes, Error = Infallible> + Unpin> Body for WithSigns<B> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            self.signs.reset();
            return Poll::Ready(frame);
        }
        ready!(self.signs.poll_tick(context));
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"\n")))))
    }
}

/// JSON, once it is known.
pub(crate) struct Awaited<F>(Option<Pin<Box<F>>>);

impl<F: Future<Output = Value>> Awaited<F> {
    pub fn new(value: F) -> Self {
        Self(Some(Box::pin(value)))
    }
}

impl<F: Future<Output = Value>> Body for Awaited<F> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(value) = &mut self.0 else { return Poll::Ready(None) };
        let value = ready!(value.as_mut().poll(context));
        self.0 = None;
        Poll::Ready(Some(Ok(Frame::data(value.to_string().into()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use serde_json::json;

    #[tokio::test(start_paused = true)]
    async fn signs_of_life_come_until_the_answer_does() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let answer = Awaited::new(async { receiver.await.unwrap_or(Value::Null) });
        let mut body = WithSigns::new(answer);
        for _ in 0..4 {
            let frame = body.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), "\n");
        }
        sender.send(json!({ "drained": 1 })).unwrap();
        let rest = body.collect().await.unwrap().to_bytes();
        assert_eq!(serde_json::from_slice::<Value>(&rest).unwrap(), json!({ "drained": 1 }));
    }
}
