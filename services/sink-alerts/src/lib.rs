//! # sink-alerts
