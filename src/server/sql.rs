//! `/v1/sql`: one statement, its rows or a sentence as the answer. Invariant: when the client goes away its query ends; live rows end
//! with the token that asked for them, too.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Response};
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::json;
use thalweg_engine::error::Error;
use thalweg_engine::ids::Name;
use thalweg_engine::time::Micros;

use super::body;
use super::error::ApiResult;
use super::extract::{Caller, Small};
use super::routes::SharedState;
use super::rows::respond;
use super::services::SqlOutcome;

/// How often a token is looked at while live rows go to whoever showed it.
const TOKEN_LOOK: Duration = Duration::from_secs(1);

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
    let name = caller.principal.name.clone();
    let made = state.devices.token_made(&name);
    let outcome = state.sql.execute_with(&caller.principal, &sql, &settings).await?;
    match outcome {
        SqlOutcome::Message(message) => Ok(Json(json!({"message": message})).into_response()),
        SqlOutcome::Rows(rows) => respond(&headers, rows, live_until(state, name, made)).await,
    }
}

/// Completes when live rows have to end: the server stops, or the token that was `made` then is no longer good.
async fn live_until(state: SharedState, name: Name, made: Option<Micros>) {
    let is_void = async {
        while made.is_some() && state.devices.token_made(&name) == made {
            tokio::time::sleep(TOKEN_LOOK).await;
        }
    };
    tokio::select! {
        () = state.shutdown.cancelled() => {}
        () = is_void => {}
    }
}
