//! # stack
