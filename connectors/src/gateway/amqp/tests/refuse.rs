//! What the listener refuses, and with which condition. Invariant: nothing refused leaves a record in the log.

use thalweg_engine::limits;

use super::raw::{
    AMQP, ATTACH, BEGIN, CLOSE, DETACH, END, FLOW, SASL, Settled, V, attach, attach_with, begin, binary, frame, init, list, map, message,
    null, open, part, plain, text, transfer, uint,
};
use super::*;

#[tokio::test]
async fn a_login_that_lies_is_refused() {
    let bench = Bench::start(Durability::AtOnce).await;
    bench.authority.revoke("pump-9");
    let logins = [
        plain("pump-1", "wrong"),
        plain("pump-1", "key-pump-2"),
        plain("", ""),
        plain("pump-9", "key-pump-9"),
        init("PLAIN", b"pump-2\0pump-1\0key-pump-1"),
        init("PLAIN", b"no separators"),
        init("ANONYMOUS", b""),
        init("EXTERNAL", b"pump-1"),
        frame(1, 0, &list(0x41, &[vec![0xa3, 5, b'P', b'L', b'A', b'I', b'N']])),
    ];
    for login in &logins {
        let mut peer = bench.peer().await;
        assert_eq!(peer.log_in(login).await, 1, "{login:?}");
        assert_eq!(peer.until_closed().await, []);
    }
    assert_eq!(bench.context.counters.refused.get(), logins.len() as u64);
    assert_eq!(bench.context.counters.opened.get(), 0);
}

#[tokio::test]
async fn nobody_gets_in_without_a_login() {
    let bench = Bench::start(Durability::AtOnce).await;
    for hello in [AMQP, b"AMQP\x02\x01\x00\x00", b"AMQP\x00\x00\x09\x01", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02"] {
        let mut peer = bench.peer().await;
        peer.send(hello).await;
        assert_eq!(peer.protocol().await.unwrap(), SASL, "told what is spoken here");
        assert_eq!(peer.until_closed().await, []);
    }
    // After the login, too, the protocol has to be the right one.
    let mut peer = bench.peer().await;
    assert_eq!(peer.log_in(&plain("pump-1", "key-pump-1")).await, 0);
    peer.send(SASL).await;
    assert_eq!(peer.protocol().await.unwrap(), AMQP);
    assert_eq!(peer.until_closed().await, []);
    assert_eq!(bench.context.counters.refused.get(), 6);
}

#[tokio::test]
async fn an_address_that_is_not_its_own_is_refused() {
    let bench = Bench::start(Durability::AtOnce).await;
    let mut peer = bench.peer().await;
    peer.open("pump-1", "pump-1").await;
    peer.send(&begin(0)).await;
    assert_eq!(peer.said().await.unwrap().code, BEGIN);
    let (own_source, other_source) = (list(0x28, &[text("devices/pump-1/messages/devicebound")]), list(0x28, &[text(EVENTS)]));
    let dynamic = list(0x29, &[null(), null(), null(), null(), vec![0x41]]);
    let coordinator = list(0x30, &[]);
    let unauthorized = "amqp:unauthorized-access";
    let cases = [
        (attach(0, 0, "devices/pump-2/messages/events"), unauthorized),
        (attach(0, 0, "devices/pump-11/telemetry"), unauthorized),
        (attach(0, 0, "devices/pump-1/commands"), unauthorized),
        (attach(0, 0, "devices/pump-1/telemetry/../../pump-2/telemetry"), unauthorized),
        (attach(0, 0, "queue"), unauthorized),
        (attach(0, 0, &"x".repeat(600)), unauthorized),
        (attach(0, 0, "devices/pump-1/telemetry/nowhere"), "amqp:not-found"),
        (attach_with(0, 0, false, &[0x40], &[0x40]), unauthorized),
        (attach_with(0, 0, false, &[0x40], &dynamic), unauthorized),
        (attach_with(0, 0, false, &[0x40], &coordinator), unauthorized),
        (attach_with(0, 0, false, &[0x40], &[0x52, 1]), "amqp:decode-error"),
        (attach_with(0, 0, true, &own_source, &[0x40]), "amqp:not-implemented"),
        (attach_with(0, 0, true, &other_source, &[0x40]), unauthorized),
    ];
    for (attach, condition) in cases {
        peer.send(&attach).await;
        let (attached, detached) = (peer.said().await.unwrap(), peer.said().await.unwrap());
        let receives = attached.fields[2] == V::Bool(false);
        assert_eq!((attached.code, &attached.fields[if receives { 5 } else { 6 }]), (ATTACH, &V::Null), "its far end is missing");
        assert_eq!((detached.code, &detached.fields[1], detached.error(2).0.as_str()), (DETACH, &V::Bool(true), condition));
        // What it sends meanwhile is thrown away; then the handle is free again.
        peer.send(&[transfer(0, 0, Settled::No, &message(b"{}")), frame(0, 0, &list(DETACH, &[uint(0), vec![0x41]]))].concat()).await;
    }
    peer.send(&attach(0, 0, "devices/pump-1/telemetry")).await;
    assert_eq!([peer.said().await.unwrap().code, peer.said().await.unwrap().code], [ATTACH, FLOW], "the connection goes on");
    assert!(bench.log.records().is_empty());
    bench.assert_balance();
}

