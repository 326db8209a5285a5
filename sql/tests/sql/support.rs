//! Sessions for tests. Invariant: the same tables for every test, no file but in a temporary directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use thalweg_engine::contract::{ConnectorSpec, OptionSpec, Role};
use thalweg_engine::error::{Error, Result};
use thalweg_engine::time::timestamp_type;
use thalweg_sql::{LakeCatalog, LakeFiles, Session, SessionConfig, Settings, Statement, TableDefinition};

const fn option(name: &'static str) -> OptionSpec {
    OptionSpec { name, required: false, default: None, about: "as its name says" }
}

const FORMAT: OptionSpec = option("format");
const FUTURE: OptionSpec = option("scan.future-tolerance");
const IDLE: OptionSpec = option("scan.watermark.idle-timeout");
const MODE: OptionSpec = option("scan.startup.mode");
const OFFSETS: OptionSpec = option("scan.startup.specific-offsets");
const MILLIS: OptionSpec = option("scan.startup.timestamp-millis");
const STREAM: OptionSpec = option("stream");

const LOG: ConnectorSpec =
    ConnectorSpec { name: "log", about: "A stream.", role: Role::Log, options: &[FORMAT, FUTURE, MODE, OFFSETS, MILLIS, IDLE, STREAM] };
const REFERENCE: ConnectorSpec = ConnectorSpec {
    name: "reference",
    about: "Reference data.",
    role: Role::Reference,
    options: &[option("description"), FORMAT, option("owner"), OptionSpec { required: true, ..option("path") }, option("refresh")],
};
const LAKE: ConnectorSpec = ConnectorSpec {
    name: "lake",
    about: "A table of the lake.",
    role: Role::Lake,
    options: &[option("classification"), option("description"), option("owner"), option("retention"), option("tier")],
};
const BROKER: ConnectorSpec = ConnectorSpec {
    name: "broker",
    about: "A broker elsewhere.",
    role: Role::Source(|_| Err(Error::unavailable("tests open no broker"))),
    options: &[
        FORMAT,
        FUTURE,
        MODE,
        OFFSETS,
        MILLIS,
        IDLE,
        STREAM,
        OptionSpec { name: "topic", required: false, default: Some("#"), about: "what to subscribe to" },
        OptionSpec { name: "url", required: true, default: None, about: "where it is" },
    ],
};

/// A lake of tables that tests put into it.
#[derive(Default)]
pub struct Lake(pub BTreeMap<(String, String), LakeFiles>);

impl LakeCatalog for Lake {
    fn table(&self, namespace: &str, name: &str) -> Result<Option<LakeFiles>> {
        Ok(self.0.get(&(namespace.to_owned(), name.to_owned())).cloned())
    }

    fn list(&self) -> Vec<(String, String)> {
        self.0.keys().cloned().collect()
    }
}

impl Lake {
    /// Adds a table without files.
    pub fn with(mut self, namespace: &str, name: &str, schema: SchemaRef) -> Self {
        let files = LakeFiles { schema, primary_key: Vec::new(), files: Vec::new(), version: 0 };
        self.0.insert((namespace.to_owned(), name.to_owned()), files);
        self
    }
}

/// Columns of `cold.telemetry`.
pub fn cold_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("device_id", DataType::Utf8, true),
        Field::new("ts", timestamp_type(), true),
        Field::new("temperature", DataType::Float64, true),
    ]))
}

/// A session without tables.
pub fn empty_session(root: &Path, lake: Lake) -> Session {
    session_with(root, lake, None)
}

/// A session without tables whose queries may put aside what does not fit into memory.
pub fn spilling_session(root: &Path, lake: Lake, spill: &Path) -> Session {
    session_with(root, lake, Some(spill.to_owned()))
}

fn session_with(root: &Path, lake: Lake, spill: Option<PathBuf>) -> Session {
    let config = SessionConfig {
        connectors: &[&BROKER, &LAKE, &LOG, &REFERENCE],
        default_owner: "nobody".to_owned(),
        default_description: "not described".to_owned(),
        lake_root: root.to_owned(),
        memory_limit_bytes: 64 << 20,
        spill,
    };
    Session::new(config, Arc::new(lake)).unwrap()
}

/// A session with the tables of `fixtures/tables.sql`.
pub fn session() -> Session {
    let lake = Lake::default().with("cold", "telemetry", cold_schema()).with("late", "site_10s", cold_schema());
    let session = empty_session(Path::new("/nowhere"), lake);
    declare(&session, &fixture("tables.sql"));
    session
}

/// A session without tables and without a lake.
pub fn bare() -> Session {
    empty_session(Path::new("/nowhere"), Lake::default())
}

/// What a `CREATE TABLE` declares, and what is said of it.
pub fn create(session: &Session, sql: &str) -> (TableDefinition, Vec<String>) {
    match session.prepare(sql, &Settings::default()).unwrap_or_else(|e| panic!("{e}")) {
        Statement::CreateTable { definition, notices } => (*definition, notices),
        other => panic!("{other:?}"),
    }
}

/// Declares every table of a script.
pub fn declare(session: &Session, script: &str) {
    for sql in Session::split(script).unwrap() {
        match session.prepare(sql.text(), &Settings::default()).unwrap_or_else(|e| panic!("{e}\n{}", sql.text())) {
            Statement::CreateTable { definition, .. } => session.declare(*definition).unwrap(),
            other => panic!("not a table: {other:?}"),
        }
    }
}

/// Where this crate is; cargo says so when it runs tests.
pub fn crate_directory() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").expect("run by cargo").into()
}

fn path(name: &str) -> PathBuf {
    crate_directory().join("tests/fixtures").join(name)
}

/// The text of a fixture.
pub fn fixture(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Compares with a fixture, or writes it if asked to.
pub fn check_fixture(name: &str, got: &str) {
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        std::fs::write(path(name), got).unwrap();
        return;
    }
    let want = fixture(name);
    if let Some((want, got)) = want.lines().zip(got.lines()).find(|(want, got)| want != got) {
        panic!("{name} differs\nwant: {want}\n got: {got}");
    }
    assert_eq!(want.len(), got.len(), "{name} differs in length");
}

/// Sections of a fixture that begin with `=== title`.
pub fn sections(text: &str) -> Vec<(String, String)> {
    text.split("=== ").skip(1).filter_map(|s| s.split_once('\n')).map(|(t, b)| (t.trim().to_owned(), b.to_owned())).collect()
}
