//! A simulated device over HTTP. Invariant: one request at a time, repeated with the same bytes and number until the server
//! answered it, so nothing is lost and the order is kept.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::StatusCode;
use thalweg_engine::topic::STREAM_DEFAULT;
use tokio::time::Instant;

use super::{DeviceTally, Pace, Readings};
use crate::gateway::http::{EPOCH_HEADER, SEQUENCE_HEADER};
use crate::shared::Backoff;
use crate::simulator::{DeviceOutcome, Refused, Run};

/// Time one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// What the server made of a request.
enum Answer {
    Stored,
    /// The same may succeed later.
    Later(String),
    /// These records are wrong.
    Wrong,
    /// This device may not.
    Refused(Refused),
}

/// One device.
pub(crate) struct HttpDevice {
    run: Arc<Run>,
    client: reqwest::Client,
    url: String,
    key: String,
    device: String,
    readings: Readings,
    pace: Pace,
    tally: DeviceTally,
    give_up_at: Option<Instant>,
}

impl HttpDevice {
    pub(crate) fn new(run: Arc<Run>, index: usize, url: &str, client: reqwest::Client) -> Self {
        let login = &run.simulation.devices[index];
        let (device, stream) = (login.device.to_string(), run.simulation.stream.as_str());
        let mut url = format!("{}/v1/devices/{device}/telemetry", url.trim_end_matches('/'));
        if stream != STREAM_DEFAULT {
            url = format!("{url}/{stream}");
        }
        Self {
            client,
            url,
            key: login.key.clone(),
            readings: run.readings(index),
            pace: run.pace(index),
            tally: DeviceTally::new(&device),
            device,
            give_up_at: None,
            run,
        }
    }

    /// Sends until the run is over.
    pub(crate) async fn run(mut self) -> DeviceOutcome {
        let (mut refused, mut left) = (None, 0);
        while let Some((first, count, body)) = self.due().await {
            let sent_at = Instant::now();
            match self.deliver(first, body).await {
                Answer::Stored => {
                    for sequence in first..first + count {
                        self.tally.acknowledge(&self.run.tally, sequence, sent_at.elapsed());
                    }
                }
                Answer::Wrong => self.run.tally.progress.errors.add(count),
                Answer::Later(_) => left += count,
                Answer::Refused(reason) => {
                    left += count;
                    refused = Some(reason);
                    break;
                }
            }
        }
        DeviceOutcome::new(&self.device, &self.tally, left as usize, refused)
    }

    /// Waits for records to be due: sequence of the first, how many, and the body. None at the end.
    async fn due(&mut self) -> Option<(u64, u64, Bytes)> {
        let stop = self.run.stop.clone();
        loop {
            if stop.is_cancelled() || self.pace.is_over() {
                return None;
            }
            match self.pace.next_at() {
                Some(at) if at > Instant::now() => {
                    tokio::select! {
                        () = tokio::time::sleep_until(at) => {}
                        () = stop.cancelled() => return None,
                    }
                }
                _ => break,
            }
        }
        let (mut first, mut count, mut body) = (0, 0, Vec::new());
        while count < self.run.simulation.batch as u64 && self.pace.is_due(Instant::now()) {
            let (sequence, payload) = self.readings.next(self.run.clock.now());
            first = if count == 0 { sequence } else { first };
            count += 1;
            body.extend_from_slice(payload);
            body.push(b'\n');
            self.pace.advance();
        }
        self.run.tally.progress.sent.add(count);
        Some((first, count, body.into()))
    }

    /// Sends one body until it is answered, or the time to give up has come.
    async fn deliver(&mut self, first: u64, body: Bytes) -> Answer {
        let mut backoff = Backoff::new();
        loop {
            let answer = self.request(first, body.clone()).await;
            let Answer::Later(reason) = &answer else { return answer };
            self.run.tally.progress.disconnects.add(1);
            tracing::debug!(device = self.device, reason, "request failed");
            if self.run.stop.is_cancelled() {
                let drain = self.run.simulation.drain;
                if *self.give_up_at.get_or_insert_with(|| Instant::now() + drain) <= Instant::now() {
                    return answer;
                }
            }
            tokio::time::sleep(backoff.next(self.readings.random())).await;
            self.run.tally.progress.resent.add(1);
        }
    }

    async fn request(&self, first: u64, body: Bytes) -> Answer {
        let request = self
            .client
            .post(&self.url)
            .bearer_auth(&self.key)
            .header("content-type", "application/x-ndjson")
            .header(EPOCH_HEADER, self.run.simulation.epoch)
            .header(SEQUENCE_HEADER, first)
            .timeout(REQUEST_TIMEOUT)
            .body(body);
        let response = match request.send().await {
            Ok(response) => response,
            Err(e) => return Answer::Later(e.to_string()),
        };
        let status = response.status();
        // The body is read to the end so that the connection can be used again.
        let text = response.text().await.unwrap_or_default();
        match status {
            s if s.is_success() => Answer::Stored,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => Answer::Refused(refusal(status, &text)),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Answer::Later(status.to_string()),
            s if s.is_client_error() => Answer::Wrong,
            _ => Answer::Later(status.to_string()),
        }
    }
}

/// What an error of the API says; an answer of something else, such as a proxy, is shown as it is.
fn refusal(status: StatusCode, text: &str) -> Refused {
    let answer: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let field = |name: &str| answer["error"][name].as_str().map(str::to_owned);
    Refused { message: field("message").unwrap_or_else(|| format!("{status}: {text}")), hint: field("hint") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_api_is_shown_without_its_wrapping() {
        let text = r#"{"error":{"kind":"not_found","message":"there is no stream x","hint":"CREATE TABLE over it"}}"#;
        let refused = refusal(StatusCode::NOT_FOUND, text);
        assert_eq!((refused.message.as_str(), refused.hint.as_deref()), ("there is no stream x", Some("CREATE TABLE over it")));
        let refused = refusal(StatusCode::FORBIDDEN, "no way");
        assert_eq!((refused.message.as_str(), refused.hint), ("403 Forbidden: no way", None));
    }
}
