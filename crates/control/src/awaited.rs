//! An answer that takes long, as the body of a response.

use hyper::body::{Body, Bytes, Frame};
use serde_json::Value;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Interval, interval};

/// White space comes so often until then, so that the connection does not look dead: see
/// [`crate::door`].
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// JSON, after any white space, once it is known.
pub(crate) struct Awaited<F> {
    value: Pin<Box<F>>,
    signs: Interval,
    is_over: bool,
}

impl<F: Future<Output = Value>> Awaited<F> {
    /// Needs a runtime.
    pub fn new(value: F) -> Self {
        Self { value: Box::pin(value), signs: interval(SIGN_OF_LIFE), is_over: false }
    }
}

impl<F: Future<Output = Value>> Body for Awaited<F> {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let text = match self.value.as_mut().poll(context) {
            Poll::Ready(value) => {
                self.is_over = true;
                value.to_string().into()
            }
            Poll::Pending => {
                ready!(self.signs.poll_tick(context));
                Bytes::from_static(b"\n")
            }
        };
        Poll::Ready(Some(Ok(Frame::data(text))))
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
        let mut body = Awaited::new(async { receiver.await.unwrap_or(Value::Null) });
        for _ in 0..4 {
            let frame = body.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), "\n");
        }
        sender.send(json!({ "drained": 1 })).unwrap();
        let rest = body.collect().await.unwrap().to_bytes();
        assert_eq!(serde_json::from_slice::<Value>(&rest).unwrap(), json!({ "drained": 1 }));
    }
}
