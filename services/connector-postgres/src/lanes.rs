//! The threads that all captures of a process share.
//!
//! # Why
//! Transport, decoding and encoding of a source share one thread: frames pass from one to the next without waking another.
//! But a thread for each source is too many where there are hundreds, and most of them wait most of the time. So there are
//! as many lanes as the machine has processors, and a source stays in the one that it was given: that with the fewest.

use boot::panics::{self, Panicked};
use std::{sync::LazyLock, thread::available_parallelism};
use tokio_util::task::{AbortOnDropHandle, LocalPoolHandle};

static LANES: LazyLock<LocalPoolHandle> =
    LazyLock::new(|| LocalPoolHandle::new(available_parallelism().map_or(1, usize::from)));

/// Runs the work in a lane. It ends at once when nobody waits for it any more.
pub(crate) async fn run<F>(work: impl FnOnce() -> F + Send + 'static) -> Result<F::Output, Panicked>
where
    F: Future + 'static,
    F::Output: Send + 'static,
{
    let running = LANES.spawn_pinned(|| panics::caught(work()));
    AbortOnDropHandle::new(running).await.unwrap_or_else(|_| Err(Panicked::unseen()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::mpsc, time::Duration};

    #[tokio::test]
    async fn what_nobody_waits_for_ends_and_a_panic_ends_one_work() {
        struct Tell(mpsc::Sender<()>);
        impl Drop for Tell {
            fn drop(&mut self) {
                let _ = self.0.send(());
            }
        }
        let (told, ended) = mpsc::channel();
        let work = run(move || async move {
            let _tell = Tell(told);
            std::future::pending::<()>().await;
        });
        assert!(tokio::time::timeout(Duration::from_millis(50), work).await.is_err(), "it goes on");
        ended.recv_timeout(Duration::from_secs(10)).expect("it was dropped");
        let panicked = run(|| async { panic!("9990000018") }).await.map(|(): ()| ()).expect_err("a panic");
        assert!(!panicked.to_string().contains("9990000018"), "{panicked}");
        assert_eq!(run(|| async { 7 }).await, Ok(7), "the lane goes on");
    }
}
