//! Dispositions and durability. Invariant: the test alone decides when a record is durable.

use std::time::Duration;

use thalweg_engine::batch::{ContentType, ProducerSequence};
use thalweg_engine::limits;

use super::raw::{FLOW, Settled, V, frame, list, map, message, null, numbered, part, symbol, text, transfer, uint};
use super::*;

#[tokio::test]
async fn a_delivery_is_accepted_when_it_is_durable_and_in_order() {
    let bench = Bench::start(Durability::WhenTold).await;
    let mut peer = bench.device().await;
    for id in 0..3 {
        peer.send(&transfer(0, id, Settled::No, &message(format!("{{\"n\":{id}}}").as_bytes()))).await;
    }
    bench.log.wait_appended(3).await;
    peer.hears_nothing().await;
    bench.log.make_durable(2);
    assert_eq!(peer.answers(1).await, [(0, 1, None)]);
    peer.hears_nothing().await;
    bench.log.make_durable(3);
    assert_eq!(peer.answers(2).await, [(2, 2, None)]);
    assert_eq!(bench.log.payloads(), ["{\"n\":0}", "{\"n\":1}", "{\"n\":2}"]);
    let first = &bench.log.records()[0];
    assert_eq!((first.device.as_str(), first.topic.as_str()), ("pump-1", "devices/pump-1/telemetry"));
    bench.assert_balance();
}

#[tokio::test]
async fn many_are_in_flight_and_credit_is_renewed() {
    let bench = Bench::start(Durability::WhenTold).await;
    let mut peer = bench.peer().await;
    peer.open("pump-1", "pump-1").await;
    let (attached, credit) = peer.link(EVENTS).await;
    assert_eq!(credit, limits::UNACKNOWLEDGED_MAX as u64);
    assert_eq!(attached.number(10), limits::AMQP_MESSAGE_BYTES_MAX as u64);
    let some = |ids: std::ops::Range<u32>| ids.flat_map(|id| transfer(0, id, Settled::No, &message(b"{}"))).collect::<Vec<u8>>();
    peer.send(&some(0..128)).await;
    let flow = peer.said().await.unwrap();
    assert_eq!((flow.code, flow.number(4)), (FLOW, 0));
    assert_eq!((flow.number(5), flow.number(6)), (128, 256), "half of it is used up");
    peer.send(&some(128..256)).await;
    bench.log.wait_appended(256).await;
    peer.hears_nothing().await;
    bench.log.make_durable(256);
    let answers = peer.answers(255).await;
    assert_eq!((answers[0].0, answers.len()), (0, 1), "one disposition for all: {answers:?}");
    bench.assert_balance();
}

#[tokio::test]
async fn reading_stops_at_the_bound_and_goes_on_after_acknowledgement() {
    let bench = Bench::start(Durability::WhenTold).await;
    let mut peer = bench.device().await;
    // Half of the first credit, and then as many as the next allows.
    peer.send(&(0..128).flat_map(|id| transfer(0, id, Settled::No, &message(b"{}"))).collect::<Vec<u8>>()).await;
    assert_eq!(peer.said().await.unwrap().code, FLOW);
    peer.send(&(128..384).flat_map(|id| transfer(0, id, Settled::No, &message(b"{}"))).collect::<Vec<u8>>()).await;
    bench.log.wait_appended(256).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(bench.log.records().len(), 256);
    bench.log.make_durable(256);
    bench.log.wait_appended(384).await;
    bench.log.make_durable(384);
    peer.answers(383).await;
    bench.assert_balance();
}

#[tokio::test]
async fn what_the_device_says_about_a_record_is_kept() {
    let bench = Bench::start(Durability::AtOnce).await;
    let mut peer = bench.device().await;
    let properties = list(0x73, &[null(), null(), null(), null(), null(), null(), symbol("text/csv")]);
    let number = map(0x74, &[("epoch", text("4")), ("seq", text("18446744073709551615")), ("site", text("north"))]);
    peer.send(&transfer(0, 0, Settled::No, &[properties, number, message(b"1,2")].concat())).await;
    let value = [&[0, 0x53, 0x77][..], &text("{}")].concat();
    peer.send(&transfer(0, 1, Settled::No, &value)).await;
    peer.answers(1).await;
    let records = bench.log.records();
    assert_eq!(records[0].producer, Some(ProducerSequence { epoch: 4, sequence: u64::MAX }));
    assert_eq!((records[0].content_type, records[0].payload.as_slice()), (ContentType::Csv, &b"1,2"[..]));
    assert_eq!((records[1].producer, records[1].content_type), (None, ContentType::Unknown));
    assert_eq!(records[1].payload, b"{}");
}

#[tokio::test]
async fn a_message_in_several_frames_is_one_record() {
    let bench = Bench::start(Durability::AtOnce).await;
    let mut peer = bench.device().await;
    let payload = vec![b'x'; limits::RECORD_PAYLOAD_BYTES_MAX];
    let whole = message(&payload);
    let mut parts = whole.chunks(60_000).peekable();
    while let Some(bytes) = parts.next() {
        peer.send(&part(0, 0, Settled::No, parts.peek().is_some(), bytes)).await;
    }
    peer.answers(0).await;
    assert_eq!(bench.log.records()[0].payload, payload);
    bench.assert_balance();
}

#[tokio::test]
async fn settled_deliveries_are_stored_without_an_answer() {
    let bench = Bench::start(Durability::AtOnce).await;
    let mut peer = bench.device().await;
    peer.send(&transfer(0, 0, Settled::Yes, &message(b"{}"))).await;
    bench.log.wait_appended(1).await;
    peer.hears_nothing().await;
    peer.send(&transfer(0, 1, Settled::No, &message(b"{}"))).await;
    assert_eq!(peer.answers(1).await, [(1, 1, None)]);
    assert_eq!((bench.context.counters.appended.get(), bench.context.counters.unpromised.get()), (2, 1));
}

