//! `/metrics`: counters as Prometheus text. Invariant: labels come from fixed words and job names only, so that no device can
//! make new series.

use std::fmt::Write;

use axum::extract::State;
use axum::http::HeaderName;
use axum::http::header::CONTENT_TYPE;
use thalweg_engine::metrics::{GatewayCounters, JobCounters};

use super::error::ApiResult;
use super::routes::SharedState;
use super::services::{JobState, JobView};

/// `GET /metrics`.
pub(crate) async fn metrics(State(state): State<SharedState>) -> ApiResult<([(HeaderName, &'static str); 1], String)> {
    let jobs = state.jobs.list().await?;
    let mut text = gateway_text(&state.gateway);
    text.push_str(&jobs_text(&jobs));
    head(&mut text, "thalweg_problems", "gauge", "Problems that /v1/status names; 0 if all is well.");
    let _ = writeln!(text, "thalweg_problems {}", state.system.problems().len());
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text))
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn gateway_text(gateway: &GatewayCounters) -> String {
    let mut text = String::new();
    head(&mut text, "thalweg_gateway_received_total", "counter", "Records received from authenticated devices.");
    let _ = writeln!(text, "thalweg_gateway_received_total {}", gateway.received.get());
    head(&mut text, "thalweg_gateway_records_total", "counter", "What became of received records; the sum is what was received.");
    let outcomes =
        [("appended", &gateway.appended), ("duplicate", &gateway.duplicate), ("rejected", &gateway.rejected), ("failed", &gateway.failed)];
    for (outcome, counter) in outcomes {
        let _ = writeln!(text, "thalweg_gateway_records_total{{outcome=\"{outcome}\"}} {}", counter.get());
    }
    head(&mut text, "thalweg_gateway_unpromised_total", "counter", "Appended records that were sent without asking for an answer.");
    let _ = writeln!(text, "thalweg_gateway_unpromised_total {}", gateway.unpromised.get());
    head(
        &mut text,
        "thalweg_gateway_sequence_gaps_total",
        "counter",
        "Appended records before which sequences of their device are missing.",
    );
    let _ = writeln!(text, "thalweg_gateway_sequence_gaps_total {}", gateway.gaps.get());
    head(&mut text, "thalweg_gateway_shed_total", "counter", "Failed records of QoS 0, left out because the disk was nearly full.");
    let _ = writeln!(text, "thalweg_gateway_shed_total {}", gateway.shed.get());
    head(&mut text, "thalweg_gateway_refused_total", "counter", "Logins of devices that were refused.");
    let _ = writeln!(text, "thalweg_gateway_refused_total {}", gateway.refused.get());
    head(&mut text, "thalweg_gateway_connections", "gauge", "Connections of devices that are open.");
    // Read in this order, a connection that closes in between cannot make it negative.
    let closed = gateway.closed.get();
    let _ = writeln!(text, "thalweg_gateway_connections {}", gateway.opened.get().saturating_sub(closed));
    text
}

/// Counters of a job by the name of their label.
fn counts(c: &JobCounters) -> [(&'static str, u64); 13] {
    [
        ("consumed", c.consumed),
        ("lost", c.lost),
        ("expanded", c.expanded),
        ("filtered", c.filtered),
        ("aggregated", c.aggregated),
        ("passed", c.passed),
        ("late", c.late),
        ("rejected", c.rejected),
        ("emitted", c.emitted),
        ("open", c.open),
        ("held", c.held),
        ("windows", c.windows),
        ("written", c.written),
    ]
}

fn jobs_text(jobs: &[JobView]) -> String {
    let mut text = String::new();
    head(&mut text, "thalweg_job_rows", "gauge", "Rows of a job by what became of them.");
    for job in jobs {
        for (count, value) in counts(&job.counters) {
            let _ = writeln!(text, "thalweg_job_rows{{job=\"{}\",count=\"{count}\"}} {value}", job.name);
        }
    }
    head(&mut text, "thalweg_job_running", "gauge", "1 if the job is running.");
    for job in jobs {
        let _ = writeln!(text, "thalweg_job_running{{job=\"{}\"}} {}", job.name, u8::from(job.state == JobState::Running));
    }
    head(&mut text, "thalweg_job_epoch", "gauge", "Newest checkpoint of the job.");
    for job in jobs {
        let _ = writeln!(text, "thalweg_job_epoch{{job=\"{}\"}} {}", job.name, job.epoch);
    }
    head(
        &mut text,
        "thalweg_job_watermark_seconds",
        "gauge",
        "Event time up to which windows are closed, in seconds since the Unix epoch.",
    );
    for (job, watermark) in jobs.iter().filter_map(|j| Some((j, j.watermark?))) {
        let (seconds, micros) = (watermark.div_euclid(1_000_000), watermark.rem_euclid(1_000_000));
        let _ = writeln!(text, "thalweg_job_watermark_seconds{{job=\"{}\"}} {seconds}.{micros:06}", job.name);
    }
    text
}
