//! Readings and plans for the criterion benchmarks. Invariant: they are those of `speed/`, from memory: 200,000 readings, as one partition
//! reads them.

#![allow(dead_code, reason = "each benchmark uses a part of it")]

#[path = "../speed/fleet.rs"]
pub mod fleet;
#[path = "../speed/queries.rs"]
pub mod queries;

use std::sync::Arc;

use arrow::buffer::Buffer;
use thalweg_engine::batch::{Batch, ContentType, Entry, Records};
use thalweg_engine::contract::{Decoder, Operator, Output};
use thalweg_engine::decode;
use thalweg_engine::error::Result;
use thalweg_engine::operators::open_stage;
use thalweg_engine::operators::window::{WindowInputs, WindowOperator};
use thalweg_engine::plan::JobPlan;
use thalweg_engine::reference::ReferenceTable;
use thalweg_engine::runtime::query::{decode_schema, watermarker};
use thalweg_replay::Database;

use fleet::Reading;

/// Readings of one run.
pub const READINGS: u64 = 200_000;
const BATCH: u64 = 16 * 1024;
/// The queries with windows.
pub const WINDOWS: [&str; 3] = ["tumbling", "hopping", "session"];

/// A query and what it reads.
pub struct Subject {
    pub plan: JobPlan,
    pub references: Vec<Arc<ReferenceTable>>,
    pub records: Vec<Records>,
}

/// Readings in a format, as the log would give them.
pub fn records(write: impl Fn(&Reading, &mut Vec<u8>)) -> Vec<Records> {
    let batch = |from: u64| {
        let mut bytes = Vec::new();
        let entry = |n: u64| {
            let reading = Reading::new(n);
            let start = bytes.len() as u32;
            bytes.extend_from_slice(format!("devices/dev-{:05}/telemetry", reading.device).as_bytes());
            let middle = bytes.len() as u32;
            write(&reading, &mut bytes);
            let (device, payload) = (start + 8..start + 17, middle..bytes.len() as u32);
            let content_type = ContentType::Unknown;
            Entry { offset: n, received: 1_800_000_000_000_000, device, topic: start..middle, payload, content_type, producer: None }
        };
        let entries = (from..(from + BATCH).min(READINGS)).map(entry).collect();
        Records { partition: 0, bytes: Buffer::from_vec(bytes), entries, lost: None }
    };
    (0..READINGS).step_by(BATCH as usize).map(batch).collect()
}

/// JSON readings.
pub fn json() -> Vec<Records> {
    records(|reading, payload| {
        let mut text = String::new();
        reading.json(&mut text);
        payload.extend_from_slice(text.as_bytes());
    })
}

/// What steps leave of a batch.
pub fn push(steps: &mut [Box<dyn Operator>], batch: &Batch, out: &mut Output) -> Result<Option<Batch>> {
    let mut left = batch.clone();
    for step in steps {
        match step.push(left, out)? {
            Some(batch) => left = batch,
            None => return Ok(None),
        }
    }
    Ok(Some(left))
}

impl Subject {
    /// The query called `name`, over JSON.
    pub fn new(name: &str) -> Result<Self> {
        let query = queries::find(name)?;
        let mut database = Database::new()?;
        database.file("reference/devices.csv", &fleet::reference())?;
        let script = [queries::telemetry("'format' = 'json'"), queries::DEVICES.to_owned(), query.create(), query.statement()];
        let plan = database.plan(&script.join(";\n"))?.expect("the query is an INSERT");
        Ok(Self { references: database.needed(&plan), plan: *plan, records: json() })
    }

    /// A decoder of what the query needs.
    pub fn decoder(&self) -> Result<Box<dyn Decoder>> {
        decode::open(&self.plan.scans[0].format, decode_schema(&self.plan.scans[0]))
    }

    /// All readings, decoded.
    pub fn batches(&self) -> Result<Vec<Batch>> {
        let (mut decoder, mut watermarker, mut out) = (self.decoder()?, watermarker(&self.plan.scans[0])?, Output::default());
        self.records.iter().filter_map(|r| decoder.decode(r).and_then(|d| watermarker.assign(d, &mut out)).transpose()).collect()
    }

    /// The steps before the window.
    pub fn steps(&self) -> Result<Vec<Box<dyn Operator>>> {
        self.plan.inputs[0].stages.iter().map(|stage| open_stage(stage, &self.references)).collect()
    }

    /// What the steps before the window leave.
    pub fn left(&self) -> Result<Vec<Batch>> {
        let (mut steps, mut out) = (self.steps()?, Output::default());
        self.batches()?.iter().filter_map(|batch| push(&mut steps, batch, &mut out).transpose()).collect()
    }

    /// What the window of the query is given.
    pub fn windowed(&self) -> Result<Vec<Batch>> {
        let window = self.plan.inputs[0].window.as_ref().expect("the query has a window");
        let (mut out, mut given) = (Output::default(), Vec::new());
        for batch in self.left()? {
            given.extend(WindowInputs::new(window, &batch.rows.schema())?.push(batch, &mut out)?);
        }
        Ok(given)
    }

    /// A window that holds all that it is given, and what came out meanwhile.
    pub fn filled(&self) -> Result<(WindowOperator, Output)> {
        let (mut window, mut out) = (self.window()?, Output::default());
        for batch in self.windowed()? {
            window.push(batch, &mut out)?;
        }
        Ok((window, out))
    }

    /// The window of the query, in one partition.
    pub fn window(&self) -> Result<WindowOperator> {
        let input = &self.plan.inputs[0];
        WindowOperator::new(input.window.clone().expect("the query has a window"), input.unit)
    }
}
