//! The last will of a device. Invariant: it may say only what the device itself may publish, and it is published only if the
//! connection broke: not after a goodbye, not after a revocation.

use std::time::Duration;

use thalweg_engine::batch::{ContentType, Record};
use thalweg_engine::error::Result;
use thalweg_engine::ids::{self, DeviceId};
use thalweg_engine::{limits, topic};

use crate::gateway::GatewayContext;
use crate::gateway::durability::wait_durable;

/// What a device wants published when it is lost.
pub(super) struct Will {
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
    pub(super) content_type: ContentType,
}

impl Will {
    /// Stores the will as a record of its device and waits until it is durable.
    pub(super) async fn publish(self, context: &GatewayContext, device: &DeviceId) {
        context.counters.received.add(1);
        match self.store(context, device).await {
            Ok(()) => {
                context.counters.appended.add(1);
                context.counters.unpromised.add(1);
            }
            Err(e) => {
                tracing::warn!(%device, error = %e, "the will of a device could not be stored");
                context.counters.failed.add(1);
            }
        }
    }

    async fn store(&self, context: &GatewayContext, device: &DeviceId) -> Result<()> {
        let log = context.logs.stream(&topic::publish_stream(device, &self.topic)?)?;
        let mut progress = log.progress(ids::partition_of(device.as_str(), log.partitions()));
        let ticket = log.append(&Record {
            device: device.as_str(),
            topic: &self.topic,
            content_type: self.content_type,
            producer: None,
            payload: &self.payload,
        })?;
        wait_durable(&mut progress, ticket.offset, Duration::from_millis(limits::GATEWAY_STOP_MS_MAX)).await
    }
}
