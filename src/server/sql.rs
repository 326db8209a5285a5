//! `/v1/sql`: one statement, its rows or a sentence as the answer. Invariant: when the client goes away its query ends.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Response};
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::json;
use thalweg_engine::error::Error;

use super::body;
use super::error::ApiResult;
use super::extract::{Caller, Small};
use super::routes::SharedState;
use super::rows::respond;
use super::services::SqlOutcome;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    sql: String,
    #[serde(default)]
    settings: BTreeMap<String, String>,
}

/// Runs the statement in the body: its text, or `{"sql": "…", "settings": {"key": "value"}}`.
pub(crate) async fn execute(
    State(state): State<SharedState>,
    caller: Caller,
    headers: HeaderMap,
    Small(bytes): Small,
) -> ApiResult<Response<Body>> {
    let is_json = headers.get(CONTENT_TYPE).is_some_and(|v| v.as_bytes().starts_with(b"application/json"));
    let Statement { sql, settings } = if is_json || bytes.trim_ascii_start().starts_with(b"{") {
        body::json::<Statement>(&bytes)?
    } else {
        let sql = String::from_utf8(bytes.to_vec()).map_err(|_| Error::invalid("the statement is not UTF-8"))?;
        Statement { sql, settings: BTreeMap::new() }
    };
    if sql.trim().is_empty() {
        return Err(Error::invalid("the body holds no statement").hint("send SQL as text, or {\"sql\": \"…\"}").into());
    }
    match state.sql.execute_with(&caller.principal, &sql, &settings).await? {
        SqlOutcome::Message(message) => Ok(Json(json!({"message": message})).into_response()),
        SqlOutcome::Rows(rows) => respond(&headers, rows, state.shutdown.clone()).await,
    }
}
