//! Every route, with who may call it. Invariant: the router is built from `ROUTES` and from nothing else.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, Method};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};
use thalweg_devices::Role;
use thalweg_engine::error::Error;
use thalweg_engine::limits::{HTTP_QUERY_S_MAX, HTTP_REQUEST_S_MAX};

use super::error::ApiError;
use super::guard::guard;
use super::services::ServerState;
use super::{devices, jobs, metrics, sql, system, telemetry, tokens};

/// State as handlers share it.
pub(crate) type SharedState = Arc<ServerState>;

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Open,
    /// The device that the path names, with its key.
    Device,
    /// Somebody with a token of this role or a higher one.
    Needs(Role),
}

/// A route.
pub struct Route {
    /// Its method.
    pub method: Method,
    /// Its path; parts in braces are parameters.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
    /// Time to the beginning of its response, in seconds.
    pub deadline_s: u64,
    handler: fn(MethodFilter) -> MethodRouter<SharedState>,
}

impl Route {
    const fn new(method: Method, path: &'static str, access: Access, handler: fn(MethodFilter) -> MethodRouter<SharedState>) -> Self {
        Self { method, path, access, deadline_s: HTTP_REQUEST_S_MAX, handler }
    }

    const fn slow(mut self) -> Self {
        self.deadline_s = HTTP_QUERY_S_MAX;
        self
    }
}

const ADMIN: Access = Access::Needs(Role::Admin);
const ANALYST: Access = Access::Needs(Role::Analyst);
const VIEWER: Access = Access::Needs(Role::Viewer);

/// All routes, by path.
pub static ROUTES: &[Route] = &[
    Route::new(Method::GET, "/health", Access::Open, |m| on(m, system::health)),
    Route::new(Method::GET, "/metrics", VIEWER, |m| on(m, metrics::metrics)),
    Route::new(Method::GET, "/v1/catalog", VIEWER, |m| on(m, system::catalog)),
    Route::new(Method::GET, "/v1/devices", VIEWER, |m| on(m, devices::list)),
    Route::new(Method::POST, "/v1/devices", ADMIN, |m| on(m, devices::register)),
    Route::new(Method::GET, "/v1/devices/{id}", VIEWER, |m| on(m, devices::get)),
    Route::new(Method::POST, "/v1/devices/{id}/activate", Access::Open, |m| on(m, devices::activate)),
    Route::new(Method::POST, "/v1/devices/{id}/keys", ADMIN, |m| on(m, devices::issue_key)),
    Route::new(Method::PUT, "/v1/devices/{id}/metadata", ADMIN, |m| on(m, devices::describe)),
    Route::new(Method::POST, "/v1/devices/{id}/revoke", ADMIN, |m| on(m, devices::revoke)),
    Route::new(Method::POST, "/v1/devices/{id}/telemetry", Access::Device, |m| on(m, telemetry::publish)),
    Route::new(Method::POST, "/v1/devices/{id}/telemetry/{stream}", Access::Device, |m| on(m, telemetry::publish)),
    Route::new(Method::GET, "/v1/jobs", VIEWER, |m| on(m, jobs::list)),
    Route::new(Method::GET, "/v1/jobs/{name}", VIEWER, |m| on(m, jobs::get)),
    Route::new(Method::POST, "/v1/jobs/{name}/stop", ADMIN, |m| on(m, jobs::stop)).slow(),
    Route::new(Method::POST, "/v1/sql", ANALYST, |m| on(m, sql::execute)).slow(),
    Route::new(Method::GET, "/v1/status", VIEWER, |m| on(m, system::status)),
    Route::new(Method::GET, "/v1/tokens", ADMIN, |m| on(m, tokens::list)),
    Route::new(Method::POST, "/v1/tokens", ADMIN, |m| on(m, tokens::create)),
    Route::new(Method::DELETE, "/v1/tokens/{name}", ADMIN, |m| on(m, tokens::revoke)),
];

/// The router over `ROUTES`. Errors: `Internal` if a route has a method that cannot be routed.
pub fn router(state: ServerState) -> Result<Router, Error> {
    let state = Arc::new(state);
    let mut router = Router::new();
    for route in ROUTES {
        let filter = MethodFilter::try_from(route.method.clone()).map_err(|e| Error::internal(format!("route {}: {e}", route.path)))?;
        let guarded = (route.handler)(filter).route_layer(from_fn_with_state((state.clone(), route), guard));
        router = router.route(route.path, guarded);
    }
    Ok(router
        .fallback(async |request: Request| {
            let path: String = request.uri().path().chars().take(200).collect();
            ApiError::from(Error::not_found(format!("there is nothing at {path}")))
        })
        .method_not_allowed_fallback(async || ApiError::wrong_method())
        .layer(from_fn(secure))
        .with_state(state))
}

/// Headers of every response: not stored, not sniffed, not framed.
async fn secure(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
