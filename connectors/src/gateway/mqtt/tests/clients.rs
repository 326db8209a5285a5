//! An unrelated client library against the gateway. Invariant: it is used as its documentation says, without favours.

use std::time::Duration;

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};

use super::*;

#[tokio::test]
async fn rumqttc_3_1_1_publishes_and_subscribes() {
    let bench = Bench::start(Durability::AtOnce).await;
    let mut options = MqttOptions::new("pump-1", "127.0.0.1", bench.gateway.address().port());
    options.set_credentials("pump-1", "key-pump-1").set_keep_alive(Duration::from_secs(5));
    let (client, mut events) = AsyncClient::new(options, 64);
    client.subscribe("devices/pump-1/#", QoS::AtLeastOnce).await.unwrap();
    for n in 0..20 {
        client.publish("devices/pump-1/telemetry", QoS::AtLeastOnce, false, format!("{{\"n\":{n}}}")).await.unwrap();
    }
    let (mut acknowledged, mut heard) = (0, Vec::new());
    let all = async {
        while acknowledged < 20 || heard.len() < 20 {
            match events.poll().await.unwrap() {
                Event::Incoming(Packet::PubAck(_)) => acknowledged += 1,
                Event::Incoming(Packet::Publish(p)) => heard.push(String::from_utf8(p.payload.to_vec()).unwrap()),
                _ => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), all).await.unwrap();
    assert_eq!(bench.log.payloads(), heard);
    bench.assert_balance();
}

#[tokio::test]
async fn rumqttc_5_publishes_and_is_told_why_it_may_not() {
    use rumqttc::v5::mqttbytes::QoS;
    use rumqttc::v5::mqttbytes::v5::{Packet, PubAckReason};
    use rumqttc::v5::{AsyncClient, Event, MqttOptions};

    let bench = Bench::start(Durability::AtOnce).await;
    let mut options = MqttOptions::new("pump-1/x", "127.0.0.1", bench.gateway.address().port());
    options.set_credentials("pump-1", "key-pump-1").set_keep_alive(Duration::from_secs(5));
    let (client, mut events) = AsyncClient::new(options, 64);
    client.publish("devices/pump-1/telemetry", QoS::AtLeastOnce, false, "{}").await.unwrap();
    client.publish("devices/pump-2/telemetry", QoS::AtLeastOnce, false, "{}").await.unwrap();
    let mut reasons = Vec::new();
    let all = async {
        while reasons.len() < 2 {
            if let Event::Incoming(Packet::PubAck(ack)) = events.poll().await.unwrap() {
                reasons.push(ack.reason);
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), all).await.unwrap();
    assert_eq!(reasons, [PubAckReason::Success, PubAckReason::NotAuthorized]);
    assert_eq!(bench.log.records().len(), 1);
}
