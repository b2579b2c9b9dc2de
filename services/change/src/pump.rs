//! The one loop: read, apply a step, write; and confirm what has become durable meanwhile.

use crate::flow::{Sink, Source, Step};
use futures_util::future::{Either, select};
use std::pin::pin;

/// How a loop ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pumped<P> {
    /// The last point that was confirmed.
    pub confirmed: Option<P>,
}

/// Runs until the source ends. Reading and the step overlap with writing: the sink takes a batch
/// without waiting for it to become durable, up to its own bound.
///
/// After the source's end, waits until all that was written is durable and confirmed.
pub async fn pump<S, T, K, A, B, P, E>(source: &mut S, step: &mut T, sink: &mut K) -> Result<Pumped<P>, E>
where
    S: Source<A, P>,
    T: Step<A, B, P>,
    K: Sink<B, P>,
    P: Copy + Ord,
    E: From<S::Error> + From<T::Error> + From<K::Error>,
{
    let (mut written, mut confirmed) = (None, None);
    loop {
        // What is durable goes first: it frees the source, and it is cheap to see.
        let next = match select(pin!(sink.durable()), pin!(source.read())).await {
            Either::Left((durable, _)) => Either::Left(durable?),
            Either::Right((batch, _)) => Either::Right(batch?),
        };
        match next {
            Either::Left(durable) => {
                confirmed = Some(durable.point());
                source.confirm(durable).await?;
            }
            Either::Right(Some(batch)) => {
                let batch = step.step(batch).await?;
                written = Some(batch.upto);
                sink.enqueue(batch).await?;
            }
            Either::Right(None) => break,
        }
    }
    while confirmed < written {
        let durable = sink.durable().await?;
        confirmed = Some(durable.point());
        source.confirm(durable).await?;
    }
    Ok(Pumped { confirmed })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Batch, Durable};
    use futures_util::FutureExt;
    use std::{
        collections::VecDeque,
        convert::Infallible,
        future::{pending, ready},
    };

    #[derive(Debug, PartialEq)]
    struct Failed;
    impl From<Infallible> for Failed {
        fn from(never: Infallible) -> Self {
            match never {}
        }
    }

    struct Numbers {
        left: VecDeque<u32>,
        confirmed: Vec<u32>,
    }

    impl Source<u32, u32> for Numbers {
        type Error = Infallible;
        async fn read(&mut self) -> Result<Option<Batch<u32, u32>>, Infallible> {
            ready(()).await;
            Ok(self.left.pop_front().map(|number| Batch { items: vec![number], upto: number }))
        }
        async fn confirm(&mut self, upto: Durable<u32>) -> Result<(), Infallible> {
            ready(()).await;
            self.confirmed.push(upto.point());
            Ok(())
        }
    }

    /// Durable only two batches later, or when asked alone.
    #[derive(Default)]
    struct Slow {
        written: Vec<u32>,
        durable: usize,
    }

    impl Sink<u32, u32> for Slow {
        type Error = Infallible;
        async fn enqueue(&mut self, batch: Batch<u32, u32>) -> Result<(), Infallible> {
            ready(()).await;
            self.written.extend(batch.items);
            Ok(())
        }
        async fn durable(&mut self) -> Result<Durable<u32>, Infallible> {
            let lag = if self.written.len() >= 5 { 0 } else { 2 };
            if self.durable + lag >= self.written.len() {
                return pending().await;
            }
            self.durable += 1;
            Ok(Durable::promise(self.written[self.durable - 1]))
        }
    }

    /// Passes everything on up to a number.
    struct Upto(u32);

    impl Step<u32, u32, u32> for Upto {
        type Error = Failed;
        async fn step(&mut self, batch: Batch<u32, u32>) -> Result<Batch<u32, u32>, Failed> {
            ready(()).await;
            if batch.upto > self.0 { Err(Failed) } else { Ok(batch) }
        }
    }

    fn pumped(source: &mut Numbers, last: u32, sink: &mut Slow) -> Result<Pumped<u32>, Failed> {
        pump(source, &mut Upto(last), sink).now_or_never().expect("nothing here waits")
    }

    #[test]
    fn everything_is_confirmed_in_order_and_only_once_durable() {
        let mut source = Numbers { left: (1..=5).collect(), confirmed: Vec::new() };
        let mut sink = Slow::default();
        assert_eq!(pumped(&mut source, 9, &mut sink), Ok(Pumped { confirmed: Some(5) }));
        assert_eq!(source.confirmed, [1, 2, 3, 4, 5]);
        assert_eq!(sink.written, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_step_that_fails_ends_the_loop_and_confirms_nothing_more() {
        let mut source = Numbers { left: (1..=5).collect(), confirmed: Vec::new() };
        let mut sink = Slow::default();
        assert_eq!(pumped(&mut source, 3, &mut sink), Err(Failed));
        assert_eq!((source.confirmed, sink.written), (vec![1], vec![1, 2, 3]));
    }
}
