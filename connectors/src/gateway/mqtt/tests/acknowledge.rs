//! PUBACK and durability. Invariant: the test alone decides when a record is durable.

use std::time::Duration;

use thalweg_engine::batch::{ContentType, ProducerSequence};

use super::raw::{BOTH, Version, content_type, publish, publish_with, user_property};
use super::*;

const TOPIC: &str = "devices/pump-1/telemetry";

fn puback(id: u16) -> raw::Raw {
    (0x40, id.to_be_bytes().to_vec())
}

#[tokio::test]
async fn puback_waits_for_durability_and_keeps_the_order() {
    for version in BOTH {
        let bench = Bench::start(Durability::WhenTold).await;
        let mut peer = bench.device(version, "pump-1").await;
        for id in [7, 3, 9] {
            peer.send(&publish(version, TOPIC, format!("{{\"n\":{id}}}").as_bytes(), Some(id))).await;
        }
        bench.log.wait_appended(3).await;
        peer.hears_nothing().await;
        bench.log.make_durable(2);
        assert_eq!([peer.packet().await, peer.packet().await], [Some(puback(7)), Some(puback(3))], "{version:?}");
        peer.hears_nothing().await;
        bench.log.make_durable(3);
        assert_eq!(peer.packet().await, Some(puback(9)));
        assert_eq!(bench.log.payloads(), ["{\"n\":7}", "{\"n\":3}", "{\"n\":9}"]);
        assert_eq!(bench.log.records()[0].device, "pump-1");
        bench.assert_balance();
    }
}

#[tokio::test]
async fn a_hundred_publishes_are_taken_before_one_is_acknowledged() {
    for version in BOTH {
        let bench = Bench::start(Durability::WhenTold).await;
        let mut peer = bench.device(version, "pump-1").await;
        let all: Vec<u8> = (1..=100).flat_map(|id| publish(version, TOPIC, b"{}", Some(id))).collect();
        peer.send(&all).await;
        bench.log.wait_appended(100).await;
        peer.hears_nothing().await;
        bench.log.make_durable(100);
        for id in 1..=100 {
            assert_eq!(peer.packet().await, Some(puback(id)));
        }
    }
}

#[tokio::test]
async fn reading_stops_at_the_bound_and_goes_on_after_acknowledgement() {
    let bench = Bench::start(Durability::WhenTold).await;
    let mut peer = bench.device(Version::V3, "pump-1").await;
    let all: Vec<u8> = (1..=600).flat_map(|id| publish(Version::V3, TOPIC, b"{}", Some(id))).collect();
    peer.send(&all).await;
    bench.log.wait_appended(256).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(bench.log.records().len(), 256);
    bench.log.make_durable(256);
    bench.log.wait_appended(512).await;
    bench.log.make_durable(512);
    bench.log.wait_appended(600).await;
    bench.log.make_durable(600);
    for id in 1..=600 {
        assert_eq!(peer.packet().await, Some(puback(id)));
    }
}

#[tokio::test]
async fn what_the_device_says_about_a_record_is_kept() {
    let bench = Bench::start(Durability::AtOnce).await;
    let mut peer = bench.device(Version::V5, "pump-1").await;
    let properties = [user_property("epoch", "4"), user_property("seq", "18446744073709551615"), content_type("text/csv")].concat();
    peer.send(&publish_with(Version::V5, TOPIC, b"1,2", Some(1), 0x32, &properties)).await;
    peer.send(&publish_with(Version::V5, TOPIC, b"3,4", Some(2), 0x32, &user_property("other", "4"))).await;
    assert_eq!([peer.packet().await, peer.packet().await], [Some(puback(1)), Some(puback(2))]);
    let records = bench.log.records();
    assert_eq!(records[0].producer, Some(ProducerSequence { epoch: 4, sequence: u64::MAX }));
    assert_eq!(records[0].content_type, ContentType::Csv);
    assert_eq!((records[1].producer, records[1].content_type), (None, ContentType::Unknown));
}

#[tokio::test]
async fn quality_0_is_stored_without_an_answer() {
    let bench = Bench::start(Durability::AtOnce).await;
    let mut peer = bench.device(Version::V3, "pump-1").await;
    peer.send(&publish(Version::V3, TOPIC, b"{}", None)).await;
    bench.log.wait_appended(1).await;
    peer.hears_nothing().await;
    assert_eq!((bench.context.counters.appended.get(), bench.context.counters.unpromised.get()), (1, 1));
}

