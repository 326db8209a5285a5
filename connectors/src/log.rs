//! `'connector' = 'log'`: a stream of the log as a table. Invariant: the stream is named, never guessed from the table.

use thalweg_engine::contract::{ConnectorSpec, OptionSpec, Role};

/// How far behind or ahead rows may be; every table over the log has these.
pub(crate) const IDLE_TIMEOUT: OptionSpec = OptionSpec {
    name: "scan.watermark.idle-timeout",
    required: false,
    default: Some("5s"),
    about: "a partition without records that have an event time for this long no longer holds the watermark back",
};

/// See [`IDLE_TIMEOUT`].
pub(crate) const FUTURE_TOLERANCE: OptionSpec = OptionSpec {
    name: "scan.future-tolerance",
    required: false,
    default: Some("5min"),
    about: "rows whose event time is further ahead of their receive time are rejected",
};

/// Where jobs begin that have no checkpoint; every table over the log has these.
pub(crate) const STARTUP_MODE: OptionSpec = OptionSpec {
    name: "scan.startup.mode",
    required: false,
    default: None,
    about: "where a job without a checkpoint begins: earliest-offset (as a job does anyway), latest-offset (as SELECT does anyway), timestamp, specific-offsets",
};

/// See [`STARTUP_MODE`].
pub(crate) const STARTUP_OFFSETS: OptionSpec = OptionSpec {
    name: "scan.startup.specific-offsets",
    required: false,
    default: None,
    about: "offsets of the mode specific-offsets: partition:0,offset:42;partition:1,offset:300; other partitions begin with their oldest record",
};

/// See [`STARTUP_MODE`].
pub(crate) const STARTUP_MILLIS: OptionSpec = OptionSpec {
    name: "scan.startup.timestamp-millis",
    required: false,
    default: None,
    about: "time of receipt of the mode timestamp, in milliseconds since 1970",
};

/// The connector.
pub(crate) static SPEC: ConnectorSpec = ConnectorSpec {
    name: "log",
    about: "Reads a stream of the log: what devices sent to this gateway.",
    role: Role::Log,
    options: &[
        OptionSpec { name: "format", required: true, default: None, about: "how payloads are decoded, for example json" },
        FUTURE_TOLERANCE,
        STARTUP_MODE,
        STARTUP_OFFSETS,
        STARTUP_MILLIS,
        IDLE_TIMEOUT,
        OptionSpec { name: "stream", required: true, default: None, about: "name of the stream" },
    ],
};
