//! # tests
