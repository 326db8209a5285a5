//! Answers with rows. Invariant checked: a client can tell whether it has all of them.

use super::*;

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
async fn a_stop_does_not_make_a_part_of_a_result_look_whole() {
    let server = Server::new();
    server.shutdown.cancel();
    let answer = server.send(Method::POST, "/v1/sql", Some(server.analyst.expose()), "rows").await;
    assert_eq!((answer.status, answer.text().lines().count()), (StatusCode::OK, 4));
    let live = server.send(Method::POST, "/v1/sql", Some(server.analyst.expose()), "live").await;
    assert_eq!((live.status, live.whole, live.text()), (StatusCode::OK, true, ""));
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
    let deadline = Instant::now() + Duration::from_secs(60);
    while !server.sql.dropped.load(Ordering::SeqCst) {
        assert!(Instant::now() < deadline, "the query outlived its reader");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut rows = tail().await;
    server.shutdown.cancel();
    let end = tokio::time::timeout(Duration::from_secs(60), rows.next()).await.expect("live rows outlived the server");
    assert!(end.is_none(), "the response ends whole: {end:?}");
    let deadline = Instant::now() + Duration::from_secs(60);
    while client.get(format!("http://{address}/health")).send().await.is_ok() {
        assert!(Instant::now() < deadline, "the server still answers");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn live_rows_end_with_the_token_of_their_reader() {
    let server = Server::new();
    let address = server.listen(Deadlines::default()).await;
    let name = thalweg_engine::ids::Name::new("ana").unwrap();
    let token = || server.devices.create_token(&operator(), &name, thalweg_devices::Role::Analyst, None).unwrap();
    let request = reqwest::Client::new().post(format!("http://{address}/v1/sql")).bearer_auth(token().expose()).body("live");
    let mut rows = request.send().await.unwrap().bytes_stream();
    assert!(rows.next().await.unwrap().unwrap().starts_with(br#"{"n":1,"#));
    server.devices.revoke_token(&operator(), &name).unwrap();
    let _of_the_same_name = token();
    let end = tokio::time::timeout(Duration::from_secs(60), rows.next()).await.expect("live rows outlived their token");
    assert!(end.is_none(), "the response ends whole: {end:?}");
}
