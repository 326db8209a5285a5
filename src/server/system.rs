//! `/health`, `/v1/status`, `/v1/catalog`: the system as a whole. Invariant: `/health` says one word and nothing about what is
//! inside, because anybody may ask.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::error::ApiResult;
use super::routes::SharedState;
use super::services::Health;

/// `GET /health`: 200 and `ok`, or 503 and `degraded`.
pub(crate) async fn health(State(state): State<SharedState>) -> (StatusCode, Json<Value>) {
    let (status, health) = match state.system.problems().is_empty() {
        true => (StatusCode::OK, Health::Ok),
        false => (StatusCode::SERVICE_UNAVAILABLE, Health::Degraded),
    };
    (status, Json(json!({"status": health})))
}

/// `GET /v1/status`: figures for operators, and what is wrong.
pub(crate) async fn status(State(state): State<SharedState>) -> ApiResult<Json<Value>> {
    let mut status = state.system.status().await?;
    status["problems"] = state.system.problems().into();
    Ok(Json(status))
}

/// `GET /v1/catalog`: the data catalog.
pub(crate) async fn catalog(State(state): State<SharedState>) -> ApiResult<Json<Value>> {
    Ok(Json(state.system.catalog().await?))
}
