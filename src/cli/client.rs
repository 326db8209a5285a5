//! The HTTP API as the commands use it. Invariant: an answer that is not a success becomes an error with the server's own message
//! and hint.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use thalweg_engine::error::{Error, ErrorKind, Result};
use thalweg_sql::Settings;

/// Talks to a server.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Client {
    /// For the server at `base` (`http://127.0.0.1:8080`), with an operator's token.
    pub fn new(base: &str, token: Option<String>) -> Result<Self> {
        let http = reqwest::Client::builder().connect_timeout(Duration::from_secs(5)).no_proxy().build();
        let http = http.map_err(|e| Error::internal(e.to_string()))?;
        Ok(Self { http, base: base.trim_end_matches('/').to_owned(), token })
    }

    /// Sends a request and reads a JSON answer.
    pub async fn json(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = self.send(request).await?;
        response.json().await.map_err(|e| Error::internal(format!("the answer of {} is not JSON: {e}", self.base)))
    }

    /// Sends a request whose answer has no body.
    pub async fn request_empty(&self, method: Method, path: &str) -> Result<()> {
        self.send(self.request(method, path)).await.map(drop)
    }

    /// Runs SQL with these settings; the answer is a stream of Arrow IPC, or a JSON message.
    pub async fn sql(&self, sql: &str, settings: &Settings) -> Result<Response> {
        let request = self.request(Method::POST, "/v1/sql").header("accept", "application/vnd.apache.arrow.stream");
        let settings: BTreeMap<&str, &str> = settings.given().collect();
        self.send(request.json(&json!({ "sql": sql, "settings": settings }))).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response> {
        let response = request.send().await.map_err(|e| self.unreachable(&e))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let text = response.text().await.unwrap_or_default();
        let answer: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        let kind = match status.as_u16() {
            404 => ErrorKind::NotFound,
            409 => ErrorKind::Conflict,
            503 | 507 | 429 => ErrorKind::Unavailable,
            400..=499 => ErrorKind::Invalid,
            _ => ErrorKind::Internal,
        };
        Err(error_in(&answer, kind).unwrap_or_else(|| Error::new(kind, format!("the server answered {status}: {text}"))))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Error {
        if error.is_connect() {
            Error::unavailable(format!("no server answers at {}", self.base))
                .hint("start one with `thalweg serve`, or name another with --server or THALWEG_SERVER")
        } else {
            Error::unavailable(format!("{}: {error}", self.base))
        }
    }
}

/// The error that the JSON of an answer holds, with the server's own words.
pub fn error_in(answer: &Value, kind: ErrorKind) -> Option<Error> {
    let error = Error::new(kind, answer["error"]["message"].as_str()?);
    Some(match answer["error"]["hint"].as_str() {
        Some(hint) => error.hint(hint),
        None => error,
    })
}
