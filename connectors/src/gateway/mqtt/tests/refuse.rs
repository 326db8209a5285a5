//! What the gateway refuses, and with which code. Invariant: nothing refused leaves a record in the log.

use std::time::Duration;

use super::raw::{BOTH, Version, connect, connect_v5, connect_with, packet, publish, publish_with, subscribe, user_property};
use super::*;

const TOPIC: &str = "devices/pump-1/telemetry";

/// The code in CONNACK, after which the connection must be closed.
async fn connack_code(bench: &Bench, bytes: &[u8]) -> u8 {
    let mut peer = bench.peer().await;
    peer.send(bytes).await;
    let packets = peer.until_closed().await;
    assert_eq!(packets.len(), 1, "{packets:?}");
    assert_eq!(packets[0].0, 0x20);
    packets[0].1[1]
}

#[tokio::test]
async fn a_connect_that_lies_is_refused_with_the_right_code() {
    let bench = Bench::start(Durability::AtOnce).await;
    bench.authority.revoke("pump-9");
    let own_will = Some("devices/pump-1/telemetry");
    for (client_id, user, key, will, v3, v5) in [
        ("pump-1", "pump-1", "wrong", None, 4, 0x86),
        ("pump-1", "pump-1", "key-pump-2", None, 4, 0x86),
        ("pump-1", "", "", None, 4, 0x86),
        ("pump-9", "pump-9", "key-pump-9", None, 4, 0x86),
        ("pump-2", "pump-1", "key-pump-1", None, 2, 0x85),
        ("pump-11", "pump-1", "key-pump-1", None, 2, 0x85),
        ("pump-2", "pump-1", "wrong", None, 4, 0x86),
        ("pump-1", "pump-1", "key-pump-1", Some("devices/pump-2/telemetry"), 5, 0x87),
        ("pump-1", "pump-1", "key-pump-1", Some("devices/pump-1/commands/reboot"), 5, 0x87),
        ("pump-1", "pump-1", "wrong", own_will, 4, 0x86),
    ] {
        for version in BOTH {
            let want = if version == Version::V3 { v3 } else { v5 };
            let got = connack_code(&bench, &connect(version, client_id, user, key, will)).await;
            assert_eq!(got, want, "{version:?} {client_id} {user} {will:?}");
        }
    }
    assert_eq!(bench.context.counters.refused.get(), 20);
    assert_eq!(bench.context.counters.opened.get(), 0);
    assert!(bench.log.records().is_empty(), "no will of a refused device is published");
}

#[tokio::test]
async fn client_ids_of_the_device_are_accepted_and_an_empty_one_is_assigned() {
    let bench = Bench::start(Durability::AtOnce).await;
    let (mut peers, mut all) = (Vec::new(), std::collections::HashSet::new());
    for version in BOTH {
        for client_id in ["pump-1", "pump-1/logger", "", ""] {
            let mut peer = bench.peer().await;
            peer.send(&connect(version, client_id, "pump-1", "key-pump-1", None)).await;
            let (first, body) = peer.packet().await.unwrap();
            assert_eq!((first, body[1]), (0x20, 0), "{client_id:?}");
            let assigned = body.windows(10).position(|w| w == b"\x12\x00\x17pump-1/");
            assert_eq!(assigned.is_some(), version == Version::V5 && client_id.is_empty());
            let assigned = assigned.map(|at| body[at + 3..at + 26].to_vec());
            assert!(assigned.is_none_or(|id| id[7..].iter().all(u8::is_ascii_hexdigit) && all.insert(id)), "{all:?}");
            peers.push(peer);
        }
    }
    for peer in &mut peers[2..4] {
        peer.send(&packet(0xc0, &[])).await;
        assert_eq!(peer.packet().await, Some((0xd0, vec![])), "nobody took its connection over");
    }
}

#[tokio::test]
async fn another_devices_topic_is_refused() {
    let bench = Bench::start(Durability::AtOnce).await;
    for topic in ["devices/pump-2/telemetry", "devices/pump-11/telemetry", "devices/pump-1/commands", "$SYS/x", "x"] {
        let mut peer = bench.device(Version::V5, "pump-1").await;
        peer.send(&publish(Version::V5, topic, b"{}", Some(5))).await;
        let (first, body) = peer.packet().await.unwrap();
        assert_eq!((first, &body[..3]), (0x40, &[0, 5, 0x87][..]), "{topic}");
        // It stays connected, and its own topic works.
        peer.send(&publish(Version::V5, TOPIC, b"{}", Some(6))).await;
        assert_eq!(peer.packet().await.unwrap().1, [0, 6]);
        let mut peer = bench.device(Version::V3, "pump-1").await;
        peer.send(&publish(Version::V3, topic, b"{}", Some(5))).await;
        assert_eq!(peer.until_closed().await, []);
    }
    assert_eq!(bench.context.counters.rejected.get(), 10);
    assert_eq!(bench.log.records().len(), 5);
    bench.assert_balance();
}

