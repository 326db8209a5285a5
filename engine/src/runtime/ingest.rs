//! The ingest loop: outside records into the log. Invariant: a source is told that records are safe only after the log has made
//! them durable.

use std::sync::Arc;
use std::time::Duration;

use crate::batch::Record;
use crate::contract::{Arrival, LogStore, Source, SourceRecord, Ticket};
use crate::error::{Error, ErrorKind, Result};
use crate::metrics::GatewayCounters;

const RETRY: Duration = Duration::from_millis(20);

/// Copies records from `source` into `log` until the source fails.
pub async fn ingest(source: &mut dyn Source, log: &Arc<dyn LogStore>, counters: &GatewayCounters) -> Result<()> {
    loop {
        let records = source.next().await?;
        let mut unsettled = counters.received(records.len() as u64);
        let mut last: Vec<Ticket> = Vec::new();
        let (mut appended, mut duplicate) = (0, 0);
        for record in &records {
            match append(log, record).await {
                Ok(ticket) => {
                    match ticket.arrival {
                        Arrival::Duplicate => duplicate += 1,
                        Arrival::New | Arrival::AfterGap => appended += 1,
                    }
                    counters.gaps.add(u64::from(ticket.arrival == Arrival::AfterGap));
                    match last.iter_mut().find(|t| t.partition == ticket.partition) {
                        Some(t) => *t = ticket,
                        None => last.push(ticket),
                    }
                }
                Err(e) if e.kind() == ErrorKind::Invalid => {
                    unsettled.settle(&counters.rejected, 1);
                    tracing::warn!(device = %record.device, topic = %record.topic, error = %e, "a record from outside was refused");
                }
                Err(e) => return Err(e),
            }
        }
        for ticket in last {
            durable(log, ticket).await?;
        }
        unsettled.settle(&counters.appended, appended);
        unsettled.settle(&counters.duplicate, duplicate);
        source.ack().await?;
    }
}

/// Appends one record, waiting while the log is busy. Errors: those of `append` but `Unavailable`.
async fn append(log: &Arc<dyn LogStore>, record: &SourceRecord) -> Result<Ticket> {
    let borrowed = Record {
        device: record.device.as_str(),
        topic: &record.topic,
        content_type: record.content_type,
        producer: record.producer,
        payload: &record.payload,
    };
    loop {
        match log.append(&borrowed) {
            Err(e) if e.kind() == ErrorKind::Unavailable => tokio::time::sleep(RETRY).await,
            other => return other,
        }
    }
}

/// Waits until a ticket's record is durable. Errors: `Internal` if the log failed.
pub async fn durable(log: &Arc<dyn LogStore>, ticket: Ticket) -> Result<()> {
    let mut progress = log.progress(ticket.partition);
    let reached = progress.wait_for(|p| p.durable > ticket.offset || p.failed.is_some()).await;
    let reached = reached.map_err(|_| Error::internal("the log was closed"))?;
    match &reached.failed {
        Some(reason) if reached.durable <= ticket.offset => Err(Error::internal(format!("the log failed: {reason}"))),
        _ => Ok(()),
    }
}
