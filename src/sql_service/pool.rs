//! Threads that compute queries over the lake. Invariant: they give way to those that take in records and acknowledge them, and a query
//! that nobody reads any more ends.

use futures::{Stream, StreamExt, stream};
use thalweg_engine::error::{Error, Result};
use thalweg_engine::parallel::give_way;
use thalweg_sql::BatchStream;
use tokio::sync::mpsc;
use tokio::task::JoinError;

use crate::threads::Threads;

/// Batches that may wait for their reader.
const BATCHES_AHEAD: usize = 2;

/// Threads of their own.
#[derive(Debug)]
pub struct QueryPool(Threads);

impl QueryPool {
    /// With a thread a core. Errors: they cannot be started.
    pub fn new() -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self(Threads::new("query", cores, give_way)?))
    }

    /// Does `work` there.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        self.0.handle()?.spawn(work).await.map_err(panicked)?
    }

    /// The same rows, computed there.
    pub(super) fn compute(&self, rows: impl Stream<Item = <BatchStream as Stream>::Item> + Send + 'static) -> Result<BatchStream> {
        let (send, receive) = mpsc::channel(BATCHES_AHEAD);
        let task = self.0.handle()?.spawn(async move {
            let mut rows = std::pin::pin!(rows);
            let all = async {
                while let Some(batch) = rows.next().await {
                    if send.send(batch).await.is_err() {
                        break;
                    }
                }
            };
            tokio::select! {
                () = send.closed() => {}
                () = all => {}
            }
        });
        let next = |(mut receive, mut task): (mpsc::Receiver<_>, Option<tokio::task::JoinHandle<()>>)| async move {
            if let Some(batch) = receive.recv().await {
                return Some((batch, (receive, task)));
            }
            // Rows that end because of a bug are not all rows.
            let ended = task.take()?.await;
            ended.err().map(|e| (Err(panicked(e)), (receive, None)))
        };
        Ok(stream::unfold((receive, Some(task)), next).boxed())
    }
}

fn panicked(e: JoinError) -> Error {
    Error::internal(format!("a query failed: {e}"))
}

#[cfg(test)]
mod tests {
    use arrow::array::RecordBatch;
    use arrow::datatypes::Schema;
    use tokio::sync::oneshot;

    use super::*;

    fn empty() -> RecordBatch {
        RecordBatch::new_empty(Schema::empty().into())
    }

    #[tokio::test]
    async fn rows_come_from_threads_of_the_pool_and_a_panic_is_told() {
        let pool = QueryPool::new().unwrap();
        let named = || assert_eq!(std::thread::current().name(), Some("query"));
        let rows = stream::iter([Ok(empty()), Ok(empty())]).inspect(move |_| named());
        assert_eq!(pool.compute(rows).unwrap().filter(|b| futures::future::ready(b.is_ok())).count().await, 2);
        let rows = stream::iter(0..2).map(|n| if n == 0 { Ok(empty()) } else { panic!("seeded") });
        let got: Vec<_> = pool.compute(rows).unwrap().collect().await;
        assert!(got[0].is_ok() && got[1].as_ref().is_err_and(|e| e.message().contains("failed")), "{got:?}");
    }

    #[tokio::test]
    async fn a_query_whose_reader_is_gone_ends() {
        let pool = QueryPool::new().unwrap();
        let (send, ended) = oneshot::channel::<()>();
        let rows = stream::once(async move {
            let _held = send;
            std::future::pending().await
        });
        drop(pool.compute(rows).unwrap());
        assert!(ended.await.is_err(), "what it held is dropped");
    }
}
