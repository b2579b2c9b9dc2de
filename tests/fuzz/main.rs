//! Hostile input for everything that reads bytes of others: no panic, no allocation out of proportion, from anything.
//!
//! A binary of its own, because its allocator counts.
//!
//! # Why
//! A driver of our own that mutates a committed corpus: engines that are led by coverage want a nightly compiler, or
//! everything down to librdkafka built a second time with other flags. What leads this one is the target's own answer:
//! an input that is answered in a new way joins the population.

mod driver;
mod language;
mod meter;
mod releases;
mod targets;

#[global_allocator]
static METER: meter::Meter = meter::Meter;
