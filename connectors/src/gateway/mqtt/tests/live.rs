//! Connections that meet each other, their messages, and their end. Invariant: no device is touched by another's fate.

use std::time::{Duration, Instant};

use bytes::Bytes;
use thalweg_engine::ids::DeviceId;

use super::raw::{BOTH, Version, connect, packet, parse_publish, publish, subscribe, unsubscribe};
use super::*;

const TOPIC: &str = "devices/pump-1/telemetry";

fn device(id: &str) -> DeviceId {
    DeviceId::new(id).unwrap()
}

#[tokio::test]
async fn a_second_connection_takes_the_client_id_over() {
    let bench = Bench::start(Durability::AtOnce).await;
    for version in BOTH {
        let mut older = bench.device(version, "pump-1").await;
        let mut other = bench.peer().await;
        other.send(&connect(version, "pump-1/logger", "pump-1", "key-pump-1", None)).await;
        other.packet().await.unwrap();
        let mut newer = bench.device(version, "pump-1").await;
        let packets = older.until_closed().await;
        let codes: Vec<u8> = packets.iter().map(|(_, body)| body[0]).collect();
        assert_eq!(codes, if version == Version::V5 { vec![0x8e] } else { vec![] });
        for peer in [&mut newer, &mut other] {
            peer.send(&publish(version, TOPIC, b"{}", Some(1))).await;
            assert_eq!(peer.packet().await.unwrap().1, [0, 1]);
        }
    }
}

#[tokio::test]
async fn a_revocation_cuts_every_connection_and_publishes_no_will() {
    for version in BOTH {
        let bench = Bench::start(Durability::AtOnce).await;
        let mut peers = Vec::new();
        for client_id in ["pump-1", "pump-1/a"] {
            let mut peer = bench.peer().await;
            peer.send(&connect(version, client_id, "pump-1", "key-pump-1", Some(TOPIC))).await;
            peer.packet().await.unwrap();
            peers.push(peer);
        }
        let mut bystander = bench.device(version, "pump-2").await;
        let start = Instant::now();
        bench.authority.revoke("pump-1");
        for peer in &mut peers {
            peer.until_closed().await;
        }
        assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
        bystander.send(&packet(0xc0, &[])).await;
        assert_eq!(bystander.packet().await, Some((0xd0, vec![])));
        assert_eq!(bench.gateway.connected(), [device("pump-2")]);
        bench.gateway.shutdown().await;
        assert!(bench.log.records().is_empty(), "the will of a revoked device was published");
    }
}

