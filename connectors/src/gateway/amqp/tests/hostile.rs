//! Bytes of peers that mean harm. Invariant: each ends its own connection at most, within a bound, and the others go on.

use std::time::Duration;

use thalweg_engine::limits;

use super::raw::{AMQP, SASL, Settled, attach, begin, frame, list, message, null, open, part, plain, text, transfer, uint};
use super::*;

/// A value of lists in lists, so many deep.
fn deep(levels: usize) -> Vec<u8> {
    let mut value = vec![0x40];
    for _ in 0..levels {
        value = [&[0xd0][..], &(value.len() as u32 + 4).to_be_bytes(), &1u32.to_be_bytes(), &value].concat();
    }
    value
}

#[tokio::test]
async fn a_frame_beyond_the_bound_is_refused_before_its_body() {
    let bench = Bench::start(Durability::AtOnce).await;
    for size in [limits::CONNECT_BYTES_MAX as u32 + 1, u32::MAX, 7, 0] {
        let mut peer = bench.peer().await;
        peer.send(&[SASL, &size.to_be_bytes()].concat()).await;
        peer.protocol().await.unwrap();
        assert_eq!(peer.until_closed().await.len(), 1, "nothing after the mechanisms");
    }
    for size in [limits::AMQP_FRAME_BYTES_MAX as u32 + 1, u32::MAX, 7, 4, 0] {
        let mut peer = bench.device().await;
        peer.send(&size.to_be_bytes()).await;
        assert_eq!(peer.closed_with().await, "amqp:connection:framing-error");
    }
}

#[tokio::test]
async fn frames_without_a_body_are_refused_before_the_open() {
    let bench = Bench::start(Durability::AtOnce).await;
    let mut peer = bench.peer().await;
    peer.send(&[SASL, &frame(1, 0, &[]).repeat(100)].concat()).await;
    peer.protocol().await.unwrap();
    assert_eq!(peer.until_closed().await.len(), 1, "nothing after the mechanisms");
    let mut peer = bench.peer().await;
    assert_eq!(peer.log_in(&plain("pump-1", "key-pump-1")).await, 0);
    peer.send(&[AMQP, &frame(0, 0, &[]), &open("pump-1")].concat()).await;
    assert_eq!(peer.protocol().await.unwrap(), AMQP);
    assert_eq!(peer.until_closed().await, []);
    assert_eq!((bench.context.counters.refused.get(), bench.context.counters.opened.get()), (2, 0));
}

#[tokio::test]
async fn lists_in_lists_without_end_do_no_harm() {
    let bench = Bench::start(Durability::AtOnce).await;
    // In the open, where any properties are allowed.
    let mut peer = bench.peer().await;
    assert_eq!(peer.log_in(&plain("pump-1", "key-pump-1")).await, 0);
    let fields = [text("pump-1"), null(), null(), null(), null(), null(), null(), null(), null(), deep(1_500)];
    peer.send(&[AMQP, &frame(0, 0, &list(0x10, &fields))].concat()).await;
    peer.protocol().await.unwrap();
    assert_eq!(peer.said().await.unwrap().code, 0x10);
    peer.link(EVENTS).await;
    // As a body: refused alone. As an annotation: nobody's business.
    peer.send(&transfer(0, 0, Settled::No, &[&[0, 0x53, 0x77][..], &deep(6_500)].concat())).await;
    assert_eq!(peer.answers(0).await[0].2.as_deref(), Some("amqp:decode-error"));
    peer.send(&transfer(0, 1, Settled::No, &[&[0, 0x53, 0x72][..], &deep(6_500), &message(b"{}")].concat())).await;
    assert_eq!(peer.answers(1).await, [(1, 1, None)]);
    // Descriptions of descriptions.
    let described = [0, 0x53, 1].repeat(20_000);
    peer.send(&transfer(0, 2, Settled::No, &[&[0, 0x53, 0x77][..], &described, &[0x40]].concat())).await;
    assert_eq!(peer.answers(2).await[0].2.as_deref(), Some("amqp:decode-error"));
    bench.assert_balance();
}