#[tokio::test]
async fn a_number_that_is_known_is_accepted_and_not_stored_again() {
    let bench = Bench::start(Durability::AtOnce).await;
    for round in 0..2 {
        let mut peer = bench.device().await;
        let all: Vec<u8> = (0..100).flat_map(|id| transfer(0, id, Settled::No, &numbered(7, u64::from(id), b"{}"))).collect();
        peer.send(&all).await;
        peer.answers(99).await;
        assert_eq!(bench.context.counters.duplicate.get(), round * 100);
    }
    assert_eq!(bench.log.records().len(), 100);
    bench.assert_balance();
}

#[tokio::test]
async fn a_full_log_holds_the_device_back_and_loses_nothing() {
    let bench = Bench::start(Durability::AtOnce).await;
    let mut peer = bench.device().await;
    bench.log.set_full(true);
    for id in 0..3 {
        peer.send(&transfer(0, id, Settled::No, &message(b"{}"))).await;
    }
    let flow = peer.said().await.unwrap();
    assert_eq!((flow.code, flow.number(4), flow.number(6)), (FLOW, 0, 0), "no credit");
    peer.hears_nothing().await;
    bench.log.set_full(false);
    let (mut credit, mut answered) = (None, None);
    while credit.is_none() || answered != Some(2) {
        let said = peer.said().await.unwrap();
        match said.code {
            FLOW => credit = Some(said.number(6)),
            _ => answered = Some(said.answer().1),
        }
    }
    assert_eq!((credit, bench.log.records().len()), (Some(256), 3));
    bench.assert_balance();
}

#[tokio::test]
async fn a_log_that_stays_full_is_told_to_the_device() {
    let bench = Bench::start(Durability::AtOnce).await;
    let mut peer = bench.device().await;
    bench.log.set_full(true);
    peer.send(&transfer(0, 0, Settled::Yes, &message(b"{}"))).await;
    peer.send(&transfer(0, 1, Settled::No, &message(b"{}"))).await;
    let answers = peer.answers(1).await;
    assert_eq!(answers, [(1, 1, Some("released".to_owned()))], "nothing is wrong with it");
    assert_eq!(bench.context.counters.failed.get(), 2);
    bench.log.set_full(false);
    peer.send(&transfer(0, 2, Settled::No, &message(b"{}"))).await;
    assert_eq!(peer.answers(2).await, [(2, 2, None)], "the link goes on");
    bench.assert_balance();
}

#[tokio::test]
async fn a_record_with_a_number_that_finds_no_room_ends_the_connection() {
    let bench = Bench::start(Durability::AtOnce).await;
    let mut peer = bench.device().await;
    bench.log.set_full(true);
    peer.send(&transfer(0, 0, Settled::No, &numbered(7, 1, b"{}"))).await;
    peer.send(&transfer(0, 1, Settled::No, &numbered(7, 2, b"{}"))).await;
    assert_eq!(peer.closed_with().await, "amqp:resource-limit-exceeded");
    assert_eq!((bench.log.records().len(), bench.context.counters.failed.get()), (0, 1));
    bench.assert_balance();
}

#[tokio::test]
async fn a_poisoned_log_closes_without_acceptance() {
    let bench = Bench::start(Durability::WhenTold).await;
    let mut peer = bench.device().await;
    peer.send(&[transfer(0, 0, Settled::No, &message(b"1")), transfer(0, 1, Settled::No, &message(b"2"))].concat()).await;
    bench.log.wait_appended(2).await;
    bench.log.make_durable(1);
    assert_eq!(peer.answers(0).await, [(0, 0, None)]);
    bench.log.poison();
    assert_eq!(peer.closed_with().await, "amqp:internal-error");
    bench.gateway.shutdown().await;
    let c = &bench.context.counters;
    assert_eq!((c.appended.get(), c.failed.get(), c.opened.get(), c.closed.get()), (1, 1, 1, 1));
}

#[tokio::test]
async fn a_stop_finishes_outstanding_answers() {
    let bench = Bench::start(Durability::WhenTold).await;
    let mut peer = bench.device().await;
    peer.send(&transfer(0, 0, Settled::No, &message(b"1"))).await;
    bench.log.wait_appended(1).await;
    let log = bench.log.clone();
    let (rest, (), ()) = tokio::join!(peer.until_closed(), bench.gateway.shutdown(), async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        log.make_durable(1);
    });
    assert_eq!(rest[0].answer(), (0, 0, None));
    assert_eq!(rest[1].error(0), ("amqp:connection:forced".to_owned(), "the gateway stops".to_owned()));
}

#[tokio::test]
async fn a_device_that_says_goodbye_gets_a_goodbye() {
    let bench = Bench::start(Durability::AtOnce).await;
    let mut peer = bench.device().await;
    let detach = frame(0, 0, &list(0x16, &[uint(0), vec![0x41]]));
    let (end, close) = (frame(0, 0, &list(0x17, &[])), frame(0, 0, &list(0x18, &[])));
    peer.send(&[transfer(0, 0, Settled::No, &message(b"1")), detach, end, close].concat()).await;
    let said = peer.until_closed().await;
    let codes: Vec<u64> = said.iter().map(|s| s.code).filter(|c| *c != FLOW).collect();
    assert_eq!(codes, [0x16, 0x17, 0x18], "the session ended before its delivery was answered");
    assert_eq!((&said[0].fields[1], &said[2].fields[0]), (&V::Bool(true), &V::Null));
    assert_eq!(bench.log.records().len(), 1);
    bench.assert_balance();
}
