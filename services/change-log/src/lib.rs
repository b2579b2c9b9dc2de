//! # change-log
