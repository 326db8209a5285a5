//! `/metrics`: what is measured, as Prometheus text. Invariant: every metric is in `METRICS`, with its unit; labels come from fixed words and
//! job names only, so that no device can make new series.

use std::fmt::Write;

use axum::extract::State;
use axum::http::HeaderName;
use axum::http::header::CONTENT_TYPE;
use thalweg_engine::metrics::{GatewayCounters, GatewayDifference, JobCounters};

use super::error::ApiResult;
use super::routes::SharedState;
use super::services::{JobState, JobView, LogFigures};

/// One metric.
struct Metric {
    /// Its name.
    name: &'static str,
    /// `counter` or `gauge`.
    kind: &'static str,
    /// What its values are counted in.
    unit: &'static str,
    /// What it tells.
    about: &'static str,
    /// Where its values come from.
    values: Values,
}

/// The values of a metric.
#[derive(Clone, Copy)]
enum Values {
    /// One.
    Gateway(fn(&GatewayCounters) -> u64),
    /// One an outcome of a record.
    Outcomes,
    /// One for each law of the gateway.
    GatewayDifferences,
    /// One a job that has any.
    Job(fn(&JobView) -> Option<f64>),
    /// One a job and count.
    Counts,
    /// One a job and what must balance.
    Differences,
    /// One.
    Log(fn(&LogFigures) -> u64),
    /// One: problems of the server.
    Problems,
}

/// Every metric, sorted by name.
static METRICS: &[Metric] = &[
    Metric {
        name: "thalweg_gateway_connections",
        kind: "gauge",
        unit: "connections",
        about: "Connections of devices that are open.",
        values: Values::Gateway(open_connections),
    },
    Metric {
        name: "thalweg_gateway_difference",
        kind: "gauge",
        unit: "records",
        about: "Records that the gateway has counted and that cannot be, by `of`: more settled than received, or more acknowledged than the log has taken; anything but 0 is a bug or a loss.",
        values: Values::GatewayDifferences,
    },
    Metric {
        name: "thalweg_gateway_received_total",
        kind: "counter",
        unit: "records",
        about: "Records received from authenticated devices.",
        values: Values::Gateway(|g| g.received.get()),
    },
    Metric {
        name: "thalweg_gateway_records_total",
        kind: "counter",
        unit: "records",
        about: "What became of received records, by `outcome`; the sum is what was received.",
        values: Values::Outcomes,
    },
    Metric {
        name: "thalweg_gateway_refused_total",
        kind: "counter",
        unit: "logins",
        about: "Logins of devices that were refused.",
        values: Values::Gateway(|g| g.refused.get()),
    },
    Metric {
        name: "thalweg_gateway_sequence_gaps_total",
        kind: "counter",
        unit: "records",
        about: "Appended records before which sequences of their device are missing.",
        values: Values::Gateway(|g| g.gaps.get()),
    },
    Metric {
        name: "thalweg_gateway_shed_total",
        kind: "counter",
        unit: "records",
        about: "Failed records of QoS 0, left out because the disk was nearly full.",
        values: Values::Gateway(|g| g.shed.get()),
    },
    Metric {
        name: "thalweg_gateway_unpromised_total",
        kind: "counter",
        unit: "records",
        about: "Appended records that were sent without asking for an answer.",
        values: Values::Gateway(|g| g.unpromised.get()),
    },
    Metric {
        name: "thalweg_job_checkpoint_duration_seconds",
        kind: "gauge",
        unit: "seconds",
        about: "How long the newest checkpoint of the job took, from its barrier to its commit.",
        values: Values::Job(|j| j.checkpoint_ms.map(|ms| ms as f64 / 1_000.0)),
    },
    Metric {
        name: "thalweg_job_checkpoint_timestamp_seconds",
        kind: "gauge",
        unit: "seconds since 1970",
        about: "When the newest checkpoint of the job was taken; `time()` minus it is its age.",
        values: Values::Job(|j| j.checkpoint_at.map(seconds)),
    },
    Metric {
        name: "thalweg_job_difference",
        kind: "gauge",
        unit: "rows",
        about: "By how much the counts of the job at its newest checkpoint do not balance, by `of`: rows or windows; anything but 0 is a bug or a loss.",
        values: Values::Differences,
    },
    Metric {
        name: "thalweg_job_epoch",
        kind: "gauge",
        unit: "checkpoints",
        about: "Number of the newest checkpoint of the job.",
        values: Values::Job(|j| Some(j.epoch as f64)),
    },
    Metric {
        name: "thalweg_job_lag_records",
        kind: "gauge",
        unit: "records",
        about: "Records of the log that the job has not read yet.",
        values: Values::Job(|j| Some(j.lag as f64)),
    },
    Metric {
        name: "thalweg_job_lag_seconds",
        kind: "gauge",
        unit: "seconds",
        about: "By how much the newest record was received after the last one that the job read; 0 if it has read all.",
        values: Values::Job(|j| j.lag_s.map(|s| s as f64)),
    },
    Metric {
        name: "thalweg_job_restarts_total",
        kind: "counter",
        unit: "restarts",
        about: "How often the job failed and was started again, since the server was.",
        values: Values::Job(|j| Some(j.restarts as f64)),
    },
    Metric {
        name: "thalweg_job_rows",
        kind: "gauge",
        unit: "rows",
        about: "Rows of a job by what became of them, by `count`.",
        values: Values::Counts,
    },
    Metric {
        name: "thalweg_job_rows_per_second",
        kind: "gauge",
        unit: "records a second",
        about: "Records that the job reads in a second, over the last ten.",
        values: Values::Job(|j| Some(j.rate)),
    },
    Metric {
        name: "thalweg_job_running",
        kind: "gauge",
        unit: "0 or 1",
        about: "1 if the job is running.",
        values: Values::Job(|j| Some(f64::from(u8::from(j.state == JobState::Running)))),
    },
    Metric {
        name: "thalweg_job_state_bytes",
        kind: "gauge",
        unit: "bytes",
        about: "Memory that the state of the job takes, estimated from the sizes of its buffers.",
        values: Values::Job(|j| Some(j.state_bytes as f64)),
    },
    Metric {
        name: "thalweg_job_state_groups",
        kind: "gauge",
        unit: "groups",
        about: "Groups, sessions and rows that the state of the job is made of.",
        values: Values::Job(|j| Some(j.state_groups as f64)),
    },
    Metric {
        name: "thalweg_job_watermark_seconds",
        kind: "gauge",
        unit: "seconds since 1970",
        about: "Event time up to which windows are closed.",
        values: Values::Job(|j| j.watermark.map(seconds)),
    },
    Metric {
        name: "thalweg_log_damaged_segments",
        kind: "gauge",
        unit: "segments",
        about: "Sealed segments of the log that were read again and found damaged.",
        values: Values::Log(|l| l.damaged_segments),
    },
    Metric {
        name: "thalweg_log_dropped_unread_records_total",
        kind: "counter",
        unit: "records",
        about: "Records that retention removed although a job or savepoint needed them, past `retention-bytes-hard`.",
        values: Values::Log(|l| l.dropped_unread),
    },
    Metric {
        name: "thalweg_log_received_ahead_seconds",
        kind: "gauge",
        unit: "seconds",
        about: "By how much the newest receive time of the log is ahead of the clock: after a clock that was ahead, or while it is behind.",
        values: Values::Log(|l| l.received_ahead_s),
    },
    Metric {
        name: "thalweg_log_scrubbed_bytes_total",
        kind: "counter",
        unit: "bytes",
        about: "Sealed segments of the log that were read again to find damage.",
        values: Values::Log(|l| l.scrubbed_bytes),
    },
    Metric {
        name: "thalweg_log_scrubbed_segments_total",
        kind: "counter",
        unit: "segments",
        about: "Sealed segments of the log that were read again, each as often as it was.",
        values: Values::Log(|l| l.scrubbed_segments),
    },
    Metric {
        name: "thalweg_log_torn_bytes_total",
        kind: "counter",
        unit: "bytes",
        about: "Torn tails of the log that were cut off at the start; nothing in them was ever acknowledged.",
        values: Values::Log(|l| l.torn_bytes),
    },
    Metric {
        name: "thalweg_problems",
        kind: "gauge",
        unit: "problems",
        about: "Problems that /v1/status names; 0 if all is well.",
        values: Values::Problems,
    },
];

