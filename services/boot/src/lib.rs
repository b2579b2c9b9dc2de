//! # boot
