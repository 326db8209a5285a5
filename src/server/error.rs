//! Errors as responses. Invariant: every error is JSON of one form, `{"error":{"kind","message","hint"}}`, and its status follows
//! from its kind alone, except where HTTP has a word of its own (401, 403, 405, 413).

use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;
use serde_json::{Value, json};
use thalweg_engine::error::{Error, ErrorKind};

/// Result of a handler.
pub(crate) type ApiResult<T> = Result<T, ApiError>;

/// An error on its way to a client.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    kind: &'static str,
    message: String,
    hint: Option<String>,
}

impl ApiError {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>, hint: Option<&str>) -> Self {
        Self { status, kind, message: message.into(), hint: hint.map(str::to_owned) }
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
        let (status, kind) = match error.kind() {
            ErrorKind::Invalid => (StatusCode::BAD_REQUEST, "invalid"),
            ErrorKind::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            ErrorKind::Conflict => (StatusCode::CONFLICT, "conflict"),
            ErrorKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            ErrorKind::Corrupt => (StatusCode::INTERNAL_SERVER_ERROR, "corrupt"),
            ErrorKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(error = %error, kind, "a request failed");
        }
        Self::new(status, kind, error.message(), error.hint_text())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response<Body> {
        let mut response = (self.status, self.to_json().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match self.status {
            StatusCode::UNAUTHORIZED => drop(headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            StatusCode::SERVICE_UNAVAILABLE => drop(headers.insert(RETRY_AFTER, HeaderValue::from_static("1"))),
            StatusCode::METHOD_NOT_ALLOWED => drop(headers.entry(ALLOW).or_insert(HeaderValue::from_static("GET, POST, PUT, DELETE"))),
            _ => {}
        }
        response
    }
}
