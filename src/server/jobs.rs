//! `/v1/jobs`: the jobs, and stopping one. Invariant: what is shown of a job is what the job service says now.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::error::ApiResult;
use super::extract::JobPath;
use super::routes::SharedState;
use super::services::JobView;

/// `GET /v1/jobs`: all jobs, by name.
pub(crate) async fn list(State(state): State<SharedState>) -> ApiResult<Json<Value>> {
    Ok(Json(json!({"jobs": state.jobs.list().await?})))
}

/// `GET /v1/jobs/{name}`: one job.
pub(crate) async fn get(State(state): State<SharedState>, JobPath(name): JobPath) -> ApiResult<Json<JobView>> {
    Ok(Json(state.jobs.get(&name).await?))
}

/// `POST /v1/jobs/{name}/stop`: stops a job after a last checkpoint.
pub(crate) async fn stop(State(state): State<SharedState>, JobPath(name): JobPath) -> ApiResult<Json<JobView>> {
    Ok(Json(state.jobs.stop(&name).await?))
}
