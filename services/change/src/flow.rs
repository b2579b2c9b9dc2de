//! The loop's two ends. Every service reads, applies a pure step, writes, confirms.

use std::future::Future;

/// Items in commit order, with the point they reach.
#[derive(Debug)]
pub struct Batch<T, P> {
    pub items: Vec<T>,
    /// Where the source stands after the last item.
    pub upto: P,
}

/// Proof that everything up to a point is durable. Only a [`Sink`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Durable<P>(P);

impl<P: Copy> Durable<P> {
    /// For sinks alone: call only when everything up to `point` survives a crash.
    pub fn promise(point: P) -> Self {
        Self(point)
    }

    pub fn point(&self) -> P {
        self.0
    }
}

/// Commit order. After a restart it may repeat, never skip.
pub trait Source<T, P> {
    type Error;
    /// `None` when the source has ended for good. Cancel-safe.
    fn read(&mut self) -> impl Future<Output = Result<Option<Batch<T, P>>, Self::Error>> + Send;
    /// Lets the source forget what lies before the point.
    fn confirm(&mut self, upto: Durable<P>) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// Writing a batch twice leaves what writing it once left.
pub trait Sink<T, P> {
    type Error;
    /// Takes the batch; waits while too many are in flight.
    fn enqueue(&mut self, batch: Batch<T, P>) -> impl Future<Output = Result<(), Self::Error>> + Send;
    /// The furthest point before which everything is durable. Cancel-safe.
    fn durable(&mut self) -> impl Future<Output = Result<Durable<P>, Self::Error>> + Send;
}

/// Turns what a source yields into what a sink takes.
pub trait Step<A, B, P> {
    type Error;
    /// `upto` of the result is the furthest point before which everything is in this batch or an earlier one.
    fn step(&mut self, batch: Batch<A, P>) -> impl Future<Output = Result<Batch<B, P>, Self::Error>> + Send;
}