#[tokio::test]
async fn a_range_of_all_deliveries_costs_nothing() {
    let bench = Bench::start(Durability::AtOnce).await;
    let mut peer = bench.device().await;
    let all = frame(0, 0, &list(0x15, &[vec![0x42], uint(0), uint(u32::MAX), vec![0x42]]));
    peer.send(&all.repeat(1_000)).await;
    peer.send(&transfer(0, 0, Settled::No, &message(b"{}"))).await;
    assert_eq!(peer.answers(0).await, [(0, 0, None)]);
}

#[tokio::test]
async fn messages_that_are_begun_and_never_completed_are_bounded() {
    let bench = Bench::start(Durability::AtOnce).await;
    let mut peer = bench.device().await;
    for handle in 1..4 {
        peer.send(&attach(0, handle, EVENTS)).await;
        peer.said().await.unwrap();
        peer.said().await.unwrap();
    }
    let piece = vec![b'x'; 60_000];
    // Four of them are more than the bound of the connection, though each is within that of a message.
    let all: Vec<u8> = (0..4).flat_map(|handle| part(handle, handle, Settled::No, true, &piece).repeat(4)).collect();
    let _ = tokio::io::AsyncWriteExt::write_all(&mut peer.socket, &all).await;
    assert_eq!(peer.closed_with().await, "amqp:resource-limit-exceeded");
}

#[tokio::test]
async fn what_is_sent_over_a_refused_link_costs_the_reading_only() {
    let bench = Bench::start(Durability::AtOnce).await;
    let mut peer = bench.device().await;
    peer.send(&attach(0, 1, "queue")).await;
    peer.said().await.unwrap();
    peer.said().await.unwrap();
    // More frames than a window has: it is renewed as they are read.
    let frames = limits::AMQP_WINDOW_FRAMES as usize + 100;
    peer.send(&transfer(1, 0, Settled::No, b"").repeat(frames)).await;
    peer.send(&transfer(0, 0, Settled::No, &message(b"{}"))).await;
    assert_eq!(peer.answers(0).await, [(0, 0, None)]);
    assert_eq!(bench.log.records().len(), 1);
    bench.assert_balance();
}

#[tokio::test]
async fn garbage_ends_its_own_connection_only() {
    let bench = Bench::start(Durability::AtOnce).await;
    let mut good = bench.peer().await;
    good.open("pump-2", "pump-2").await;
    good.link("devices/pump-2/telemetry").await;
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let login = [SASL, &plain("pump-1", "key-pump-1"), AMQP, &open("pump-1"), &begin(0), &attach(0, 0, EVENTS)].concat();
    let whole = [login.clone(), transfer(0, 0, Settled::No, &message(b"{}"))].concat();
    for round in 0..300 {
        let mut bytes = whole.clone();
        match round % 3 {
            // One byte of what is right is wrong.
            0 => {
                let at = next() as usize % bytes.len();
                bytes[at] ^= 1 << (next() % 8);
            }
            // It breaks off, and noise follows.
            1 => {
                bytes.truncate(next() as usize % bytes.len());
                bytes.extend((0..64).map(|_| next() as u8));
            }
            // A frame of noise after a login.
            _ => {
                let noise: Vec<u8> = (0..60).map(|_| next() as u8).collect();
                let body = [&[0, 0x53, 0x10 + (next() % 9) as u8, 0xc0, 58, (next() % 20) as u8][..], &noise[..57]].concat();
                bytes = [login.clone(), frame(0, 0, &body)].concat();
            }
        }
        let mut peer = bench.peer().await;
        let _ = tokio::io::AsyncWriteExt::write_all(&mut peer.socket, &bytes).await;
    }
    good.send(&transfer(0, 0, Settled::No, &message(b"{}"))).await;
    assert_eq!(good.answers(0).await, [(0, 0, None)]);
}

#[tokio::test]
async fn a_stranger_who_says_nothing_is_sent_away() {
    let bench = Bench::start(Durability::AtOnce).await;
    let mut peer = bench.peer().await;
    peer.send(&SASL[..5]).await;
    let start = std::time::Instant::now();
    assert_eq!(peer.until_closed().await, []);
    assert!(start.elapsed() < Duration::from_secs(8));
    assert_eq!(bench.context.counters.refused.get(), 1);
}
