//! The Nexmark benchmark: persons, auctions and bids, once as records of a stream and once as tables. Invariant: the same count gives the
//! same events, some of them out of order by less than the stream's watermark allows.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use nexmark::EventGenerator;
use nexmark::config::NexmarkConfig;
use nexmark::event::{Auction, Bid, Event, Person};
use serde_json::json;
use thalweg_engine::error::Result;
use thalweg_engine::plan::JobPlan;
use thalweg_engine::time::{MILLISECOND, Micros, format};

use crate::database::Database;

/// Name of the stream.
pub const STREAM: &str = "nexmark";
/// File of `side_input`.
const SIDE_INPUT: &str = "side_input.csv";
/// Every query, by its number.
pub const QUERIES: std::ops::RangeInclusive<usize> = 0..=22;

/// 2025-12-31T23:59:10Z: the day changes on the way.
const BEGIN_MS: u64 = 1_767_225_550_000;
const EVENTS_PER_SECOND: usize = 100;
/// Events of so many places are mixed: three seconds.
const MIXED: usize = 300;
/// From event to receipt.
const TRANSPORT: Micros = 700 * MILLISECOND;
const DEVICES: usize = 7;

/// The first events.
pub fn events(count: usize) -> Vec<Event> {
    let config = NexmarkConfig {
        base_time: BEGIN_MS,
        first_rate: EVENTS_PER_SECOND,
        next_rate: EVENTS_PER_SECOND,
        out_of_order_group_size: MIXED,
        us_states: ["AZ", "CA", "ID", "OR", "WA", "WY"].map(str::to_owned).to_vec(),
        ..NexmarkConfig::default()
    };
    EventGenerator::new(config).take(count).collect()
}

/// When an event is received: in the order of the stream.
fn received(number: usize) -> Micros {
    micros(BEGIN_MS) + (number * 1_000 / EVENTS_PER_SECOND) as Micros * MILLISECOND + TRANSPORT
}

/// Device, payload and receive time of the event of a number.
pub fn record(number: usize, event: &Event) -> (String, Vec<u8>, Micros) {
    let payload = match event {
        Event::Person(p) => json!({"event_type": 0, "person": {
            "id": p.id, "name": p.name, "emailAddress": p.email_address, "creditCard": p.credit_card, "city": p.city, "state": p.state,
            "dateTime": format(micros(p.date_time)), "extra": p.extra,
        }}),
        Event::Auction(a) => json!({"event_type": 1, "auction": {
            "id": a.id, "itemName": a.item_name, "description": a.description, "initialBid": a.initial_bid, "reserve": a.reserve,
            "dateTime": format(micros(a.date_time)), "expires": format(micros(a.expires)), "seller": a.seller, "category": a.category,
            "extra": a.extra,
        }}),
        Event::Bid(b) => json!({"event_type": 2, "bid": {
            "auction": b.auction, "bidder": b.bidder, "price": b.price, "channel": b.channel, "url": b.url,
            "dateTime": format(micros(b.date_time)), "extra": b.extra,
        }}),
    };
    // Neither of a person nor of an auction: what belongs together lies in several partitions.
    let device = format!("site-{}", number * 31 / 10 % DEVICES);
    (device, payload.to_string().into_bytes(), received(number))
}

/// The rows of `side_input`: every third key.
fn side_input() -> String {
    let rows = (0..10_000).step_by(3).map(|key| format!("{key},side-{key}\n"));
    std::iter::once("key,value\n".to_owned()).chain(rows).collect()
}

/// The events as the tables `person`, `auction` and `bid`; and `side_input`.
pub fn tables(events: &[Event]) -> Result<Vec<(&'static str, RecordBatch)>> {
    let (mut persons, mut auctions, mut bids) = (Vec::new(), Vec::new(), Vec::new());
    for (number, event) in events.iter().enumerate() {
        match event {
            Event::Person(p) => persons.push(p),
            Event::Auction(a) => auctions.push(a),
            Event::Bid(b) => bids.push((b, received(number))),
        }
    }
    let keys = (0..10_000_i64).step_by(3);
    let side = RecordBatch::try_from_iter([
        ("key", Arc::new(Int64Array::from_iter_values(keys.clone())) as ArrayRef),
        ("value", texts(keys.map(|k| format!("side-{k}")))),
    ])?;
    Ok(vec![("person", person(&persons)?), ("auction", auction(&auctions)?), ("bid", bid(&bids)?), ("side_input", side)])
}

