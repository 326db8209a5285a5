//! `/v1/devices/{id}/telemetry[/{stream}]`: records from a device. Invariant: 200 is answered only when every record is durable.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use thalweg_engine::batch::ProducerSequence;
use thalweg_engine::contract::DeviceAuthority;
use thalweg_engine::error::Error;
use thalweg_engine::limits::HTTP_TELEMETRY_BYTES_MAX;

use super::body;
use super::error::{ApiError, ApiResult};
use super::extract::{CallingDevice, StreamPath};
use super::routes::SharedState;
use super::services::{Accepted, Telemetry};

/// Which count of its records the device is in; with `SEQUENCE` it makes a repeated request harmless.
const EPOCH: &str = "thalweg-epoch";
/// Number of the first record of the body within that count.
const SEQUENCE: &str = "thalweg-sequence";

/// Takes records from the device that the guard has checked.
pub(crate) async fn publish(
    State(state): State<SharedState>,
    CallingDevice(device): CallingDevice,
    StreamPath(stream): StreamPath,
    request: Request,
) -> ApiResult<Json<Accepted>> {
    state.devices.seen(&device, None);
    let refused = || {
        state.gateway.received.add(1);
        state.gateway.rejected.add(1);
    };
    let producer = producer(request.headers()).inspect_err(|_| refused())?;
    let media_type = request.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let body = body::read(request, HTTP_TELEMETRY_BYTES_MAX).await.inspect_err(|_| refused())?;
    // The body may have taken its time.
    if !state.devices.is_active(&device) {
        return Err(ApiError::unauthorized("device id or key is not valid", "the device was revoked meanwhile"));
    }
    let accepted = state.ingest.ingest(Telemetry { device, stream, media_type, producer, body }).await;
    Ok(Json(accepted.map_err(|e| ApiError::from(e).without_inside())?))
}

fn producer(headers: &HeaderMap) -> ApiResult<Option<ProducerSequence>> {
    let number = |name: &str| {
        let Some(value) = headers.get(name) else { return Ok(None) };
        let parsed = value.to_str().ok().and_then(|v| v.trim().parse::<u64>().ok());
        parsed.map(Some).ok_or_else(|| Error::invalid(format!("header {name} is not a whole number")))
    };
    match (number(EPOCH)?, number(SEQUENCE)?) {
        (None, None) => Ok(None),
        (Some(epoch), Some(sequence)) => {
            let epoch = u32::try_from(epoch).map_err(|_| Error::invalid(format!("header {EPOCH} is larger than {}", u32::MAX)))?;
            Ok(Some(ProducerSequence { epoch, sequence }))
        }
        _ => Err(Error::invalid(format!("headers {EPOCH} and {SEQUENCE} come together")).into()),
    }
}
