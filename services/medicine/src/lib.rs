//! What is known about medicines: which products hold which ingredient, and whether one is being taken.
//!
//! # Why
//! The page and the rules ask here, so that they cannot disagree about what somebody takes. Pure: no clock, no IO.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod ingredients;
mod taking;

pub use ingredients::{By, Guideline, Ingredient, Ingredients, Product, words_of};
pub use taking::{Taking, status_not_understood, taking};