#[tokio::test]
async fn a_revocation_reaches_a_device_that_does_not_read() {
    let bench = Bench::start(Durability::AtOnce).await;
    let mut peer = bench.device(Version::V5, "pump-1").await;
    peer.send(&subscribe(Version::V5, 1, &["devices/pump-1/#"])).await;
    peer.packet().await.unwrap();
    let message = Bytes::from(vec![b'x'; 200_000]);
    let mut taken = 0;
    for _ in 0..20 {
        for _ in 0..20 {
            taken += bench.gateway.deliver(&device("pump-1"), "devices/pump-1/commands/x", message.clone());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!((1..64).contains(&taken), "{taken} of 400 wait: that is more than a device may hold");
    assert!(bench.context.counters.undelivered.get() > 0, "the queue of a device that does not read is bounded");
    tokio::time::sleep(Duration::from_millis(200)).await;
    bench.authority.revoke("pump-1");
    let start = Instant::now();
    while !bench.gateway.connected().is_empty() {
        assert!(start.elapsed() < Duration::from_secs(8));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(peer);
}

#[tokio::test]
async fn a_will_is_published_when_a_connection_breaks_and_forgotten_after_goodbye() {
    for version in BOTH {
        let bench = Bench::start(Durability::AtOnce).await;
        let with_will = connect(version, "pump-1", "pump-1", "key-pump-1", Some(TOPIC));
        let mut polite = bench.peer().await;
        polite.send(&with_will).await;
        polite.packet().await.unwrap();
        polite.send(&packet(0xe0, &[])).await;
        assert_eq!(polite.until_closed().await, []);
        assert!(bench.log.records().is_empty());
        let mut lost = bench.peer().await;
        lost.send(&with_will).await;
        lost.packet().await.unwrap();
        drop(lost);
        bench.log.wait_appended(1).await;
        assert_eq!(bench.log.payloads(), ["gone"]);
        bench.gateway.shutdown().await;
        assert_eq!(bench.log.records().len(), 1);
        assert_eq!(bench.context.counters.opened.get(), bench.context.counters.closed.get());
    }
}

#[tokio::test]
async fn a_device_that_is_revoked_right_after_its_connection_broke_has_no_will() {
    for version in BOTH {
        let bench = Bench::start(Durability::AtOnce).await;
        let mut lost = bench.peer().await;
        lost.send(&connect(version, "pump-1", "pump-1", "key-pump-1", Some(TOPIC))).await;
        lost.packet().await.unwrap();
        bench.authority.revoke_unheard("pump-1");
        drop(lost);
        let start = Instant::now();
        while !bench.gateway.connected().is_empty() {
            assert!(start.elapsed() < Duration::from_secs(8));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bench.gateway.shutdown().await;
        assert!(bench.log.records().is_empty(), "the will of a revoked device was published");
    }
}

#[tokio::test]
async fn a_device_hears_its_own_messages_once_they_are_durable() {
    for version in BOTH {
        let bench = Bench::start(Durability::WhenTold).await;
        let mut listener = bench.peer().await;
        listener.send(&connect(version, "pump-1/listener", "pump-1", "key-pump-1", None)).await;
        listener.packet().await.unwrap();
        listener.send(&subscribe(version, 1, &["devices/pump-1/+"])).await;
        listener.packet().await.unwrap();
        let mut stranger = bench.device(version, "pump-2").await;
        stranger.send(&subscribe(version, 1, &["devices/pump-2/#"])).await;
        stranger.packet().await.unwrap();
        let mut sender = bench.device(version, "pump-1").await;
        sender.send(&publish(version, TOPIC, b"{\"a\":1}", Some(1))).await;
        bench.log.wait_appended(1).await;
        listener.hears_nothing().await;
        bench.log.make_durable(1);
        let heard = listener.packet().await.unwrap();
        let (topic, id, payload) = parse_publish(version, &heard);
        assert_eq!((topic.as_str(), payload.as_slice()), (TOPIC, &b"{\"a\":1}"[..]));
        listener.send(&packet(0x40, &id.unwrap().to_be_bytes())).await;
        stranger.hears_nothing().await;
        listener.send(&unsubscribe(version, 2, "devices/pump-1/+")).await;
        assert_eq!(listener.packet().await.unwrap().0, 0xb0);
        sender.send(&publish(version, TOPIC, b"2", Some(2))).await;
        bench.log.wait_appended(2).await;
        bench.log.make_durable(2);
        listener.hears_nothing().await;
    }
}

#[tokio::test]
async fn the_gateway_delivers_commands_to_subscribers_only() {
    let bench = Bench::start(Durability::AtOnce).await;
    let command = "devices/pump-1/commands/reboot";
    let deliver = || bench.gateway.deliver(&device("pump-1"), command, Bytes::from_static(b"now"));
    assert_eq!(deliver(), 0);
    let mut peer = bench.device(Version::V5, "pump-1").await;
    assert_eq!(deliver(), 0);
    peer.send(&subscribe(Version::V5, 1, &["devices/pump-1/commands/+"])).await;
    peer.packet().await.unwrap();
    // More than may be unacknowledged at once.
    for _ in 0..100 {
        assert_eq!(deliver(), 1);
    }
    for _ in 0..100 {
        let (topic, id, payload) = parse_publish(Version::V5, &peer.packet().await.unwrap());
        assert_eq!((topic.as_str(), payload.as_slice()), (command, &b"now"[..]));
        peer.send(&packet(0x40, &id.unwrap().to_be_bytes())).await;
    }
}

#[tokio::test]
async fn one_device_holds_a_bounded_number_of_connections() {
    let bench = Bench::start(Durability::AtOnce).await;
    let mut peers = Vec::new();
    for n in 0..=thalweg_engine::limits::CONNECTIONS_PER_DEVICE_MAX {
        let mut peer = bench.peer().await;
        peer.send(&connect(Version::V5, &format!("pump-1/{n}"), "pump-1", "key-pump-1", None)).await;
        let code = peer.packet().await.unwrap().1[1];
        let full = n == thalweg_engine::limits::CONNECTIONS_PER_DEVICE_MAX;
        assert_eq!(code, if full { 0x97 } else { 0 });
        peers.push(peer);
    }
}
