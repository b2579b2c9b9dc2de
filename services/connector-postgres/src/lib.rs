//! # connector-postgres
