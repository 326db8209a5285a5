//! `'connector' = 'mqtt'`: records from an outside MQTT broker. Invariant: the broker gets its PUBACK only after `ack`, so
//! with QoS 1 and a kept session nothing is lost when this process dies.

mod options;
mod source;
#[cfg(test)]
mod tests;

use thalweg_engine::contract::{ConnectorSpec, OptionSpec, Role};

use crate::log::{FUTURE_TOLERANCE, IDLE_TIMEOUT, STARTUP_MILLIS, STARTUP_MODE, STARTUP_OFFSETS};

/// The connector.
pub(crate) static SPEC: ConnectorSpec = ConnectorSpec {
    name: "mqtt",
    about: "Reads topics of an outside MQTT broker into a stream of the log.",
    role: Role::Source(source::open),
    options: &[
        OptionSpec {
            name: "client-id",
            required: false,
            default: Some("thalweg-<topic>"),
            about: "client id at the broker, which keeps unacknowledged messages under it; must be unique there",
        },
        OptionSpec {
            name: "device.topic-level",
            required: false,
            default: Some("1"),
            about: "level of the topic that is the device id, counted from 0",
        },
        OptionSpec { name: "format", required: false, default: Some("json"), about: "how payloads are decoded" },
        OptionSpec { name: "password", required: false, default: None, about: "password at the broker" },
        FUTURE_TOLERANCE,
        STARTUP_MODE,
        STARTUP_OFFSETS,
        STARTUP_MILLIS,
        IDLE_TIMEOUT,
        OptionSpec { name: "stream", required: true, default: None, about: "stream of the log that the records go to" },
        OptionSpec { name: "topic", required: true, default: None, about: "topic filter to subscribe to, for example devices/+/telemetry" },
        OptionSpec { name: "url", required: true, default: None, about: "the broker: mqtt://host:port" },
        OptionSpec { name: "username", required: false, default: None, about: "user name at the broker" },
    ],
};
