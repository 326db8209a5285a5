//! What the HTTP server asks for beside SQL: ingest, and the state of the whole. Invariant: a figure shown here is read where it
//! is kept; nothing is counted twice.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use thalweg_connectors::gateway::{GatewayContext, http};
use thalweg_engine::contract::LogStore;
use thalweg_engine::error::Result;
use thalweg_engine::metrics::GatewayDifference;
use thalweg_engine::room;
use thalweg_engine::time::SECOND;

use crate::app::Core;
use crate::server::{Accepted, Ingest, LogFigures, SystemView, Telemetry};

/// Answers from the parts of a server.
pub struct Services {
    core: Arc<Core>,
    context: GatewayContext,
}

impl Services {
    /// Over open parts.
    pub fn new(core: Arc<Core>, context: GatewayContext) -> Self {
        Self { core, context }
    }
}

#[async_trait]
impl Ingest for Services {
    async fn ingest(&self, t: Telemetry) -> Result<Accepted> {
        let accepted = http::ingest(&self.context, &t.device, &t.stream, t.media_type.as_deref(), t.producer, &t.body).await?;
        Ok(Accepted { accepted: accepted.records as u64, duplicates: accepted.duplicates as u64 })
    }
}

#[async_trait]
impl SystemView for Services {
    fn problems(&self) -> Vec<String> {
        let mut problems = self.core.logs.problems();
        problems.extend(self.core.logs.clock_problem());
        problems.extend(self.core.engine.problems());
        problems.extend(imbalance(self.gateway_difference()));
        problems.extend(room::check(&*self.core.disk, &self.core.layout.checkpoints).err().map(|e| e.to_string()));
        problems
    }

    fn gateway_difference(&self) -> GatewayDifference {
        self.core.counters.difference(|| self.core.logged())
    }

    fn log_figures(&self) -> LogFigures {
        let logs = &self.core.logs;
        let scrubbed = logs.scrubbed();
        LogFigures {
            torn_bytes: logs.torn_bytes(),
            scrubbed_bytes: scrubbed.bytes,
            scrubbed_segments: scrubbed.segments,
            damaged_segments: logs.damaged_segments(),
            dropped_unread: logs.dropped_unread(),
            received_ahead_s: logs.received_ahead().map_or(0, |(_, ahead)| (ahead / SECOND).unsigned_abs()),
        }
    }

    async fn status(&self) -> Result<Value> {
        let c = &self.core.counters;
        let mut streams = serde_json::Map::new();
        for name in self.core.logs.streams() {
            // One that cannot be opened is among the problems.
            let Ok(log) = self.core.logs.stream(&name) else { continue };
            let bounds: Vec<Value> = (0..log.partitions()).map(|p| log.bounds(p)).map(|b| json!([b.start, b.end])).collect();
            streams.insert(name.to_string(), json!({ "partitions": bounds }));
        }
        let scrubbed = self.core.logs.scrubbed();
        Ok(json!({
            "version": env!("CARGO_PKG_VERSION"),
            "data": self.core.config.data.display().to_string(),
            "gateway": {
                "received": c.received.get(), "appended": c.appended.get(), "duplicate": c.duplicate.get(),
                "rejected": c.rejected.get(), "failed": c.failed.get(), "unpromised": c.unpromised.get(),
                "gaps": c.gaps.get(), "shed": c.shed.get(),
                "refused": c.refused.get(), "connections": c.opened.get().saturating_sub(c.closed.get()),
            },
            "streams": streams,
            "scrubbed": { "bytes": scrubbed.bytes, "segments": scrubbed.segments, "rounds": scrubbed.rounds },
        }))
    }

    async fn catalog(&self) -> Result<Value> {
        let core = self.core.clone();
        crate::sql_service::blocking(move || {
            core.lake.refresh_catalog()?;
            let bytes = std::fs::read(core.lake.root().join("_catalog/catalog.json"))?;
            Ok(serde_json::from_slice(&bytes)?)
        })
        .await
    }
}

/// What is wrong with the counts of the gateway.
fn imbalance(difference: GatewayDifference) -> Option<String> {
    let GatewayDifference { received, log } = difference;
    let found: Vec<String> = [
        (log > 0).then(|| format!("{log} records were acknowledged that the log does not hold")),
        (received > 0).then(|| format!("the fate of {received} records more was counted than were received")),
    ]
    .into_iter()
    .flatten()
    .collect();
    let told = format!("gateway: {}: a bug or a loss; keep the data directory and report this", found.join(", "));
    (!found.is_empty()).then_some(told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_stream_that_cannot_be_opened_is_a_problem_and_the_status_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let damaged = directory.path().join("log/vibration");
        std::fs::create_dir_all(&damaged).unwrap();
        std::fs::write(damaged.join("stream.json"), "{").unwrap();
        let core = Core::open(Config { data: directory.path().to_owned(), partitions: 1, ..Config::default() }).unwrap();
        let core = Arc::new(core);
        let context = GatewayContext::new(core.devices.clone(), core.logs.clone(), core.counters.clone());
        let services = Services::new(core.clone(), context);
        let status = services.status().await.unwrap();
        assert_eq!(status["streams"].as_object().unwrap().keys().collect::<Vec<_>>(), ["telemetry"]);
        assert!(services.problems()[0].contains("log vibration: "), "{:?}", services.problems());
        tokio::task::spawn_blocking(move || core.close()).await.unwrap();
    }

    #[test]
    fn a_difference_of_the_gateway_is_told_in_records() {
        assert_eq!(imbalance(GatewayDifference::default()), None);
        let lost = imbalance(GatewayDifference { received: 0, log: 3 }).unwrap();
        assert!(lost.starts_with("gateway: 3 records were acknowledged that the log does not hold: a bug or a loss"), "{lost}");
        let both = imbalance(GatewayDifference { received: 2, log: 3 }).unwrap();
        assert!(both.contains("does not hold, the fate of 2 records more"), "{both}");
    }
}
