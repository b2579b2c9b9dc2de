//! # normaliser
