//! Devices and tokens, from the first to the last request about them. Invariant checked: what was revoked opens nothing any more.

use super::*;

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
    assert_eq!(activate(&"x".repeat(CONNECT_BYTES_MAX)).await.status, 413, "of a stranger no more is kept than over other protocols");
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