#[tokio::test]
async fn a_message_that_cannot_be_stored_is_rejected_alone() {
    let bench = Bench::start(Durability::AtOnce).await;
    let mut peer = bench.device().await;
    let long = vec![b'x'; limits::RECORD_PAYLOAD_BYTES_MAX + 1];
    let whole = message(&long);
    let cases = [
        (vec![], "amqp:decode-error"),
        (b"{}".to_vec(), "amqp:decode-error"),
        ([&[0, 0x53, 0x77][..], &uint(1)].concat(), "amqp:decode-error"),
        ([map(0x74, &[("epoch", uint(1))]), message(b"{}")].concat(), "amqp:invalid-field"),
        ([map(0x74, &[("epoch", uint(1)), ("seq", text("x"))]), message(b"{}")].concat(), "amqp:invalid-field"),
        ([map(0x74, &[("epoch", text("4294967296")), ("seq", uint(1))]), message(b"{}")].concat(), "amqp:invalid-field"),
    ];
    let mut id = 0;
    for (bytes, condition) in &cases {
        peer.send(&transfer(0, id, Settled::No, bytes)).await;
        assert_eq!(peer.answers(id.into()).await, [(u64::from(id), u64::from(id), Some((*condition).to_owned()))]);
        id += 1;
    }
    for (at, bytes) in whole.chunks(60_000).enumerate() {
        peer.send(&part(0, id, Settled::No, (at + 1) * 60_000 < whole.len(), bytes)).await;
    }
    assert_eq!(peer.answers(id.into()).await[0].2.as_deref(), Some("amqp:link:message-size-exceeded"));
    peer.send(&transfer(0, id + 1, Settled::No, &message(b"{}"))).await;
    assert_eq!(peer.answers(u64::from(id) + 1).await[0].2, None, "the link goes on");
    assert_eq!((bench.log.records().len(), bench.context.counters.rejected.get()), (1, cases.len() as u64 + 1));
    bench.assert_balance();
}

#[tokio::test]
async fn a_settled_message_that_cannot_be_stored_ends_its_link() {
    let bench = Bench::start(Durability::AtOnce).await;
    let mut peer = bench.device().await;
    peer.send(&transfer(0, 0, Settled::Yes, &[map(0x74, &[("seq", uint(1))]), message(b"{}")].concat())).await;
    let detached = peer.said().await.unwrap();
    assert_eq!(detached.code, DETACH);
    let (condition, reason) = detached.error(2);
    assert_eq!(condition, "amqp:invalid-field");
    assert!(reason.contains("come together"), "{reason}");
    bench.assert_balance();
}

