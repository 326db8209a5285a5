//! Errors as responses. Invariant: every error is JSON of one form, `{"error":{"kind","message","hint"}}`, and its status follows
//! from its kind alone, except where HTTP has a word of its own (401, 403, 405, 413, 507). Whoever may come back is told when.

use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;
use serde_json::{Value, json};
use thalweg_engine::error::{Case, Error, ErrorKind};
use thalweg_engine::limits::{HTTP_RETRY_AFTER_DISK_FULL_S, HTTP_RETRY_AFTER_S};

/// Result of a handler.
pub(crate) type ApiResult<T> = Result<T, ApiError>;

/// An error on its way to a client.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    kind: &'static str,
    message: String,
    hint: Option<String>,
    retry_after_s: Option<u64>,
}

impl ApiError {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>, hint: Option<&str>) -> Self {
        Self { status, kind, message: message.into(), hint: hint.map(str::to_owned), retry_after_s: None }
    }

    /// 401: no proof of who it is, or a wrong one.
    pub fn unauthorized(message: impl Into<String>, hint: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message, Some(hint))
    }

    /// 403: known, but not allowed.
    pub fn forbidden(message: impl Into<String>, hint: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message, Some(hint))
    }

    /// 413: too many bytes.
    pub fn too_large(message: impl Into<String>, hint: &str) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message, Some(hint))
    }

    /// 405: the path exists, but not with this method.
    pub fn wrong_method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "invalid", "this path does not take this method", None)
    }

    /// 401 if a login was wrong; other errors as they are.
    pub fn of_login(error: Error) -> Self {
        match error.kind() {
            ErrorKind::Invalid => Self {
                hint: error.hint_text().map(str::to_owned),
                ..Self::new(StatusCode::UNAUTHORIZED, "unauthorized", error.message(), None)
            },
            _ => Self::from(error),
        }
    }

    /// Keeps what is inside this machine from devices and strangers.
    pub fn without_inside(self) -> Self {
        if self.status != StatusCode::INTERNAL_SERVER_ERROR {
            return self;
        }
        Self::new(self.status, "internal", "the server failed", Some("its operator finds the cause in the log"))
    }

    /// The JSON of the response.
    pub fn to_json(&self) -> Value {
        json!({"error": {"kind": self.kind, "message": self.message, "hint": self.hint}})
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let (status, kind, retry_after_s) = match (error.kind(), error.case()) {
            (_, Some(Case::TooLarge)) => (StatusCode::PAYLOAD_TOO_LARGE, "too_large", None),
            (_, Some(Case::Forbidden)) => (StatusCode::FORBIDDEN, "forbidden", None),
            (_, Some(Case::DiskFull)) => (StatusCode::INSUFFICIENT_STORAGE, "disk_full", Some(HTTP_RETRY_AFTER_DISK_FULL_S)),
            (_, Some(Case::Wait(seconds))) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", Some(seconds)),
            (ErrorKind::Invalid, None) => (StatusCode::BAD_REQUEST, "invalid", None),
            (ErrorKind::NotFound, None) => (StatusCode::NOT_FOUND, "not_found", None),
            (ErrorKind::Conflict, None) => (StatusCode::CONFLICT, "conflict", None),
            (ErrorKind::Unavailable, None) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", Some(HTTP_RETRY_AFTER_S)),
            (ErrorKind::Corrupt, None) => (StatusCode::INTERNAL_SERVER_ERROR, "corrupt", None),
            (ErrorKind::Internal, None) => (StatusCode::INTERNAL_SERVER_ERROR, "internal", None),
        };
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(error = %error, kind, "a request failed");
        }
        Self { retry_after_s, ..Self::new(status, kind, error.message(), error.hint_text()) }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response<Body> {
        let mut response = (self.status, self.to_json().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match self.status {
            StatusCode::UNAUTHORIZED => drop(headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            StatusCode::METHOD_NOT_ALLOWED => drop(headers.entry(ALLOW).or_insert(HeaderValue::from_static("GET, POST, PUT, DELETE"))),
            _ => {}
        }
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
