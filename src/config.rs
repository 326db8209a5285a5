//! Settings. Invariant: a setting is a plain value with a default that works; nothing in here opens anything. Later sources win:
//! built-in default, `thalweg.toml`, command line.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use thalweg_engine::contract::connector::parse_duration;
use thalweg_engine::error::{Error, Result};
use thalweg_engine::limits;

/// Settings of a server.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Directory that holds everything that lasts.
    pub data: PathBuf,
    /// Address of the HTTP API.
    pub http: SocketAddr,
    /// Address of the MQTT gateway.
    pub mqtt: SocketAddr,
    /// Address of the AMQP gateway.
    pub amqp: SocketAddr,
    /// Partitions of a new stream; 0 takes the number of cores.
    pub partitions: u32,
    /// Time between checkpoints of a job, which is how old the lake is at most.
    #[serde(deserialize_with = "duration")]
    pub checkpoint_interval: Duration,
    /// Size at which a segment of the log is sealed, in bytes.
    pub segment_bytes: u64,
    /// Age at which segments of the log are removed, once every reader is done with them; none keeps them.
    #[serde(deserialize_with = "optional_duration")]
    pub retention: Option<Duration>,
    /// Size of a stream beyond which its oldest segments are removed, once every reader is done with them.
    pub retention_bytes: Option<u64>,
    /// Size of a stream beyond which its oldest segments are removed even if a job or savepoint needs them; none keeps what is needed.
    pub retention_bytes_hard: Option<u64>,
    /// Time for which files of the lake that were replaced stay readable; the logs of its tables remember twice as much.
    #[serde(deserialize_with = "duration")]
    pub lake_history: Duration,
    /// Owner of data sets that are declared without one.
    pub owner: String,
    /// Description of data sets that are declared without one.
    pub description: String,
    /// Memory of all batch queries together, in bytes.
    pub query_memory_bytes: usize,
    /// Memory that the state of all jobs together may take, in bytes; none takes a quarter of the machine's.
    pub state_memory_bytes: Option<u64>,
    /// Time from the beginning of a batch query to its last row.
    #[serde(deserialize_with = "duration")]
    pub query_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: PathBuf::from("thalweg-data"),
            http: SocketAddr::from(([127, 0, 0, 1], 8080)),
            mqtt: SocketAddr::from(([127, 0, 0, 1], 1883)),
            amqp: SocketAddr::from(([127, 0, 0, 1], 5672)),
            partitions: 0,
            checkpoint_interval: Duration::from_millis(limits::CHECKPOINT_INTERVAL_MS_DEFAULT),
            segment_bytes: limits::SEGMENT_BYTES_DEFAULT,
            retention: None,
            retention_bytes: None,
            retention_bytes_hard: None,
            lake_history: Duration::from_secs(limits::LAKE_HISTORY_S_DEFAULT),
            owner: "nobody@localhost".to_owned(),
            description: "no description was given".to_owned(),
            query_memory_bytes: limits::QUERY_MEMORY_BYTES_DEFAULT,
            state_memory_bytes: None,
            query_timeout: Duration::from_secs(limits::QUERY_S_DEFAULT),
        }
    }
}

impl Config {
    /// Reads `path`, or `thalweg.toml` beside the caller if it is there. Errors: `Invalid`, with the place in the file.
    pub fn load(path: Option<&Path>) -> Result<Self> {
        let (path, needed) = path.map_or((Path::new("thalweg.toml"), false), |p| (p, true));
        match std::fs::read_to_string(path) {
            Ok(text) => toml::from_str(&text).map_err(|e| Error::invalid(format!("{}: {}", path.display(), e.to_string().trim_end()))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !needed => Ok(Self::default()),
            Err(e) => Err(Error::from(e)
                .context(format!("configuration file {}", path.display()))
                .hint("name a file that is there with --config")),
        }
    }

    /// Partitions that a new stream gets.
    pub fn partitions(&self) -> u32 {
        let cores = std::thread::available_parallelism().map_or(2, |n| u32::try_from(n.get()).unwrap_or(2));
        if self.partitions == 0 { cores.clamp(2, 16) } else { self.partitions.min(limits::PARTITIONS_MAX) }
    }
}

fn duration<'de, D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Duration, D::Error> {
    parse_duration(&String::deserialize(from)?).map_err(serde::de::Error::custom)
}

fn optional_duration<'de, D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Option<Duration>, D::Error> {
    duration(from).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_sets_what_it_names_and_a_wrong_key_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.toml");
        std::fs::write(&path, "http = '127.0.0.1:9000'\namqp = '127.0.0.1:0'\ncheckpoint-interval = '2s'\nretention = '7d'\n").unwrap();
        let config = Config::load(Some(&path)).unwrap();
        assert_eq!((config.http.port(), config.checkpoint_interval), (9000, Duration::from_secs(2)));
        assert_eq!((config.amqp.port(), Config::default().amqp.port()), (0, 5672));
        assert_eq!((config.retention, config.mqtt.port()), (Some(Duration::from_secs(7 * 86_400)), 1883));
        std::fs::write(&path, "htpp = 'x'\n").unwrap();
        let error = Config::load(Some(&path)).unwrap_err().to_string();
        assert!(error.contains("htpp") && error.contains("t.toml"), "{error}");
    }
}