#[tokio::test]
async fn a_full_log_holds_the_device_back_and_loses_nothing() {
    for version in BOTH {
        let bench = Bench::start(Durability::AtOnce).await;
        let mut peer = bench.device(version, "pump-1").await;
        bench.log.set_full(true);
        for id in 1..=3 {
            peer.send(&publish(version, TOPIC, b"{}", Some(id))).await;
        }
        peer.hears_nothing().await;
        bench.log.set_full(false);
        for id in 1..=3 {
            assert_eq!(peer.packet().await, Some(puback(id)));
        }
        assert_eq!(bench.log.records().len(), 3);
        bench.assert_balance();
    }
}

#[tokio::test]
async fn a_log_that_stays_full_is_told_to_version_5() {
    let bench = Bench::start(Durability::AtOnce).await;
    let mut peer = bench.device(Version::V5, "pump-1").await;
    bench.log.set_full(true);
    peer.send(&publish(Version::V5, TOPIC, b"{}", Some(1))).await;
    let (first, body) = peer.packet().await.unwrap();
    assert_eq!((first, &body[..3]), (0x40, &[0, 1, 0x97][..]));
    bench.assert_balance();
}

#[tokio::test]
async fn a_record_with_a_number_that_finds_no_room_ends_the_connection_and_is_stored_when_it_comes_again() {
    let bench = Bench::start(Durability::AtOnce).await;
    let numbered = |id: u16| {
        let number = [user_property("epoch", "1"), user_property("seq", &id.to_string())].concat();
        publish_with(Version::V5, TOPIC, b"{}", Some(id), 0x32, &number)
    };
    let all: Vec<u8> = (1..=100).flat_map(numbered).collect();
    let mut peer = bench.device(Version::V5, "pump-1").await;
    bench.log.set_full(true);
    peer.send(&all).await;
    let said = peer.until_closed().await;
    assert_eq!(said.len(), 1, "no answer to any of them: {said:?}");
    assert_eq!((said[0].0, said[0].1[0]), (0xe0, 0x97));
    bench.log.set_full(false);
    let mut peer = bench.device(Version::V5, "pump-1").await;
    peer.send(&all).await;
    for id in 1..=100 {
        assert_eq!(peer.packet().await, Some(puback(id)));
    }
    assert_eq!((bench.log.records().len(), bench.context.counters.duplicate.get()), (100, 0));
    bench.assert_balance();
}

#[tokio::test]
async fn a_poisoned_log_closes_without_acknowledgement() {
    for version in BOTH {
        let bench = Bench::start(Durability::WhenTold).await;
        let mut peer = bench.device(version, "pump-1").await;
        peer.send(&[publish(version, TOPIC, b"1", Some(1)), publish(version, TOPIC, b"2", Some(2))].concat()).await;
        bench.log.wait_appended(2).await;
        bench.log.make_durable(1);
        assert_eq!(peer.packet().await, Some(puback(1)));
        bench.log.poison();
        let rest = peer.until_closed().await;
        assert!(rest.iter().all(|(first, _)| *first == 0xe0), "{rest:?}");
        bench.gateway.shutdown().await;
        let c = &bench.context.counters;
        assert_eq!((c.appended.get(), c.failed.get(), c.opened.get(), c.closed.get()), (1, 1, 1, 1));
    }
}

#[tokio::test]
async fn a_stop_finishes_outstanding_acknowledgements() {
    let bench = Bench::start(Durability::WhenTold).await;
    let mut peer = bench.device(Version::V5, "pump-1").await;
    peer.send(&publish(Version::V5, TOPIC, b"1", Some(1))).await;
    bench.log.wait_appended(1).await;
    let log = bench.log.clone();
    let (rest, (), ()) = tokio::join!(peer.until_closed(), bench.gateway.shutdown(), async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        log.make_durable(1);
    });
    assert_eq!(rest[0], puback(1));
    assert_eq!((rest[1].0, rest[1].1[0]), (0xe0, 0x8b));
}

#[tokio::test]
async fn a_record_that_the_log_knows_is_acknowledged_though_nothing_moves() {
    let bench = Bench::start(Durability::AtOnce).await;
    let mut peer = bench.device(Version::V5, "pump-1").await;
    let number = [user_property("epoch", "1"), user_property("seq", "1")].concat();
    peer.send(&publish_with(Version::V5, TOPIC, b"{}", Some(1), 0x32, &number)).await;
    assert_eq!(peer.packet().await, Some(puback(1)));
    bench.log.set_full(true);
    let again: Vec<u8> = (2..=200).flat_map(|id| publish_with(Version::V5, TOPIC, b"{}", Some(id), 0x32, &number)).collect();
    peer.send(&again).await;
    peer.hears_nothing().await;
    bench.log.set_full(false);
    for id in 2..=200 {
        assert_eq!(peer.packet().await, Some(puback(id)));
    }
    assert_eq!(bench.log.records().len(), 1);
}
