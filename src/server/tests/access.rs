//! Who may call what. Invariant: every route of `ROUTES` is in the matrix, with who may call it written out a second time.

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