fn person(rows: &[&Person]) -> Result<RecordBatch> {
    Ok(RecordBatch::try_from_iter([
        ("id", numbers(rows.iter().map(|p| p.id))),
        ("name", texts(rows.iter().map(|p| &p.name))),
        ("email_address", texts(rows.iter().map(|p| &p.email_address))),
        ("credit_card", texts(rows.iter().map(|p| &p.credit_card))),
        ("city", texts(rows.iter().map(|p| &p.city))),
        ("state", texts(rows.iter().map(|p| &p.state))),
        ("date_time", times(rows.iter().map(|p| micros(p.date_time)))),
        ("extra", texts(rows.iter().map(|p| &p.extra))),
    ])?)
}

fn auction(rows: &[&Auction]) -> Result<RecordBatch> {
    Ok(RecordBatch::try_from_iter([
        ("id", numbers(rows.iter().map(|a| a.id))),
        ("item_name", texts(rows.iter().map(|a| &a.item_name))),
        ("description", texts(rows.iter().map(|a| &a.description))),
        ("initial_bid", numbers(rows.iter().map(|a| a.initial_bid))),
        ("reserve", numbers(rows.iter().map(|a| a.reserve))),
        ("date_time", times(rows.iter().map(|a| micros(a.date_time)))),
        ("expires", times(rows.iter().map(|a| micros(a.expires)))),
        ("seller", numbers(rows.iter().map(|a| a.seller))),
        ("category", numbers(rows.iter().map(|a| a.category))),
        ("extra", texts(rows.iter().map(|a| &a.extra))),
    ])?)
}

fn bid(rows: &[(&Bid, Micros)]) -> Result<RecordBatch> {
    Ok(RecordBatch::try_from_iter([
        ("auction", numbers(rows.iter().map(|(b, _)| b.auction))),
        ("bidder", numbers(rows.iter().map(|(b, _)| b.bidder))),
        ("price", numbers(rows.iter().map(|(b, _)| b.price))),
        ("channel", texts(rows.iter().map(|(b, _)| &b.channel))),
        ("url", texts(rows.iter().map(|(b, _)| &b.url))),
        ("date_time", times(rows.iter().map(|(b, _)| micros(b.date_time)))),
        ("extra", texts(rows.iter().map(|(b, _)| &b.extra))),
        ("received_at", times(rows.iter().map(|(_, received)| *received))),
    ])?)
}

fn numbers(values: impl Iterator<Item = usize>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values.map(|v| v as i64)))
}

fn texts(values: impl Iterator<Item = impl AsRef<str>>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn times(values: impl Iterator<Item = Micros>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(values).with_timezone("UTC"))
}

fn micros(milliseconds: u64) -> Micros {
    milliseconds as Micros * MILLISECOND
}

/// A database with the tables, and with records of the events.
pub fn database(events: &[Event]) -> Result<Database> {
    let mut database = Database::new()?;
    database.file(SIDE_INPUT, &side_input())?;
    plan(&mut database, "tables.sql")?;
    for (number, event) in events.iter().enumerate() {
        let (device, payload, received) = record(number, event);
        database.feed_at(STREAM, &device, &payload, received);
    }
    Ok(database)
}

/// Carries out the statements of a file; gives the plan of its last query. Errors: a statement that is refused.
pub fn plan(database: &mut Database, file: &str) -> Result<Option<Box<JobPlan>>> {
    database.plan(&text(file)?)
}

/// A file of `tests/nexmark`.
pub fn text(file: &str) -> Result<String> {
    Ok(std::fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../nexmark").join(file))?)
}