/// `GET /metrics`.
pub(crate) async fn metrics(State(state): State<SharedState>) -> ApiResult<([(HeaderName, &'static str); 1], String)> {
    let jobs = state.jobs.list().await?;
    let (problems, log) = (state.system.problems().len(), state.system.log_figures());
    let gateway = (&*state.gateway, state.system.gateway_difference());
    let text = METRICS.iter().map(|metric| metric.text(gateway, &log, &jobs, problems)).collect();
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text))
}

impl Metric {
    fn text(
        &self,
        (gateway, difference): (&GatewayCounters, GatewayDifference),
        log: &LogFigures,
        jobs: &[JobView],
        problems: usize,
    ) -> String {
        let Self { name, kind, unit, about, .. } = self;
        let mut text = format!("# HELP {name} {about} In {unit}.\n# TYPE {name} {kind}\n");
        let mut put = |labels: &str, value: f64| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name}{labels} {value}");
        };
        match self.values {
            Values::Gateway(value) => put("", value(gateway) as f64),
            Values::Log(value) => put("", value(log) as f64),
            Values::Problems => put("", problems as f64),
            Values::Outcomes => {
                let counters = [&gateway.appended, &gateway.duplicate, &gateway.rejected, &gateway.failed];
                for (outcome, counter) in ["appended", "duplicate", "rejected", "failed"].into_iter().zip(counters) {
                    put(&format!("{{outcome=\"{outcome}\"}}"), counter.get() as f64);
                }
            }
            Values::GatewayDifferences => {
                for (of, value) in [("received", difference.received), ("log", difference.log)] {
                    put(&format!("{{of=\"{of}\"}}"), value as f64);
                }
            }
            Values::Job(value) => {
                for (job, value) in jobs.iter().filter_map(|job| Some((job, value(job)?))) {
                    put(&format!("{{job=\"{}\"}}", job.name), value);
                }
            }
            Values::Differences => {
                for job in jobs {
                    for (of, value) in [("rows", job.committed.row_balance()), ("windows", job.committed.window_balance())] {
                        put(&format!("{{job=\"{}\",of=\"{of}\"}}", job.name), value as f64);
                    }
                }
            }
            Values::Counts => {
                for job in jobs {
                    for (count, value) in counts(&job.counters) {
                        put(&format!("{{job=\"{}\",count=\"{count}\"}}", job.name), value as f64);
                    }
                }
            }
        }
        text
    }
}

/// Read in this order, a connection that closes in between cannot make it negative.
fn open_connections(gateway: &GatewayCounters) -> u64 {
    let closed = gateway.closed.get();
    gateway.opened.get().saturating_sub(closed)
}

fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_sorted_and_counters_are_called_so() {
        assert!(METRICS.is_sorted_by(|a, b| a.name < b.name));
        for metric in METRICS {
            assert_eq!(metric.name.ends_with("_total"), metric.kind == "counter", "{}", metric.name);
            assert!(!metric.unit.is_empty() && metric.about.ends_with('.'), "{}", metric.name);
        }
    }
}
