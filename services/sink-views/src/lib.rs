//! # sink-views
