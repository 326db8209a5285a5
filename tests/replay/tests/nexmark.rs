//! Nexmark: every query of `tests/nexmark` over generated events. Invariant checked: `qN.sql` over the stream, its changes folded, gives
//! the rows that `qN.batch.sql` gives over tables of the same events, in every way that it is run, and no row is late. `NEXMARK_EVENTS`
//! says how many events it is to be.

use std::io::Write;
use std::time::Instant;

use datafusion::prelude::{SessionConfig, SessionContext};
use nexmark::event::Event;
use thalweg_engine::error::{Error, Result};
use thalweg_replay::nexmark::{QUERIES, database, events, plan, tables, text};
use thalweg_replay::{Way, difference, shown};

const EVENTS: usize = 10_000;
/// Straight; with state taken and given back; over three partitions, which are cut elsewhere.
const WAYS: [Way; 3] = [
    Way { partitions: 1, batch: usize::MAX, restart_every: 0, threads: [1, 1] },
    Way { partitions: 1, batch: 1_700, restart_every: 2, threads: [1, 1] },
    Way { partitions: 3, batch: 611, restart_every: 7, threads: [2, 3] },
];
const FEW_EVENTS: usize = 1_500;
/// Row by row.
const ONE_BY_ONE: [Way; 2] = [
    Way { partitions: 1, batch: usize::MAX, restart_every: 0, threads: [1, 1] },
    Way { partitions: 2, batch: 1, restart_every: 400, threads: [2, 3] },
];
/// Texts that are refused, and what the refusal says.
const REFUSED: [(&str, &str); 1] = [("q6.over.sql", "OVER")];

/// What a query gives over the stream, and over tables of other events.
fn compare(number: usize, streamed: &[Event], stored: &[Event], ways: &[Way]) -> Result<usize> {
    let mut database = database(streamed)?;
    database.set_ways(ways.to_vec());
    let plan = plan(&mut database, &format!("q{number}.sql"))?.ok_or_else(|| Error::invalid("no query over the stream"))?;
    let (got, late) = database.rows(&plan)?;
    if late > 0 {
        return Err(Error::internal(format!("{late} rows are late")));
    }
    let want = batch(stored, &text(&format!("q{number}.batch.sql"))?)?;
    match difference(&want, &got) {
        Some(difference) => Err(Error::internal(difference)),
        None => Ok(got.len()),
    }
}

/// The sorted rows of a query over tables.
fn batch(events: &[Event], sql: &str) -> Result<Vec<Vec<String>>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    for (name, rows) in tables(events)? {
        context.register_batch(name, rows)?;
    }
    let batches = runtime.block_on(async { context.sql(sql).await?.collect().await })?;
    let mut rows = batches.iter().map(shown).collect::<Result<Vec<_>>>()?.concat();
    rows.sort_unstable();
    Ok(rows)
}

fn every_query(events: &[Event], ways: &[Way]) {
    let mut failures = Vec::new();
    for number in QUERIES {
        let began = Instant::now();
        match compare(number, events, events, ways) {
            Ok(0) if events.len() > FEW_EVENTS => failures.push(format!("q{number}: no rows at all")),
            Ok(rows) => println!("q{number}: {rows} rows, {:.1} s", began.elapsed().as_secs_f64()),
            Err(error) => failures.push(format!("q{number}: {error}")),
        }
    }
    assert!(failures.is_empty(), "{} of {} queries fail:\n{}", failures.len(), QUERIES.count(), failures.join("\n\n"));
    // Past the test runner, which shows what is printed only of tests that fail.
    let _ = writeln!(std::io::stderr(), "{} queries of Nexmark over {} events in {} ways", QUERIES.count(), events.len(), ways.len());
}

#[test]
fn every_query_equals_its_batch_in_every_way() {
    let count = std::env::var("NEXMARK_EVENTS").map_or(EVENTS, |n| n.parse().expect("NEXMARK_EVENTS is a number"));
    every_query(&events(count), &WAYS);
}

#[test]
fn every_query_equals_its_batch_row_by_row() {
    every_query(&events(FEW_EVENTS), &ONE_BY_ONE);
}

#[test]
fn what_is_refused_is_named() {
    let mut database = database(&[]).unwrap();
    for (file, says) in REFUSED {
        let refusal = plan(&mut database, file).expect_err(file).to_string();
        assert!(refusal.contains(says), "{file}: {refusal}");
    }
}

#[test]
fn a_bid_that_the_stream_lacks_is_found() {
    let all = events(FEW_EVENTS);
    let last = all.iter().rposition(|e| matches!(e, Event::Bid(_))).unwrap();
    let streamed: Vec<Event> = all.iter().enumerate().filter(|(i, _)| *i != last).map(|(_, e)| e.clone()).collect();
    for number in [0, 12, 15, 22] {
        let difference = compare(number, &streamed, &all, &ONE_BY_ONE[..1]).expect_err("a row is missing").to_string();
        assert!(difference.contains("missing:"), "q{number}: {difference}");
    }
}
