//! # gateway
