//! Bodies of requests. Invariant: no more than the limit is ever in memory, and whoever sends too much gets an answer that says so
//! instead of a cut connection.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, EXPECT};
use futures::StreamExt;
use serde::de::DeserializeOwned;
use thalweg_engine::error::Error;
use thalweg_engine::limits::{HTTP_DISCARD_BYTES_MAX, HTTP_DISCARD_S_MAX};

use super::error::{ApiError, ApiResult};

/// Reads a body of at most `limit` bytes. Errors: 413.
pub(crate) async fn read(request: Request, limit: usize) -> ApiResult<Bytes> {
    let (parts, body) = request.into_parts();
    let announced = parts.headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
    if announced.is_some_and(|n| n > limit as u64) {
        // Who waits for "100 Continue" has sent nothing yet.
        if !parts.headers.contains_key(EXPECT) {
            discard(body).await;
        }
        return Err(too_large(limit));
    }
    if announced.is_some() {
        return to_bytes(body, limit).await.map_err(|e| Error::invalid(format!("the body could not be read: {e}")).into());
    }
    let mut bytes = Vec::new();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|e| Error::invalid(format!("the body could not be read: {e}")))?;
        if bytes.len() + chunk.len() > limit {
            discard(Body::from_stream(chunks)).await;
            return Err(too_large(limit));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.into())
}

/// The JSON of a body as `T`. Errors: 400, saying where it is wrong.
pub(crate) fn json<T: DeserializeOwned>(bytes: &[u8]) -> ApiResult<T> {
    serde_json::from_slice(bytes).map_err(|e| Error::invalid(format!("the body is not the JSON that this path takes: {e}")).into())
}

fn too_large(limit: usize) -> ApiError {
    ApiError::too_large(format!("the body is longer than {limit} bytes"), "send less at once")
}

/// Reads and throws away the rest, within bounds of bytes and time.
async fn discard(body: Body) {
    let mut chunks = body.into_data_stream();
    let all = async {
        let mut left = HTTP_DISCARD_BYTES_MAX;
        while let Some(Ok(chunk)) = chunks.next().await {
            match left.checked_sub(chunk.len()) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    // Running out of time is one way to be done.
    let _ = tokio::time::timeout(Duration::from_secs(HTTP_DISCARD_S_MAX), all).await;
}
