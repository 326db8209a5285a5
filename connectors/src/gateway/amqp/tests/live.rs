//! Connections that meet each other, and their end. Invariant: no device is touched by another's fate.

use std::time::{Duration, Instant};

use thalweg_engine::ids::DeviceId;

use super::raw::{AMQP, FLOW, OPEN, Settled, V, begin, frame, list, message, null, plain, text, transfer, uint};
use super::*;

#[tokio::test]
async fn a_second_connection_takes_the_container_id_over() {
    let bench = Bench::start(Durability::AtOnce).await;
    let mut older = bench.device().await;
    let mut other = bench.peer().await;
    other.open("pump-1", "logger").await;
    other.link(EVENTS).await;
    let mut newer = bench.device().await;
    assert_eq!(older.closed_with().await, "amqp:connection:forced");
    for peer in [&mut newer, &mut other] {
        peer.send(&transfer(0, 0, Settled::No, &message(b"{}"))).await;
        assert_eq!(peer.answers(0).await, [(0, 0, None)]);
    }
}

#[tokio::test]
async fn connections_without_a_container_id_do_not_take_each_other_over() {
    let bench = Bench::start(Durability::AtOnce).await;
    let mut peers = [bench.peer().await, bench.peer().await];
    for peer in &mut peers {
        peer.open("pump-1", "").await;
    }
    for peer in &mut peers {
        peer.link(EVENTS).await;
        peer.send(&transfer(0, 0, Settled::No, &message(b"{}"))).await;
        assert_eq!(peer.answers(0).await, [(0, 0, None)]);
    }
}

#[tokio::test]
async fn a_revocation_cuts_every_connection_of_the_device() {
    let bench = Bench::start(Durability::AtOnce).await;
    let mut peers = Vec::new();
    for container in ["a", "b"] {
        let mut peer = bench.peer().await;
        peer.open("pump-1", container).await;
        peers.push(peer);
    }
    let mut bystander = bench.peer().await;
    bystander.open("pump-2", "pump-2").await;
    let start = Instant::now();
    bench.authority.revoke("pump-1");
    for peer in &mut peers {
        assert_eq!(peer.closed_with().await, "amqp:unauthorized-access");
    }
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    bystander.link("devices/pump-2/messages/events").await;
    assert_eq!(bench.gateway.connected(), [DeviceId::new("pump-2").unwrap()]);
    let mut again = bench.peer().await;
    assert_eq!(again.log_in(&plain("pump-1", "key-pump-1")).await, 1);
}

#[tokio::test]
async fn a_revocation_reaches_a_device_that_does_not_read() {
    let bench = Bench::start(Durability::AtOnce).await;
    let mut peer = bench.device().await;
    // Each of these asks for an answer; none is read, until the gateway can write no more.
    let ask = frame(0, 0, &list(FLOW, &[uint(0), uint(100), uint(0), uint(100), uint(0), uint(0), uint(0), null(), null(), vec![0x41]]));
    let many = ask.repeat(1_000);
    let blocked = async {
        loop {
            tokio::io::AsyncWriteExt::write_all(&mut peer.socket, &many).await.unwrap();
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(2), blocked).await.is_err());
    bench.authority.revoke("pump-1");
    let start = Instant::now();
    while !bench.gateway.connected().is_empty() {
        assert!(start.elapsed() < Duration::from_secs(8));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_device_that_is_silent_for_too_long_is_cut_off() {
    let bench = Bench::start_with(Durability::AtOnce, Duration::from_millis(1_000)).await;
    let mut peer = bench.peer().await;
    let opened = peer.open("pump-1", "pump-1").await;
    assert_eq!(opened.number(4), 1_000, "it is told how often to speak");
    // Signs of life keep it.
    for _ in 0..12 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        peer.send(&frame(0, 0, &[])).await;
    }
    let start = Instant::now();
    assert_eq!(peer.closed_with().await, "amqp:connection:forced");
    let waited = start.elapsed();
    assert!((Duration::from_millis(1_900)..Duration::from_secs(9)).contains(&waited), "{waited:?}");
}

#[tokio::test]
async fn a_device_that_wants_signs_of_life_gets_them() {
    let bench = Bench::start(Durability::AtOnce).await;
    let mut peer = bench.peer().await;
    assert_eq!(peer.log_in(&plain("pump-1", "key-pump-1")).await, 0);
    let open = list(OPEN, &[text("pump-1"), null(), uint(512), null(), uint(600)]);
    let start = Instant::now();
    peer.send(&[AMQP, &frame(0, 0, &open)].concat()).await;
    peer.protocol().await.unwrap();
    assert_eq!(peer.said().await.unwrap().code, OPEN);
    for _ in 0..3 {
        assert_eq!(peer.read().await, Some((0, None)));
    }
    let waited = start.elapsed();
    assert!((Duration::from_millis(800)..Duration::from_secs(30)).contains(&waited), "{waited:?}");
}

#[tokio::test]
async fn a_flow_that_asks_is_answered() {
    let bench = Bench::start(Durability::AtOnce).await;
    let mut peer = bench.device().await;
    peer.send(&transfer(0, 0, Settled::No, &message(b"{}"))).await;
    peer.answers(0).await;
    let ask =
        |handle| frame(0, 0, &list(FLOW, &[uint(0), uint(100), uint(1), uint(100), handle, null(), null(), null(), null(), vec![0x41]]));
    peer.send(&ask(uint(0))).await;
    let link = peer.said().await.unwrap();
    assert_eq!((link.number(0), link.number(4), link.number(5), link.number(6)), (1, 0, 1, 255));
    peer.send(&ask(null())).await;
    let session = peer.said().await.unwrap();
    assert_eq!((session.code, session.number(0), session.fields.len()), (FLOW, 1, 4));
    // A second session has windows of its own.
    peer.send(&begin(1)).await;
    let begun = peer.said().await.unwrap();
    assert_eq!((begun.channel, &begun.fields[0]), (1, &V::Num(1)));
}
