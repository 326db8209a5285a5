//! What handlers take from a request. Invariant: a name or id that reaches a handler is valid, and a caller is one that the guard
//! has checked.

use std::net::IpAddr;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{Extensions, Uri};
use serde::de::DeserializeOwned;
use thalweg_devices::{Actor, Principal};
use thalweg_engine::contract::Identity;
use thalweg_engine::error::{Error, Result};
use thalweg_engine::ids::{DeviceId, Name};
use thalweg_engine::limits::HTTP_BODY_BYTES_MAX;
use thalweg_engine::topic::STREAM_DEFAULT;

use super::body;
use super::error::{ApiError, ApiResult};

/// Address of the peer; put into every request by the listener.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub IpAddr);

/// The peer's address, if the request came over the network.
pub(crate) fn peer(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<Peer>().map(|p| p.0)
}

/// The caller of a route that needs a role.
#[derive(Debug)]
pub(crate) struct Caller {
    pub principal: Principal,
    pub actor: Actor,
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        let principal =
            parts.extensions.get::<Principal>().ok_or_else(|| Error::internal("a handler without a guard asked for its caller"))?;
        Ok(Self { principal: principal.clone(), actor: Actor { name: principal.name.to_string(), peer: peer(&parts.extensions) } })
    }
}

/// The device that calls a route for devices.
#[derive(Debug)]
pub(crate) struct CallingDevice(pub DeviceId);

impl<S: Send + Sync> FromRequestParts<S> for CallingDevice {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        let identity =
            parts.extensions.get::<Identity>().ok_or_else(|| Error::internal("a handler without a guard asked for its device"))?;
        Ok(Self(identity.device.clone()))
    }
}

/// The device that the path names.
#[derive(Debug)]
pub(crate) struct DevicePath(pub DeviceId);

impl<S: Send + Sync> FromRequestParts<S> for DevicePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let text = parameter(parts, state, "id").await?.unwrap_or_default();
        Ok(Self(DeviceId::new(&text)?))
    }
}

/// The token that the path names.
#[derive(Debug)]
pub(crate) struct NamePath(pub Name);

impl<S: Send + Sync> FromRequestParts<S> for NamePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let text = parameter(parts, state, "name").await?.unwrap_or_default();
        Ok(Self(Name::new(&text)?))
    }
}

/// The job that the path names; jobs that archive a stream have a dot in their name.
#[derive(Debug)]
pub(crate) struct JobPath(pub String);

impl<S: Send + Sync> FromRequestParts<S> for JobPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let text = parameter(parts, state, "name").await?.unwrap_or_default();
        text.split('.').try_for_each(|part| Name::new(part).map(|_| ()))?;
        Ok(Self(text))
    }
}

/// The stream that the path names, or the default one.
#[derive(Debug)]
pub(crate) struct StreamPath(pub Name);

impl<S: Send + Sync> FromRequestParts<S> for StreamPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let text = parameter(parts, state, "stream").await?;
        Ok(Self(Name::new(text.as_deref().unwrap_or(STREAM_DEFAULT))?))
    }
}

async fn parameter<S: Send + Sync>(parts: &mut Parts, state: &S, name: &str) -> ApiResult<Option<String>> {
    let all = RawPathParams::from_request_parts(parts, state).await.map_err(|e| Error::invalid(format!("the path is not valid: {e}")))?;
    Ok(all.iter().find(|(n, _)| *n == name).map(|(_, value)| value.to_owned()))
}

/// A body of ordinary length.
#[derive(Debug)]
pub(crate) struct Small(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for Small {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> ApiResult<Self> {
        Ok(Self(body::read(request, HTTP_BODY_BYTES_MAX).await?))
    }
}

/// The query of the address as `T`. Errors: 400.
pub(crate) fn query<T: DeserializeOwned>(uri: &Uri) -> ApiResult<T> {
    let parsed = Query::<T>::try_from_uri(uri).map_err(|e| Error::invalid(e.body_text()))?;
    Ok(parsed.0)
}

/// Runs what waits for the disk where it holds up no other request.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> ApiResult<T> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|e| Error::internal(format!("a request's work did not end: {e}")))?;
    Ok(done?)
}
