//! Which links a device may have. Invariant: it may send to its own telemetry and to nothing else; whatever is not recognised
//! is refused.

use std::sync::Arc;

use thalweg_engine::ids::DeviceId;
use thalweg_engine::{limits, topic};

use super::answers;
use super::say::{Fault, condition};
use crate::amqp::performative::{Attach, Role, code, terminus};
use crate::amqp::value::Malformed;
use crate::gateway::intake::Refusal;

/// The topic that a link's records go to. Errors: why there is no such link.
pub(super) fn decide(device: &DeviceId, asked: &Attach<'_>) -> Result<Arc<str>, Fault> {
    let (end, kind) = match asked.role {
        Role::Sender => (asked.target, code::TARGET),
        Role::Receiver => (asked.source, code::SOURCE),
    };
    let end = terminus(end).map_err(|Malformed(reason)| Fault { condition: condition::DECODE_ERROR, reason })?;
    let end = end.filter(|end| end.code == u64::from(kind) && !end.dynamic);
    let Some(address) = end.and_then(|end| end.address).filter(|a| a.len() <= limits::RECORD_TOPIC_BYTES_MAX) else {
        return Err(Fault { condition: condition::UNAUTHORIZED, reason: "the link needs an address of the device's own" });
    };
    match asked.role {
        Role::Sender => topic::events_topic(device, address).map(Arc::from).map_err(|_| answers::fault(Refusal::NotAuthorized)),
        Role::Receiver if topic::is_devicebound(device, address) => {
            Err(Fault { condition: condition::NOT_IMPLEMENTED, reason: "messages to devices are sent over MQTT only" })
        }
        Role::Receiver => Err(answers::fault(Refusal::NotAuthorized)),
    }
}
