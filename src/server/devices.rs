//! `/v1/devices`: register, activate, look at, describe, give keys to and revoke devices. Invariant: a secret is in exactly one
//! response, the one to whoever it was made for.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use serde::Deserialize;
use serde_json::{Value, json};
use thalweg_devices::{ActivationKey, DeviceState, DeviceView, ListFilter, Page, Registered, Registration, Secret};
use thalweg_engine::contract::connector::parse_duration;
use thalweg_engine::error::{Error, ErrorKind};
use thalweg_engine::ids::DeviceId;
use thalweg_engine::limits::CONNECT_BYTES_MAX;
use thalweg_engine::time;

use super::body;
use super::error::{ApiError, ApiResult};
use super::extract::{Caller, DevicePath, Small, blocking, peer, query};
use super::routes::SharedState;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewDevice {
    device_id: DeviceId,
    /// Left out: one is made and returned.
    activation_key: Option<String>,
    /// UTC, such as 2026-01-02T03:04:05Z; left out: it does not end.
    activation_not_after: Option<String>,
    metadata: Option<Value>,
}

/// `POST /v1/devices`: one device or an array of them, all or none.
pub(crate) async fn register(
    State(state): State<SharedState>,
    caller: Caller,
    Small(bytes): Small,
) -> ApiResult<(StatusCode, Json<Value>)> {
    let single = !bytes.trim_ascii_start().starts_with(b"[");
    let wanted: Vec<NewDevice> = if single { vec![body::json(&bytes)?] } else { body::json(&bytes)? };
    let registrations = wanted.into_iter().map(registration).collect::<ApiResult<Vec<_>>>()?;
    let registered = blocking(move || state.devices.register_all(&caller.actor, registrations)).await?;
    let mut answers: Vec<Value> = registered.iter().map(registered_json).collect();
    let answer = if single { answers.pop().unwrap_or_default() } else { json!({"devices": answers}) };
    Ok((StatusCode::CREATED, Json(answer)))
}

fn registration(wanted: NewDevice) -> ApiResult<Registration> {
    let not_after = wanted.activation_not_after.map(|text| {
        time::parse(text.as_bytes())
            .ok_or_else(|| Error::invalid(format!("activation_not_after {text:?} is no time")).hint("write 2026-01-02T03:04:05Z"))
    });
    Ok(Registration {
        device: wanted.device_id,
        activation_key: wanted.activation_key.map_or(ActivationKey::Generate, |key| ActivationKey::Given(Secret::new(key))),
        activation_not_after: not_after.transpose()?,
        metadata: wanted.metadata,
    })
}

fn registered_json(registered: &Registered) -> Value {
    let mut answer = json!({"device_id": registered.device, "state": DeviceState::Registered});
    if let Some(key) = &registered.activation_key {
        answer["activation_key"] = key.expose().into();
    }
    answer
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    state: Option<DeviceState>,
    after: Option<DeviceId>,
    limit: Option<usize>,
}

/// `GET /v1/devices?state=&after=&limit=`: a page of devices, by id.
pub(crate) async fn list(State(state): State<SharedState>, uri: Uri) -> ApiResult<Json<Page>> {
    let wanted: ListQuery = query(&uri)?;
    Ok(Json(state.devices.list(&ListFilter { state: wanted.state, after: wanted.after, limit: wanted.limit.unwrap_or(100) })))
}

/// `GET /v1/devices/{id}`: one device, with its catalog document.
pub(crate) async fn get(State(state): State<SharedState>, DevicePath(device): DevicePath) -> ApiResult<Json<DeviceView>> {
    Ok(Json(state.devices.get(&device)?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Activate {
    activation_key: String,
}

/// `POST /v1/devices/{id}/activate`: the device shows its activation key and gets its key, once.
pub(crate) async fn activate(State(state): State<SharedState>, DevicePath(device): DevicePath, request: Request) -> ApiResult<Json<Value>> {
    let peer = peer(request.extensions());
    let bytes = body::read(request, CONNECT_BYTES_MAX).await?;
    let shown: Activate = body::json(&bytes)?;
    let id = device.clone();
    let devices = state.devices.clone();
    let task = tokio::task::spawn_blocking(move || devices.activate(id.as_str(), &Secret::new(shown.activation_key), peer));
    let key = task.await.map_err(|e| Error::internal(format!("activation did not end: {e}")))?;
    let key = key.map_err(|e| {
        if e.kind() == ErrorKind::Invalid {
            state.gateway.refused.add(1);
        }
        ApiError::of_login(e).without_inside()
    })?;
    Ok(Json(json!({"device_id": device, "key": key.expose()})))
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct IssueKey {
    overlap: Option<String>,
}

/// `POST /v1/devices/{id}/keys`: another key; older ones end after `overlap` (at once if left out).
pub(crate) async fn issue_key(
    State(state): State<SharedState>,
    caller: Caller,
    DevicePath(device): DevicePath,
    Small(bytes): Small,
) -> ApiResult<(StatusCode, Json<Value>)> {
    let wanted: IssueKey = if bytes.is_empty() { IssueKey::default() } else { body::json(&bytes)? };
    let overlap = wanted.overlap.as_deref().map(parse_duration).transpose()?.unwrap_or(Duration::ZERO);
    let id = device.clone();
    let key = blocking(move || state.devices.issue_key(&caller.actor, &id, overlap)).await?;
    Ok((StatusCode::CREATED, Json(json!({"device_id": device, "key": key.expose()}))))
}

/// `PUT /v1/devices/{id}/metadata`: replaces the catalog document.
pub(crate) async fn describe(
    State(state): State<SharedState>,
    caller: Caller,
    DevicePath(device): DevicePath,
    Small(bytes): Small,
) -> ApiResult<Json<DeviceView>> {
    let document: Value = body::json(&bytes)?;
    changed(state, device, move |devices, device| devices.describe(&caller.actor, device, document)).await
}

/// `POST /v1/devices/{id}/revoke`: takes all rights from the device, for good.
pub(crate) async fn revoke(
    State(state): State<SharedState>,
    caller: Caller,
    DevicePath(device): DevicePath,
) -> ApiResult<Json<DeviceView>> {
    changed(state, device, move |devices, device| devices.revoke(&caller.actor, device)).await
}

/// Changes a device and answers with what it is then.
async fn changed(
    state: SharedState,
    device: DeviceId,
    change: impl FnOnce(&Arc<thalweg_devices::Devices>, &DeviceId) -> thalweg_engine::error::Result<()> + Send + 'static,
) -> ApiResult<Json<DeviceView>> {
    let changed = blocking(move || {
        change(&state.devices, &device)?;
        state.devices.get(&device)
    });
    Ok(Json(changed.await?))
}
