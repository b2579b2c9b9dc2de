//! One region, whole: the services as processes, on real components, and what the world throws at them.

mod consumer;
mod doors;
mod hostile;
mod messages;
mod operator;
mod quarantine;
mod rebuild;
mod region;
mod wire;
