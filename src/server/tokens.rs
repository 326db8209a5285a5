//! `/v1/tokens`: the tokens of operators and analysts. Invariant: a token is in exactly one response, the one that made it.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use thalweg_devices::Role;
use thalweg_engine::ids::Name;

use super::body;
use super::error::ApiResult;
use super::extract::{Caller, NamePath, Small, blocking};
use super::routes::SharedState;

/// `GET /v1/tokens`: names and roles.
pub(crate) async fn list(State(state): State<SharedState>) -> ApiResult<Json<Value>> {
    Ok(Json(json!({"tokens": state.devices.list_tokens()})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewToken {
    name: Name,
    role: Role,
}

/// `POST /v1/tokens`: makes a token and shows it, once.
pub(crate) async fn create(State(state): State<SharedState>, caller: Caller, Small(bytes): Small) -> ApiResult<(StatusCode, Json<Value>)> {
    let NewToken { name, role } = body::json(&bytes)?;
    let shown = name.clone();
    let token = blocking(move || state.devices.create_token(&caller.actor, &name, role)).await?;
    Ok((StatusCode::CREATED, Json(json!({"name": shown, "role": role, "token": token.expose()}))))
}

/// `DELETE /v1/tokens/{name}`: makes a token void at once.
pub(crate) async fn revoke(State(state): State<SharedState>, caller: Caller, NamePath(name): NamePath) -> ApiResult<StatusCode> {
    blocking(move || state.devices.revoke_token(&caller.actor, &name)).await?;
    Ok(StatusCode::NO_CONTENT)
}
