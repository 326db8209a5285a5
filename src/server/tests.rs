//! The server as its clients see it. Invariant: every route of `ROUTES` is in the matrix, with who may call it written out a
//! second time.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arrow::ipc::reader::StreamReader;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use serde_json::{Value, json};
use thalweg_engine::batch::ProducerSequence;
use thalweg_engine::error::{Case, Error};
use thalweg_engine::ids::DeviceId;
use thalweg_engine::limits::{HTTP_BODY_BYTES_MAX, HTTP_RETRY_AFTER_DISK_FULL_S, HTTP_RETRY_AFTER_S, HTTP_TELEMETRY_BYTES_MAX};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::test_support::{Answer, Server, batch, operator};
use super::*;

/// What the matrix must be: a change of `ROUTES` has to be made here too.
const EXPECTED: &[&str] = &[
    "GET /health open",
    "GET /metrics viewer",
    "GET /v1/catalog viewer",
    "GET /v1/devices viewer",
    "POST /v1/devices admin",
    "GET /v1/devices/{id} viewer",
    "POST /v1/devices/{id}/activate open",
    "POST /v1/devices/{id}/keys admin",
    "PUT /v1/devices/{id}/metadata admin",
    "POST /v1/devices/{id}/revoke admin",
    "POST /v1/devices/{id}/telemetry device",
    "POST /v1/devices/{id}/telemetry/{stream} device",
    "GET /v1/jobs viewer",
    "GET /v1/jobs/{name} viewer",
    "POST /v1/jobs/{name}/stop admin",
    "POST /v1/sql analyst",
    "GET /v1/status viewer",
    "GET /v1/tokens admin",
    "POST /v1/tokens admin",
    "DELETE /v1/tokens/{name} admin",
];

#[tokio::test]
async fn every_route_admits_exactly_who_it_is_for() {
    let server = Server::new();
    let key = server.device("pump-1");
    let other = server.device("pump-2");
    server.device("pump-3");
    assert_eq!(ROUTES.len(), EXPECTED.len());
    let callers = [
        ("nobody", None),
        ("garbage", Some("twt_local_1_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")),
        ("other device", Some(other.expose())),
        ("device", Some(key.expose())),
        ("viewer", Some(server.viewer.expose())),
        ("analyst", Some(server.analyst.expose())),
        ("admin", Some(server.admin.expose())),
    ];
    for (route, expected) in ROUTES.iter().zip(EXPECTED) {
        let (name, needs) = expected.rsplit_once(' ').unwrap();
        assert_eq!(format!("{} {}", route.method, route.path), name);
        // The revoked one must not be the one that sends.
        let device = if needs == "device" { "pump-1" } else { "pump-3" };
        let path = route.path.replace("{id}", device).replace("{name}", "by_minute").replace("{stream}", "vibration");
        for (rank, (caller, secret)) in callers.iter().enumerate() {
            let answer = server.send(route.method.clone(), &path, *secret, "").await;
            let admitted = match needs {
                "open" => true,
                "device" => *caller == "device",
                role => rank >= callers.iter().position(|(c, _)| *c == role).unwrap(),
            };
            let refusal = if needs != "device" && rank >= 4 { StatusCode::FORBIDDEN } else { StatusCode::UNAUTHORIZED };
            let refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&answer.status);
            assert_eq!(refused, !admitted, "{name} as {caller}: {}", answer.status);
            assert!(admitted || answer.status == refusal, "{name} as {caller}: {}", answer.status);
            assert_eq!(answer.headers["cache-control"], "no-store");
            assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        }
    }
}

