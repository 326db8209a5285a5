//! `/v1/jobs`: the jobs, and stopping one. Invariant: what is shown of a job is what the job service says now.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body;
use super::error::ApiResult;
use super::extract::{Caller, JobPath, Small};
use super::routes::SharedState;
use super::services::{JobView, StopMode};

/// `GET /v1/jobs`: all jobs, by name.
pub(crate) async fn list(State(state): State<SharedState>) -> ApiResult<Json<Value>> {
    Ok(Json(json!({"jobs": state.jobs.list().await?})))
}

/// `GET /v1/jobs/{name}`: one job.
pub(crate) async fn get(State(state): State<SharedState>, JobPath(name): JobPath) -> ApiResult<Json<JobView>> {
    Ok(Json(state.jobs.get(&name).await?))
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Stop {
    #[serde(default)]
    savepoint: bool,
}

/// `POST /v1/jobs/{name}/stop`: stops a job, after one more checkpoint if `{"savepoint": true}`.
pub(crate) async fn stop(
    State(state): State<SharedState>,
    caller: Caller,
    JobPath(name): JobPath,
    Small(bytes): Small,
) -> ApiResult<Json<JobView>> {
    let wanted: Stop = if bytes.is_empty() { Stop::default() } else { body::json(&bytes)? };
    let mode = if wanted.savepoint { StopMode::Savepoint } else { StopMode::Now };
    Ok(Json(state.jobs.stop(&caller.principal, &name, mode).await?))
}
