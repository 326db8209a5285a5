//! Telemetry over HTTP. Invariant checked: it arrives as it was sent, or its device is told why not.

use super::*;

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
