//! What every main shares: settings, logs, metrics, health, the stop signal, restarts,
//! and a way to Causeway's own database.
//!
//! # Why
//! A service is a function of its settings and a stop signal. Everything around that
//! function is the same for all of them, so it stands here once, and tests can call a
//! service without a process around it.

pub mod authority;
pub mod database;
pub mod failpoint;
pub mod health;
pub mod logs;
pub mod ops;
pub mod organisations;
pub mod panics;
pub mod restart;
pub mod secret;
pub mod shown;
pub mod stop;
pub mod supervisor;
pub mod turns;

pub use settings;
pub use tokio_util::sync::CancellationToken as Stop;
