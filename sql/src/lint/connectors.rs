//! What a table says of the world around it: connector, options, format, metadata. Invariant: only what belongs to this engine is
//! found; a connector of Flink is left to Flink.

use super::finding::{Effect, Rule};
use super::kinds::Kind;
use super::report::Report;
use super::script::{Script, Stated};
use super::walk::Family;
use crate::parser::{ColumnKind, CreateTable, Parsed};

pub(super) static FAMILY: Family = Family { statement, ..Family::BLIND };

pub(super) static CONNECTOR: Rule = Rule {
    name: "connector",
    finds: "a connector of this engine",
    effect: Effect::Refuses,
    why: "Flink has no such connector",
    hint: "declare the table on Flink with a connector that reaches the same data",
};
pub(super) static FORMAT: Rule = Rule {
    name: "format",
    finds: "a format that Flink does not have",
    effect: Effect::Refuses,
    why: "",
    hint: "send json, avro, csv or protobuf, or decode on the way to Flink",
};
pub(super) static JSON_TIME: Rule = Rule {
    name: "json-time",
    finds: "times in JSON",
    effect: Effect::Differs,
    why: "it expects '2026-01-02 03:04:05.678', and no milliseconds since 1970",
    hint: "on Flink add 'json.timestamp-format.standard' = 'ISO-8601', and declare times that end with Z as TIMESTAMP_LTZ(3)",
};
pub(super) static METADATA: Rule = Rule {
    name: "metadata-key",
    finds: "metadata that only the log has",
    effect: Effect::Refuses,
    why: "no connector of Flink offers it",
    hint: "send it in the payload, and declare it as an ordinary column",
};
pub(super) static OPTION: Rule = Rule {
    name: "option",
    finds: "an option of this engine",
    effect: Effect::Refuses,
    why: "options that a connector does not know are an error",
    hint: "leave it out on Flink",
};

/// Connectors, and what Flink has instead.
const CONNECTORS: [(&str, &str); 4] = [
    ("lake", "on Flink write 'connector' = 'filesystem' with 'path' and 'format', or a connector for Delta tables"),
    ("log", "on Flink write 'connector' = 'kafka' with 'topic', 'properties.bootstrap.servers' and 'format'"),
    ("mqtt", "Flink has no MQTT connector: bridge the broker to Kafka, and write 'connector' = 'kafka'"),
    ("reference", "on Flink write 'connector' = 'jdbc' for a lookup, or 'filesystem' with 'path' and 'format'"),
];

/// Options of those connectors that none of Flink's has.
const OPTIONS: [&str; 14] = [
    "avro.schema",
    "classification",
    "client-id",
    "description",
    "device.topic-level",
    "owner",
    "protobuf.descriptor",
    "protobuf.message",
    "protobuf.schema",
    "refresh",
    "retention",
    "scan.future-tolerance",
    "stream",
    "tier",
];

/// Metadata of the log, and what comes near.
const METADATA_KEYS: [(&str, &str); 2] =
    [("device_id", METADATA.hint), ("received_at", "with Kafka write METADATA FROM 'timestamp' and TIMESTAMP_LTZ(3)")];

fn statement(stated: &Stated, _script: &Script<'_>, report: &mut Report<'_>) {
    let Parsed::CreateTable(table) = &stated.parsed else { return };
    for (key, value, at) in &table.options {
        let ours = CONNECTORS.iter().find(|(name, _)| key == "connector" && name == value);
        if let Some((name, hint)) = ours {
            report.hint(&CONNECTOR, *at, format!("connector '{name}'"), *hint);
        }
        if OPTIONS.contains(&key.as_str()) {
            report.add(&OPTION, *at, format!("option '{key}'"));
        }
        if key == "format" && value == "cbor" {
            report.add(&FORMAT, *at, "format 'cbor'");
        }
    }
    json_times(table, report);
    metadata(table, report);
}

fn json_times(table: &CreateTable, report: &mut Report<'_>) {
    let format = table.options.iter().find(|(key, value, _)| key == "format" && value == "json");
    let is_said = table.options.iter().any(|(key, ..)| key == "json.timestamp-format.standard");
    let is_time = |kind: &ColumnKind| match kind {
        ColumnKind::Typed { data_type, metadata: None, .. } => Kind::declared(data_type) == Some(Kind::Timestamp),
        _ => false,
    };
    if let (Some((.., at)), false, true) = (format, is_said, table.columns.iter().any(|c| is_time(&c.kind))) {
        report.add(&JSON_TIME, *at, "the times of format 'json'");
    }
}

/// Whether the connector is one of Flink's is not asked: the keys have no other owner.
fn metadata(table: &CreateTable, report: &mut Report<'_>) {
    for column in &table.columns {
        let ColumnKind::Typed { metadata: Some((key, at)), .. } = &column.kind else { continue };
        let key = key.as_ref().unwrap_or(&column.name.value);
        if let Some((name, hint)) = METADATA_KEYS.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)) {
            report.hint(&METADATA, *at, format!("METADATA '{name}'"), *hint);
        }
    }
}
