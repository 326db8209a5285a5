//! Law of `Source`: records of a partition come in order; after `ack` nothing handed out before is needed again. A source
//! that cannot repeat what was not acknowledged says so in its connector's documentation.

use async_trait::async_trait;
use bytes::Bytes;

use crate::batch::{ContentType, ProducerSequence};
use crate::error::Result;
use crate::ids::DeviceId;

/// A record from outside, owned.
#[derive(Debug, Clone)]
pub struct SourceRecord {
    /// Device it belongs to.
    pub device: DeviceId,
    /// Topic or its equivalent.
    pub topic: String,
    /// What the payload is.
    pub content_type: ContentType,
    /// Producer's number, if given.
    pub producer: Option<ProducerSequence>,
    /// The payload.
    pub payload: Bytes,
}

/// Brings records from outside into the log.
#[async_trait]
pub trait Source: Send {
    /// The next records; waits until there are some. An error ends the source; the caller opens it again after a pause.
    async fn next(&mut self) -> Result<Vec<SourceRecord>>;

    /// Everything that `next` returned so far is durable.
    async fn ack(&mut self) -> Result<()>;
}
