//! The server as a whole. Invariant checked: whatever is asked, and however slowly, others are answered.

use super::*;

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
        "thalweg_gateway_difference{of=\"received\"} 0",
        "thalweg_gateway_difference{of=\"log\"} 3",
        "thalweg_job_difference{job=\"by_minute\",of=\"rows\"} 2",
        "thalweg_job_difference{job=\"by_minute\",of=\"windows\"} 0",
        "thalweg_log_damaged_segments 0",
        "thalweg_log_dropped_unread_records_total 5",
        "thalweg_log_received_ahead_seconds 0",
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
        let cut = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut rest)).await;
        assert!(cut.is_ok(), "the connection is still open");
    }
    assert!(started.elapsed() >= deadlines.header);
    let deadlines = Deadlines { header: Duration::from_secs(60), ..deadlines };
    let address = server.listen(deadlines).await;
    let mut open = Vec::new();
    for _ in 0..deadlines.connections {
        open.push(TcpStream::connect(address).await.unwrap());
    }
    let mut over = TcpStream::connect(address).await.unwrap();
    let read = tokio::time::timeout(Duration::from_secs(20), over.read(&mut [0; 1])).await;
    assert!(matches!(read, Ok(Ok(0) | Err(_))), "one connection too many is closed at once: {read:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_system_asks_a_peer_that_says_nothing_whether_it_is_there() {
    let server = Server::new();
    let address = server.listen(Deadlines::default()).await;
    let peer = TcpStream::connect(address).await.unwrap();
    let [near, far] = [address.port(), peer.local_addr().unwrap().port()].map(|port| format!(":{port:04X}"));
    // Of each socket: its number, both ends, state, queues, and the timer that runs; 2 is the one that asks.
    let asks = || {
        let sockets = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
        let mut fields = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        fields.any(|f| f.len() > 5 && f[1].ends_with(&near) && f[2].ends_with(&far) && f[5].starts_with("02:"))
    };
    let deadline = Instant::now() + Duration::from_secs(8);
    while !asks() {
        assert!(Instant::now() < deadline, "a peer that is gone would hold its query for ever");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
