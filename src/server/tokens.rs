//! `/v1/tokens`: the tokens of operators and analysts. Invariant: a token is in exactly one response, the one that made it.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use thalweg_devices::Role;
use thalweg_engine::contract::connector::parse_duration;
use thalweg_engine::ids::Name;

use super::body;
use super::error::ApiResult;
use super::extract::{Caller, NamePath, Small, blocking};
use super::routes::SharedState;

/// `GET /v1/tokens`: names, roles and ends.
pub(crate) async fn list(State(state): State<SharedState>) -> ApiResult<Json<Value>> {
    Ok(Json(json!({"tokens": state.devices.list_tokens()})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewToken {
    name: Name,
    role: Role,
    /// A length of time such as 90d; left out: until it is revoked.
    expires: Option<String>,
}

/// `POST /v1/tokens`: makes a token and shows it, once.
pub(crate) async fn create(State(state): State<SharedState>, caller: Caller, Small(bytes): Small) -> ApiResult<(StatusCode, Json<Value>)> {
    let NewToken { name, role, expires } = body::json(&bytes)?;
    let lifetime = expires.as_deref().map(parse_duration).transpose().map_err(|e| e.context("expires"))?;
    let shown = name.clone();
    let token = blocking(move || state.devices.create_token(&caller.actor, &name, role, lifetime)).await?;
    Ok((StatusCode::CREATED, Json(json!({"name": shown, "role": role, "token": token.expose()}))))
}

/// `DELETE /v1/tokens/{name}`: makes a token void at once.
pub(crate) async fn revoke(State(state): State<SharedState>, caller: Caller, NamePath(name): NamePath) -> ApiResult<StatusCode> {
    blocking(move || state.devices.revoke_token(&caller.actor, &name)).await?;
    Ok(StatusCode::NO_CONTENT)
}
