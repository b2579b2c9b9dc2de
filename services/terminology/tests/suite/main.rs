//! Releases made of rows that a test writes, asked through the same door as everybody's.

mod answers;
mod hierarchy;
mod hostile;
mod made;