#[tokio::test]
async fn a_message_beyond_the_announced_size_ends_its_link_only() {
    let bench = Bench::start(Durability::AtOnce).await;
    let mut peer = bench.device().await;
    peer.send(&attach(0, 1, "devices/pump-1/telemetry")).await;
    assert_eq!([peer.said().await.unwrap().code, peer.said().await.unwrap().code], [ATTACH, FLOW]);
    let piece = vec![b'x'; 60_000];
    for _ in 0..5 {
        peer.send(&part(0, 0, Settled::No, true, &piece)).await;
    }
    let detached = peer.said().await.unwrap();
    assert_eq!((detached.code, detached.number(0), detached.error(2).0.as_str()), (DETACH, 0, "amqp:link:message-size-exceeded"));
    peer.send(&transfer(1, 1, Settled::No, &message(b"{}"))).await;
    assert_eq!(peer.answers(1).await, [(1, 1, None)]);
    assert_eq!((bench.log.records().len(), bench.context.counters.rejected.get()), (1, 1));
    bench.assert_balance();
}

#[tokio::test]
async fn more_than_the_bounds_is_refused_where_it_happens() {
    let bench = Bench::start(Durability::AtOnce).await;
    // A link too many ends the session, the session can be begun again.
    let mut peer = bench.device().await;
    peer.send(&attach(0, limits::AMQP_LINKS_MAX, EVENTS)).await;
    let ended = peer.said().await.unwrap();
    assert_eq!((ended.code, ended.error(0).0.as_str()), (END, "amqp:resource-limit-exceeded"));
    peer.send(&[transfer(0, 0, Settled::No, &message(b"{}")), frame(0, 0, &list(END, &[]))].concat()).await;
    peer.link(EVENTS).await;
    // A link that is there, a link that is not there.
    for (bytes, condition) in [
        (attach(0, 0, EVENTS), "amqp:session:handle-in-use"),
        (transfer(5, 0, Settled::No, &message(b"{}")), "amqp:session:unattached-handle"),
    ] {
        peer.send(&bytes).await;
        assert_eq!(peer.said().await.unwrap().error(0).0, condition);
        peer.send(&frame(0, 0, &list(END, &[]))).await;
        peer.link(EVENTS).await;
    }
    assert!(bench.log.records().is_empty());
    // A session too many ends the connection.
    for (bytes, condition) in [
        (begin(limits::AMQP_SESSIONS_MAX), "amqp:connection:framing-error"),
        (begin(0), "amqp:not-allowed"),
        (attach(3, 0, EVENTS), "amqp:not-allowed"),
        (open("pump-1"), "amqp:not-allowed"),
    ] {
        let mut peer = bench.device().await;
        peer.send(&bytes).await;
        assert_eq!(peer.closed_with().await, condition);
    }
}

#[tokio::test]
async fn a_connection_too_many_is_told_so() {
    let bench = Bench::start(Durability::AtOnce).await;
    let mut held = Vec::new();
    for n in 0..limits::CONNECTIONS_PER_DEVICE_MAX {
        let mut peer = bench.peer().await;
        peer.open("pump-1", &format!("container-{n}")).await;
        held.push(peer);
    }
    let mut peer = bench.peer().await;
    peer.open("pump-1", "one-more").await;
    let close = peer.said().await.unwrap();
    assert_eq!((close.code, close.error(0).0.as_str()), (CLOSE, "amqp:resource-limit-exceeded"));
    let mut other = bench.peer().await;
    other.open("pump-2", "pump-2").await;
}

#[tokio::test]
async fn another_message_format_is_rejected() {
    let bench = Bench::start(Durability::AtOnce).await;
    let mut peer = bench.device().await;
    let fields = [uint(0), uint(0), binary(b"t"), uint(0x8001_3700), vec![0x42], vec![0x42]];
    peer.send(&frame(0, 0, &[list(0x14, &fields), message(b"{}")].concat())).await;
    assert_eq!(peer.answers(0).await[0].2.as_deref(), Some("amqp:decode-error"));
}
