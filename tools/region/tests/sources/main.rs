//! The region on a real PostgreSQL.

mod gp_connect;
mod server;
mod simulate;
