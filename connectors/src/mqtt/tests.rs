//! The source against a broker: our own gateway, which is one for each device. Invariant: no test needs anything installed.

use std::collections::BTreeMap;
use std::time::Duration;

use thalweg_engine::contract::Options;
use tokio::net::TcpListener;

use super::*;
use crate::gateway::MqttGateway;
use crate::testing::{self, Durability, FakeAuthority, MemoryLog};
use bytes::Bytes;
use thalweg_engine::ids::DeviceId;
use thalweg_engine::limits;

async fn gateway() -> MqttGateway {
    let context = testing::context(FakeAuthority::default(), MemoryLog::new(Durability::AtOnce));
    MqttGateway::start(TcpListener::bind("127.0.0.1:0").await.unwrap(), context).unwrap()
}

fn options(gateway: &MqttGateway, more: &[(&str, &str)]) -> Options {
    let mut pairs = BTreeMap::from([
        ("url".to_owned(), format!("mqtt://{}", gateway.address())),
        ("topic".to_owned(), "devices/hub/#".to_owned()),
        ("username".to_owned(), "hub".to_owned()),
        ("password".to_owned(), "key-hub".to_owned()),
        ("client-id".to_owned(), "hub/source".to_owned()),
    ]);
    pairs.extend(more.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
    Options::new(pairs)
}

/// Delivers as soon as the source has subscribed.
async fn deliver(gateway: &MqttGateway, topic: &str, payload: &'static [u8]) {
    let hub = DeviceId::new("hub").unwrap();
    for _ in 0..500 {
        if gateway.deliver(&hub, topic, Bytes::from_static(payload)) > 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the source did not subscribe");
}

#[tokio::test]
async fn records_carry_the_device_of_their_topic_and_others_are_skipped() {
    let gateway = gateway().await;
    let Role::Source(open) = SPEC.role else { panic!("a source") };
    let mut given = options(&gateway, &[("device.topic-level", "3")]);
    let mut source = open(&mut given).unwrap();
    given.finish().unwrap();
    let (first, ()) = tokio::join!(source.next(), async {
        deliver(&gateway, "devices/hub/from", b"no device at this level").await;
        deliver(&gateway, "devices/hub/from/pump-7/telemetry", b"{\"a\":1}").await;
    });
    let first = first.unwrap();
    assert_eq!((first[0].device.as_str(), &first[0].payload[..]), ("pump-7", &b"{\"a\":1}"[..]));
    assert_eq!(first[0].topic, "devices/hub/from/pump-7/telemetry");
    source.ack().await.unwrap();
    let (second, ()) = tokio::join!(source.next(), deliver(&gateway, "devices/hub/from/pump-8/x", b"2"));
    assert_eq!(second.unwrap()[0].device.as_str(), "pump-8");
}

#[tokio::test]
async fn a_message_that_is_too_long_is_left_out_and_does_not_hold_up_others() {
    let gateway = gateway().await;
    let mut source = source::open(&mut options(&gateway, &[])).unwrap();
    let long: &'static [u8] = vec![b'x'; 2 * limits::MQTT_PACKET_BYTES_MAX - 100_000].leak();
    let (records, ()) = tokio::join!(source.next(), async {
        deliver(&gateway, "devices/hub/x", long).await;
        deliver(&gateway, "devices/hub/x", b"{}").await;
    });
    let records = records.unwrap();
    assert_eq!((records.len(), &records[0].payload[..]), (1, &b"{}"[..]));
    source.ack().await.unwrap();
}

#[tokio::test]
async fn acknowledged_records_make_room_for_more_than_the_broker_sends_unacknowledged() {
    let gateway = gateway().await;
    let mut source = source::open(&mut options(&gateway, &[])).unwrap();
    let sending = async {
        for _ in 0..200 {
            deliver(&gateway, "devices/hub/x", b"{}").await;
        }
    };
    let receiving = async {
        let mut count = 0;
        while count < 200 {
            count += source.next().await.unwrap().len();
            source.ack().await.unwrap();
        }
        count
    };
    let both = async { tokio::join!(receiving, sending).0 };
    assert_eq!(tokio::time::timeout(Duration::from_secs(20), both).await.unwrap(), 200);
}

#[tokio::test]
async fn a_broker_that_is_gone_or_refuses_is_an_error() {
    let gateway = gateway().await;
    let mut refused = source::open(&mut options(&gateway, &[("password", "wrong")])).unwrap();
    assert!(refused.next().await.is_err());
    let mut foreign = source::open(&mut options(&gateway, &[("topic", "devices/other/#")])).unwrap();
    let error = foreign.next().await.unwrap_err();
    assert!(error.message().contains("refused the subscription"), "{error}");
    let mut cut = source::open(&mut options(&gateway, &[])).unwrap();
    let (next, ()) = tokio::join!(cut.next(), gateway.shutdown());
    assert!(next.is_err());
}