#[tokio::test]
async fn a_stream_that_does_not_exist_is_refused() {
    let bench = Bench::start(Durability::AtOnce).await;
    let mut peer = bench.device(Version::V5, "pump-1").await;
    peer.send(&publish(Version::V5, "devices/pump-1/telemetry/nowhere", b"{}", Some(5))).await;
    assert_eq!(&peer.packet().await.unwrap().1[..3], [0, 5, 0x90]);
}

#[tokio::test]
async fn wildcards_beyond_the_own_prefix_are_refused() {
    let bench = Bench::start(Durability::AtOnce).await;
    let filters = ["#", "devices/+/telemetry", "devices/pump-2/#", "$share/g/devices/pump-1/#", "devices/pump-1/#"];
    for version in BOTH {
        let mut peer = bench.device(version, "pump-1").await;
        peer.send(&subscribe(version, 9, &filters)).await;
        let (first, body) = peer.packet().await.unwrap();
        let codes = &body[if version == Version::V5 { 3 } else { 2 }..];
        let refused = if version == Version::V5 { 0x87 } else { 0x80 };
        assert_eq!((first, codes), (0x90, &[refused, refused, refused, refused, 1][..]));
    }
}

#[tokio::test]
async fn quality_2_and_retained_messages_are_refused() {
    let bench = Bench::start(Durability::AtOnce).await;
    for (first_byte, code) in [(0x34, 0x9b), (0x33, 0x9a)] {
        let mut peer = bench.device(Version::V5, "pump-1").await;
        peer.send(&publish_with(Version::V5, TOPIC, b"{}", Some(1), first_byte, &[])).await;
        let packets = peer.until_closed().await;
        assert_eq!((packets[0].0, packets[0].1[0]), (0xe0, code), "{packets:?}");
    }
    let mut peer = bench.device(Version::V3, "pump-1").await;
    peer.send(&publish_with(Version::V3, TOPIC, b"{}", Some(1), 0x34, &[])).await;
    assert_eq!(peer.until_closed().await, []);
    assert!(bench.log.records().is_empty());
}

#[tokio::test]
async fn a_number_that_is_none_is_refused_in_words() {
    let bench = Bench::start(Durability::AtOnce).await;
    let mut peer = bench.device(Version::V5, "pump-1").await;
    let (epoch, seq) = (|value| user_property("epoch", value), |value| user_property("seq", value));
    let cases = [
        (epoch("1"), "come together"),
        (seq("1"), "come together"),
        ([epoch("1"), seq("x")].concat(), "seq is not"),
        ([epoch("1"), seq("")].concat(), "seq is not"),
        ([epoch("1"), seq("-1")].concat(), "seq is not"),
        ([epoch("1"), seq("18446744073709551616")].concat(), "seq is not"),
        ([epoch("4294967296"), seq("1")].concat(), "epoch is not"),
        ([epoch("1"), seq("1"), seq("2")].concat(), "twice"),
    ];
    for (properties, said) in &cases {
        peer.send(&publish_with(Version::V5, TOPIC, b"{}", Some(7), 0x32, properties)).await;
        let (first, body) = peer.packet().await.unwrap();
        assert_eq!((first, &body[..3], body[4]), (0x40, &[0, 7, 0x83][..], 0x1f));
        assert!(String::from_utf8_lossy(&body[7..]).contains(said), "{body:?}");
    }
    peer.send(&publish_with(Version::V5, TOPIC, b"{}", None, 0x30, &epoch("1"))).await;
    let (first, body) = peer.until_closed().await.remove(0);
    assert_eq!((first, body[0], body[2]), (0xe0, 0x83, 0x1f));
    assert!(String::from_utf8_lossy(&body[5..]).contains("come together"), "{body:?}");
    assert_eq!(bench.context.counters.rejected.get(), cases.len() as u64 + 1);
    assert!(bench.log.records().is_empty());
    bench.assert_balance();
}

#[tokio::test]
async fn reasons_are_left_out_for_a_device_that_does_not_take_them() {
    let bench = Bench::start(Durability::AtOnce).await;
    let (no_problems, short_packets) = ([0x17, 0], [0x27, 0, 0, 0, 40]);
    for properties in [&no_problems[..], &short_packets] {
        let mut peer = bench.peer().await;
        peer.send(&connect_v5("pump-1", properties)).await;
        peer.packet().await.unwrap();
        peer.send(&publish_with(Version::V5, TOPIC, b"{}", Some(7), 0x32, &user_property("epoch", "1"))).await;
        assert_eq!(peer.packet().await, Some((0x40, vec![0, 7, 0x83])));
    }
}

