//! The stop signal: SIGTERM or SIGINT asks for a graceful stop; a second one ends at once.

use crate::Stop;
use tokio::signal::unix::{SignalKind, signal};

/// The exit status after a second signal, as shells report SIGINT.
const IMPATIENT_EXIT: i32 = 130;

/// A token that is cancelled by the first SIGTERM or SIGINT.
pub fn on_signal() -> std::io::Result<Stop> {
    let stop = Stop::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let signalled = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if signalled.is_cancelled() {
                std::process::exit(IMPATIENT_EXIT);
            }
            signalled.cancel();
        }
    });
    Ok(stop)
}