#[tokio::test]
async fn telemetry_routes_admit_their_own_device_only() {
    let server = Server::new();
    let key = server.device("pump-1");
    let other = server.device("pump-2");
    let revoked = server.device("pump-3");
    server.devices.revoke(&operator(), &DeviceId::new("pump-3").unwrap()).unwrap();
    let basic = |user: &str, key: &str| format!("Basic {}", STANDARD.encode(format!("{user}:{key}")));
    let bearer = |key: &str| format!("Bearer {key}");
    for (path, authorization, want) in [
        ("pump-1", bearer(key.expose()), 200),
        ("pump-1", basic("pump-1", key.expose()), 200),
        ("pump-1", bearer("wrong"), 401),
        ("pump-1", bearer(server.admin.expose()), 401),
        ("pump-2", bearer(key.expose()), 401),
        ("pump-2", basic("pump-1", key.expose()), 403),
        ("pump-1", basic("pump-2", key.expose()), 401),
        ("pump-2", bearer(other.expose()), 200),
        ("pump-3", bearer(revoked.expose()), 401),
        ("pump-9", bearer(key.expose()), 401),
        ("pump-1", "Basic !!".to_owned(), 401),
        ("pump-1", "Bearer".to_owned(), 401),
        ("pump-1%2F..%2Fpump-2", bearer(other.expose()), 400),
    ] {
        let request = Request::post(format!("/v1/devices/{path}/telemetry")).header("authorization", &authorization);
        let answer = server.request(request.body(Body::from("{}")).unwrap()).await;
        assert_eq!(answer.status, want, "{path} with {authorization}: {}", answer.text());
    }
    assert_eq!(server.ingest.taken.lock().unwrap().len(), 3);
    assert_eq!(server.gateway.refused.get(), 9);
    assert!(server.devices.get(&DeviceId::new("pump-1").unwrap()).unwrap().last_seen.is_some());
}

