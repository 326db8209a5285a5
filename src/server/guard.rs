//! Who may call what. Invariant: a request reaches its handler only with a proof of what its route asks for; the check is here
//! and nowhere else.
//!
//! ```text
//! Open             nothing asked
//! Device           Authorization: Bearer <key of the device in the path>, or Basic <device>:<key>
//! Needs(role)      Authorization: Bearer <token of that role or a higher one>; a device's key is none
//! ```

use std::net::IpAddr;
use std::time::Duration;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use thalweg_devices::{Principal, Role};
use thalweg_engine::contract::{DeviceAuthority, Identity};
use thalweg_engine::error::{Error, ErrorKind};
use thalweg_engine::ids::DeviceId;

use super::error::{ApiError, ApiResult};
use super::extract::{DevicePath, peer};
use super::routes::{Access, Route, SharedState};
use super::services::ServerState;

/// Checks the caller, then runs the handler until the route's deadline.
pub(crate) async fn guard(State((state, route)): State<(SharedState, &'static Route)>, request: Request, next: Next) -> Response {
    let answer = async {
        let (mut parts, body) = request.into_parts();
        match route.access {
            Access::Open => {}
            Access::Device => {
                let DevicePath(device) = DevicePath::from_request_parts(&mut parts, &()).await?;
                let identity =
                    check_device(&state, &device, &parts.headers, peer(&parts.extensions)).inspect_err(|_| state.gateway.refused.add(1))?;
                parts.extensions.insert(identity);
            }
            Access::Needs(role) => {
                let principal = check_role(&state, role, &parts.headers, peer(&parts.extensions))?;
                parts.extensions.insert(principal);
            }
        }
        Ok(next.run(Request::from_parts(parts, body)).await)
    };
    let result: ApiResult<Response> = match tokio::time::timeout(Duration::from_secs(route.deadline_s), answer).await {
        Ok(result) => result,
        Err(_) => Err(Error::unavailable(format!("the request took longer than {} s", route.deadline_s)).into()),
    };
    result.unwrap_or_else(IntoResponse::into_response)
}

fn check_role(state: &ServerState, role: Role, headers: &HeaderMap, peer: Option<IpAddr>) -> ApiResult<Principal> {
    let hint = "send the token of an operator: Authorization: Bearer twt_…; commands take it from --token or THALWEG_TOKEN";
    let Some(Credentials::Bearer(token)) = credentials(headers) else {
        return Err(ApiError::unauthorized("this path needs a token", hint));
    };
    let principal = state.devices.verify_token(&token, peer).map_err(ApiError::of_login)?;
    if principal.role < role {
        let message = format!("token {} has the role {}; this path needs {}", principal.name, role_name(principal.role), role_name(role));
        return Err(ApiError::forbidden(message, "ask an admin for a token of that role"));
    }
    Ok(principal)
}

fn check_device(state: &ServerState, path: &DeviceId, headers: &HeaderMap, peer: Option<IpAddr>) -> ApiResult<Identity> {
    let hint = "send the device's key: Authorization: Bearer twd_…, or Basic <device>:<key>";
    let identity = match credentials(headers) {
        Some(Credentials::Bearer(key)) => state.devices.authenticate(path.as_str(), &key, peer),
        Some(Credentials::Basic(device, key)) => state.devices.authenticate(&device, &key, peer),
        None => return Err(ApiError::unauthorized("this path needs the key of its device", hint)),
    };
    let identity = identity.map_err(|e| if e.kind() == ErrorKind::Invalid { e.hint(hint) } else { e }).map_err(ApiError::of_login)?;
    if identity.device != *path {
        let message = format!("device {} may not send for device {path}", identity.device);
        return Err(ApiError::forbidden(message, "put the device's own id into the path"));
    }
    Ok(identity)
}

enum Credentials {
    Bearer(String),
    Basic(String, String),
}

fn credentials(headers: &HeaderMap) -> Option<Credentials> {
    let (scheme, value) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let value = value.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Credentials::Bearer(value.to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(value).ok()?).ok()?;
    // A device id may hold a colon, a key may not.
    let (device, key) = text.rsplit_once(':')?;
    Some(Credentials::Basic(device.to_owned(), key.to_owned()))
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Viewer => "viewer",
        Role::Analyst => "analyst",
        Role::Admin => "admin",
    }
}