#[tokio::test]
async fn a_long_payload_is_refused() {
    let bench = Bench::start(Durability::AtOnce).await;
    let payload = vec![b'x'; thalweg_engine::limits::RECORD_PAYLOAD_BYTES_MAX + 1];
    let mut peer = bench.device(Version::V5, "pump-1").await;
    peer.send(&publish(Version::V5, TOPIC, &payload, Some(1))).await;
    assert_eq!(&peer.packet().await.unwrap().1[..3], [0, 1, 0x97]);
    let mut peer = bench.device(Version::V3, "pump-1").await;
    peer.send(&publish(Version::V3, TOPIC, &payload, Some(1))).await;
    assert_eq!(peer.until_closed().await, []);
    assert!(bench.log.records().is_empty());
}

#[tokio::test]
async fn a_length_beyond_the_bound_is_refused_before_its_body() {
    let bench = Bench::start(Durability::AtOnce).await;
    // A stranger may announce 16 KiB, a known device a record; the largest legal length is 256 MiB.
    for announced in [[0x10, 0x80, 0x80, 0x02, 0], [0x10, 0xff, 0xff, 0xff, 0x7f]] {
        let mut peer = bench.peer().await;
        peer.send(&announced).await;
        assert_eq!(peer.until_closed().await, []);
    }
    let mut peer = bench.device(Version::V5, "pump-1").await;
    peer.send(&[0x32, 0xff, 0xff, 0xff, 0x7f]).await;
    let packets = peer.until_closed().await;
    assert_eq!((packets[0].0, packets[0].1[0]), (0xe0, 0x95));
    let mut peer = bench.device(Version::V3, "pump-1").await;
    peer.send(&[0x32, 0xff, 0xff, 0xff, 0x7f]).await;
    assert_eq!(peer.until_closed().await, []);
}

#[tokio::test]
async fn garbage_ends_its_own_connection_only() {
    let bench = Bench::start(Durability::AtOnce).await;
    let mut good = bench.device(Version::V5, "pump-1").await;
    let mut noise = crate::testing::noise(0x2545_f491_4f6c_dd1d);
    for round in 0..200 {
        let mut bytes: Vec<u8> = noise.by_ref().take(64).collect();
        // Half of them after a valid CONNECT, and with a small length, so that they get past the header.
        bytes[1] &= 0x3f;
        let mut peer = if round % 2 == 0 { bench.peer().await } else { bench.device(BOTH[round / 2 % 2], "pump-2").await };
        if round % 4 == 2 {
            bytes[0] = 0x10;
        }
        let _ = tokio::io::AsyncWriteExt::write_all(&mut peer.socket, &bytes).await;
    }
    let wrong_role = packet(0x20, &[0, 0]);
    for version in BOTH {
        let mut peer = bench.device(version, "pump-3").await;
        peer.send(&wrong_role).await;
        peer.until_closed().await;
        let mut peer = bench.device(version, "pump-3").await;
        peer.send(&connect(version, "pump-3", "pump-3", "key-pump-3", None)).await;
        peer.until_closed().await;
    }
    good.send(&publish(Version::V5, TOPIC, b"{}", Some(1))).await;
    assert_eq!(good.packet().await.unwrap().1, [0, 1]);
}

#[tokio::test]
async fn silence_beyond_the_keep_alive_ends_a_connection() {
    let bench = Bench::start(Durability::AtOnce).await;
    for version in BOTH {
        let mut peer = bench.peer().await;
        let start = std::time::Instant::now();
        peer.send(&connect_with(version, "pump-1", "pump-1", "key-pump-1", None, 1)).await;
        peer.packet().await.unwrap();
        let packets = peer.until_closed().await;
        let waited = start.elapsed();
        assert!((Duration::from_millis(1_500)..Duration::from_secs(30)).contains(&waited), "{waited:?}");
        let codes: Vec<u8> = packets.iter().map(|(_, body)| body[0]).collect();
        assert_eq!(codes, if version == Version::V5 { vec![0x8d] } else { vec![] });
    }
}

#[tokio::test]
async fn a_stranger_who_says_nothing_is_sent_away() {
    let bench = Bench::start(Durability::AtOnce).await;
    let mut peer = bench.peer().await;
    peer.send(&[0x10, 0x20, 0]).await;
    let start = std::time::Instant::now();
    assert_eq!(peer.until_closed().await, []);
    assert!(start.elapsed() < Duration::from_secs(30));
}
