//! Runs hyper's HTTP/2 tasks on the worker thread that owns the connection.

/// An executor for futures that stay on their thread.
#[derive(Clone, Copy, Debug)]
pub struct LocalExec;

impl<F> hyper::rt::Executor<F> for LocalExec
where
    F: Future + 'static,
{
    fn execute(&self, future: F) {
        // hyper's tasks end with their connection; nothing waits for their output.
        drop(tokio::task::spawn_local(async move {
            future.await;
        }));
    }
}
