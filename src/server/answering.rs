//! An answer on its way, as hyper wants it: a future that cannot fail. A plain struct, because an
//! `async` block around a future is twice its size, and hyper moves it for each request.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

pin_project! {
    /// A future and what is done to its output at the end.
    pub(super) struct Answering<F, M> {
        #[pin]
        answer: F,
        finish: Option<M>,
    }
}

impl<F, M> Answering<F, M> {
    pub(super) fn new(answer: F, finish: M) -> Self {
        let finish = Some(finish);
        Self { answer, finish }
    }
}

impl<T, F: Future, M: FnOnce(F::Output) -> T> Future for Answering<F, M> {
    type Output = Result<T, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.answer.poll(cx));
        match this.finish.take() {
            Some(finish) => Poll::Ready(Ok(finish(answer))),
            // Polled again after its end, which nobody does.
            None => Poll::Pending,
        }
    }
}