#[tokio::test]
async fn telemetry_arrives_as_it_was_sent() {
    let server = Server::new();
    let key = server.device("pump-1");
    let send = async |stream: &str, headers: &[(&str, &str)], body: &str| {
        let mut request =
            Request::post(format!("/v1/devices/pump-1/telemetry{stream}")).header("authorization", format!("Bearer {}", key.expose()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        server.request(request.body(Body::from(body.to_owned())).unwrap()).await
    };
    let numbered = [("content-type", "application/json"), ("thalweg-epoch", "2"), ("thalweg-sequence", "41")];
    let answer = send("/vibration", &numbered, r#"[{"a":1}, {"a":2}]"#).await;
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, json!({"accepted": 1, "duplicates": 0})));
    assert_eq!(send("", &[("content-type", "text/csv")], "1,2\n").await.status, 200);
    {
        let taken = server.ingest.taken.lock().unwrap();
        assert_eq!((taken[0].device.as_str(), taken[0].stream.as_str()), ("pump-1", "vibration"));
        assert_eq!(taken[0].media_type.as_deref(), Some("application/json"));
        assert_eq!(taken[0].producer, Some(ProducerSequence { epoch: 2, sequence: 41 }));
        assert_eq!(taken[0].body, &br#"[{"a":1}, {"a":2}]"#[..]);
        assert_eq!((taken[1].stream.as_str(), taken[1].media_type.as_deref()), ("telemetry", Some("text/csv")));
    }
    assert_eq!(send("/Not-A-Stream", &[], "{}").await.error_kind(), "invalid");
    let (epoch, sequence) = ("thalweg-epoch", "thalweg-sequence");
    for headers in [
        &[(epoch, "1")][..],
        &[(sequence, "1")],
        &[(epoch, "1"), (sequence, "x")],
        &[(epoch, "one"), (sequence, "1")],
        &[(epoch, "4294967296"), (sequence, "1")],
        &[(epoch, "1"), (sequence, "18446744073709551616")],
        &[(epoch, "-1"), (sequence, "1")],
        &[(epoch, ""), (sequence, "1")],
    ] {
        let answer = send("", headers, "{}").await;
        assert_eq!((answer.status.as_u16(), answer.error_kind().as_str()), (400, "invalid"), "{headers:?}");
    }
    assert_eq!((server.gateway.received.get(), server.gateway.rejected.get()), (8, 8));
    let busy = || Error::unavailable("the log has too much waiting");
    for (refusal, status, kind, retry_after) in [
        (busy(), 503, "unavailable", Some(HTTP_RETRY_AFTER_S.to_string())),
        (busy().of_case(Case::Wait(17)), 503, "unavailable", Some("17".to_owned())),
        (busy().of_case(Case::DiskFull), 507, "disk_full", Some(HTTP_RETRY_AFTER_DISK_FULL_S.to_string())),
        (Error::invalid("record 1 is too long").of_case(Case::TooLarge), 413, "too_large", None),
    ] {
        *server.ingest.refusal.lock().unwrap() = Some(refusal);
        let answer = send("", &[], "{}").await;
        let header = answer.headers.get("retry-after").map(|v| v.to_str().unwrap().to_owned());
        assert_eq!((answer.status.as_u16(), answer.error_kind().as_str(), header), (status, kind, retry_after));
    }
}

#[tokio::test]
async fn a_device_lives_through_the_api() {
    let server = Server::new();
    let admin = Some(server.admin.expose());
    let new = json!({"device_id": "pump-1", "metadata": {"customer": "Acme"}}).to_string();
    let answer = server.send(Method::POST, "/v1/devices", admin, new.clone()).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let activation_key = answer.json()["activation_key"].as_str().unwrap().to_owned();
    assert_eq!(server.send(Method::POST, "/v1/devices", admin, new).await.error_kind(), "conflict");
    let several = json!([{"device_id": "pump-2", "activation_key": "chosen-by-hand"}, {"device_id": "pump-3"}]).to_string();
    let answer = server.send(Method::POST, "/v1/devices", admin, several).await;
    assert_eq!(answer.json()["devices"][0], json!({"device_id": "pump-2", "state": "registered"}));
    let refused = [
        json!({"device_id": "a/b"}),
        json!({"device_id": "x", "metadata": {"wifi_password": 1}}),
        json!({"device_id": "x", "activation_not_after": "soon"}),
        json!({"device_id": "x", "colour": 1}),
        json!({"device_id": "x", "activation_key": "short"}),
    ];
    for bad in refused {
        assert_eq!(server.send(Method::POST, "/v1/devices", admin, bad.to_string()).await.error_kind(), "invalid", "{bad}");
    }
    let activate =
        async |key: &str| server.send(Method::POST, "/v1/devices/pump-1/activate", None, json!({"activation_key": key}).to_string()).await;
    assert_eq!(activate("wrong").await.status, 401);
    let key = activate(&activation_key).await.json()["key"].as_str().unwrap().to_owned();
    assert_eq!(activate(&activation_key).await.status, 409);
    let viewer = Some(server.viewer.expose());
    let seen = server.send(Method::GET, "/v1/devices/pump-1", viewer, "").await.json();
    assert_eq!((&seen["state"], &seen["metadata"]["customer"]), (&json!("active"), &json!("Acme")));
    assert_eq!(server.send(Method::GET, "/v1/devices/nobody", viewer, "").await.status, 404);
    let page = server.send(Method::GET, "/v1/devices?state=registered&limit=1", viewer, "").await.json();
    assert_eq!((page["devices"][0]["device_id"].as_str(), page["next"].as_str()), (Some("pump-2"), Some("pump-2")));
    assert_eq!(server.send(Method::GET, "/v1/devices?state=sleepy", viewer, "").await.status, 400);
    let described = server.send(Method::PUT, "/v1/devices/pump-1/metadata", admin, r#"{"site": "north"}"#).await.json();
    assert_eq!(described["metadata"], json!({"site": "north"}));
    let rotated = server.send(Method::POST, "/v1/devices/pump-1/keys", admin, r#"{"overlap": "1h"}"#).await;
    let rotated = rotated.json()["key"].as_str().unwrap().to_owned();
    for key in [&key, &rotated] {
        assert_eq!(server.send(Method::POST, "/v1/devices/pump-1/telemetry", Some(key), "{}").await.status, 200);
    }
    assert_eq!(server.send(Method::POST, "/v1/devices/pump-1/revoke", admin, "").await.json()["state"], "revoked");
    for key in [&key, &rotated] {
        assert_eq!(server.send(Method::POST, "/v1/devices/pump-1/telemetry", Some(key), "{}").await.status, 401);
    }
}

#[tokio::test]
async fn tokens_are_made_shown_once_and_revoked() {
    let server = Server::new();
    let admin = Some(server.admin.expose());
    let answer = server.send(Method::POST, "/v1/tokens", admin, r#"{"name": "ana", "role": "analyst"}"#).await;
    assert_eq!(answer.status, 201);
    let token = answer.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(server.send(Method::POST, "/v1/sql", Some(&token), "message").await.status, 200);
    let listed = server.send(Method::GET, "/v1/tokens", admin, "").await;
    assert_eq!(listed.json()["tokens"][0]["role"], "analyst");
    assert!(!listed.text().contains("twt_"));
    assert_eq!(server.send(Method::DELETE, "/v1/tokens/ana", admin, "").await.status, 204);
    assert_eq!(server.send(Method::POST, "/v1/sql", Some(&token), "message").await.status, 401);
    assert_eq!(server.send(Method::DELETE, "/v1/tokens/ana", admin, "").await.status, 404);
    let answer = server.send(Method::POST, "/v1/tokens", admin, r#"{"name": "guest", "role": "viewer", "expires": "90d"}"#).await;
    assert_eq!(answer.status, 201);
    let token = server.send(Method::GET, "/v1/tokens", admin, "").await.json()["tokens"][0].clone();
    assert_eq!(token["expires"].as_i64().unwrap() - token["created"].as_i64().unwrap(), 90 * 86_400 * 1_000_000);
    let answer = server.send(Method::POST, "/v1/tokens", admin, r#"{"name": "x", "role": "viewer", "expires": "soon"}"#).await;
    assert_eq!((answer.status.as_u16(), answer.error_kind().as_str()), (400, "invalid"));
}

#[tokio::test]
async fn rows_come_in_the_form_that_was_asked_for() {
    let server = Server::new();
    let run = async |accept: &str, sql: &str| -> Answer {
        let request =
            Request::post("/v1/sql").header("authorization", format!("Bearer {}", server.analyst.expose())).header("accept", accept);
        server.request(request.body(Body::from(sql.to_owned())).unwrap()).await
    };
    let answer = run("*/*", "rows").await;
    assert_eq!(answer.headers["content-type"], "application/x-ndjson");
    assert_eq!(answer.text().lines().next().unwrap(), r#"{"n":1,"name":"a,\"b","x":0.5}"#);
    assert_eq!(answer.text().lines().last().unwrap(), r#"{"n":4,"name":null,"x":null}"#);
    assert_eq!(answer.text().lines().count(), 4);
    assert_eq!(run("text/csv;q=1, */*", "rows").await.text(), "n,name,x\n1,\"a,\"\"b\",0.5\n2,,\n3,\"a,\"\"b\",0.5\n4,,\n");
    assert_eq!(run("text/csv", "none").await.text(), "n,name,x\n");
    assert_eq!(run("*/*", "none").await.text(), "");
    for (sql, rows) in [("rows", vec![batch(1), batch(3)]), ("none", vec![])] {
        let answer = run("application/vnd.apache.arrow.stream", sql).await;
        let reader = StreamReader::try_new(&answer.bytes[..], None).unwrap();
        assert_eq!(reader.schema(), batch(0).schema());
        assert_eq!(reader.map(Result::unwrap).collect::<Vec<_>>(), rows);
    }
    assert_eq!(run("*/*", "message").await.json(), json!({"message": "table made"}));
    assert_eq!(run("*/*", r#"{"sql": "message"}"#).await.status, 200);
    assert_eq!(run("*/*", r#"{"sql": "message", "settings": {"pipeline.name": "a"}}"#).await.status, 200);
    assert_eq!(run("*/*", r#"{"sql": "message", "settings": {"pipeline.name": 3}}"#).await.status, 400);
    let failed = run("*/*", "fails").await;
    assert_eq!((failed.status, failed.error_kind().as_str()), (StatusCode::BAD_REQUEST, "invalid"));
    let broken = run("*/*", "breaks").await;
    let last: Value = serde_json::from_str(broken.text().lines().last().unwrap()).unwrap();
    assert_eq!((broken.text().lines().count(), &last["error"]["kind"]), (3, &json!("invalid")));
    assert!(!run("text/csv", "breaks").await.whole);
    let arrow = run("application/vnd.apache.arrow.stream", "breaks").await;
    assert!(arrow.whole && String::from_utf8_lossy(&arrow.bytes).ends_with("\"message\":\"column n is not what it was\"}}\n"));
    assert!(StreamReader::try_new(&arrow.bytes[..], None).unwrap().any(|batch| batch.is_err()), "the end is missing");
    let forbidden = run("*/*", "forbidden").await;
    assert_eq!((forbidden.status, forbidden.error_kind().as_str()), (StatusCode::FORBIDDEN, "forbidden"));
    let unknown = run("*/*", "selct").await.json();
    assert_eq!(unknown, json!({"error": {"kind": "invalid", "message": "expected a statement", "hint": "say rows"}}));
    assert_eq!(run("*/*", " ").await.status, 400);
}

#[tokio::test]
async fn what_does_not_exist_is_said_in_json() {
    let server = Server::new();
    assert_eq!(server.send(Method::GET, "/v1/nothing", None, "").await.error_kind(), "not_found");
    let answer = server.send(Method::DELETE, "/v1/sql", None, "").await;
    assert_eq!((answer.status, answer.error_kind().as_str()), (StatusCode::METHOD_NOT_ALLOWED, "invalid"));
    let viewer = Some(server.viewer.expose());
    assert_eq!(server.send(Method::GET, "/v1/jobs/nothing", viewer, "").await.status, 404);
    assert_eq!(server.send(Method::GET, "/v1/jobs/No%20Name", viewer, "").await.status, 400);
    assert_eq!(server.send(Method::GET, "/health", None, "").await.json(), json!({"status": "ok"}));
    assert_eq!(server.send(Method::GET, "/v1/status", viewer, "").await.json()["problems"], json!([]));
    server.system.0.lock().unwrap().push("lake table warm.x cannot be used".to_owned());
    let health = server.send(Method::GET, "/health", None, "").await;
    assert_eq!((health.status.as_u16(), health.json()), (503, json!({"status": "degraded"})), "without saying what is inside");
    assert_eq!(server.send(Method::GET, "/v1/status", viewer, "").await.json()["problems"][0], "lake table warm.x cannot be used");
    let metrics = server.send(Method::GET, "/metrics", viewer, "").await;
    for line in [
        "thalweg_problems 1",
        "thalweg_job_lag_seconds{job=\"by_minute\"} 1",
        "thalweg_job_state_bytes{job=\"by_minute\"} 4096",
        "thalweg_job_checkpoint_duration_seconds{job=\"by_minute\"} 0.04",
        "thalweg_job_restarts_total{job=\"by_minute\"} 1",
        "thalweg_job_rows{job=\"by_minute\",count=\"consumed\"} 7",
        "thalweg_job_watermark_seconds{job=\"by_minute\"} 1700000000.5",
    ] {
        assert!(metrics.text().lines().any(|l| l == line), "{line} is not in\n{}", metrics.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_activations_over_http_exactly_one_gets_a_key() {
    let server = Server::new();
    let address = server.listen(Deadlines::default()).await;
    let client = reqwest::Client::new();
    let new = json!({"device_id": "pump-1", "activation_key": "chosen-by-hand"});
    let registered =
        client.post(format!("http://{address}/v1/devices")).bearer_auth(server.admin.expose()).json(&new).send().await.unwrap();
    assert_eq!(registered.status(), 201);
    let attempts = (0..50).map(|_| {
        let url = format!("http://{address}/v1/devices/pump-1/activate");
        client.post(url).json(&json!({"activation_key": "chosen-by-hand"})).send()
    });
    let answers = futures::future::join_all(attempts).await;
    let statuses: Vec<u16> = answers.iter().map(|a| a.as_ref().unwrap().status().as_u16()).collect();
    assert_eq!(statuses.iter().filter(|&&s| s == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|&&s| s == 409).count(), 49, "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_is_answered_with_413_and_why() {
    let server = Server::new();
    let key = server.device("pump-1");
    let address = server.listen(Deadlines::default()).await;
    let client = reqwest::Client::new();
    let url = format!("http://{address}/v1/devices/pump-1/telemetry");
    let long = vec![b' '; 3 * HTTP_TELEMETRY_BYTES_MAX];
    let chunked = futures::stream::iter((0..12).map(|_| Ok::<_, std::io::Error>(vec![b' '; HTTP_BODY_BYTES_MAX])));
    for body in [reqwest::Body::from(long), reqwest::Body::wrap_stream(chunked)] {
        let answer = client.post(&url).bearer_auth(key.expose()).body(body).send().await.unwrap();
        assert_eq!(answer.status(), 413);
        assert!(answer.text().await.unwrap().contains("longer than 4194304 bytes"));
    }
    let sql = client.post(format!("http://{address}/v1/sql")).bearer_auth(server.analyst.expose()).body(vec![b' '; 2_000_000]);
    assert_eq!(sql.send().await.unwrap().status(), 413);
    assert!(server.ingest.taken.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_peers_are_cut_and_do_not_hold_up_others() {
    let server = Server::new();
    let deadlines = Deadlines { header: Duration::from_secs(1), connections: 9, ..Deadlines::default() };
    let address = server.listen(deadlines).await;
    let started = Instant::now();
    let mut slow = Vec::new();
    for n in 0..8 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // One of them says nothing at all.
        if n > 0 {
            stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nX-").await.unwrap();
        }
        slow.push(stream);
    }
    let healthy = reqwest::get(format!("http://{address}/health")).await.unwrap();
    assert_eq!(healthy.status(), 200);
    for mut stream in slow {
        let mut rest = Vec::new();
        let cut = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
        assert!(cut.is_ok(), "the connection is still open");
    }
    assert!(started.elapsed() >= deadlines.header);
    tokio::time::sleep(deadlines.header / 4).await;
    let mut open = Vec::new();
    for _ in 0..deadlines.connections {
        open.push(TcpStream::connect(address).await.unwrap());
    }
    let mut over = TcpStream::connect(address).await.unwrap();
    let read = tokio::time::timeout(deadlines.header / 2, over.read(&mut [0; 1])).await;
    assert!(matches!(read, Ok(Ok(0) | Err(_))), "one connection too many is closed at once: {read:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn live_rows_end_with_their_reader_or_with_the_server() {
    let server = Server::new();
    let address = server.listen(Deadlines::default()).await;
    let client = reqwest::Client::new();
    let tail = async || {
        let request = client.post(format!("http://{address}/v1/sql")).bearer_auth(server.analyst.expose()).body("live");
        let mut rows = request.send().await.unwrap().bytes_stream();
        let first = rows.next().await.unwrap().unwrap();
        assert!(first.starts_with(br#"{"n":1,"#));
        rows
    };
    let rows = tail().await;
    assert!(!server.sql.dropped.load(Ordering::SeqCst));
    drop(rows);
    let deadline = Instant::now() + Duration::from_secs(5);
    while !server.sql.dropped.load(Ordering::SeqCst) {
        assert!(Instant::now() < deadline, "the query outlived its reader");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut rows = tail().await;
    server.shutdown.cancel();
    let end = tokio::time::timeout(Duration::from_secs(5), rows.next()).await.expect("live rows outlived the server");
    assert!(end.is_none(), "the response ends whole: {end:?}");
    assert!(client.get(format!("http://{address}/health")).send().await.is_err());
}
