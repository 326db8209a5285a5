//! Random rows and how they come. Invariant: a row comes before its partition has seen a time that is ahead of its own by the table's
//! delay, or it is a stray, older than all others by days, so that nobody can doubt that it is late.
//!
//! ```text
//! arrival = event time + something less than the delay + lag of the partition
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use thalweg_engine::time::{self, DAY, MILLISECOND, Micros, SECOND};
use thalweg_replay::{Fed, partition_of};

use crate::clock::Clock;
use crate::dice::Dice;
use crate::tables::{Fill, TABLES, Table};
use crate::values::Value;

/// When the first record is received: later than all event times.
const RECEIVED: Micros = 20_455 * DAY;
/// How much older a stray is than any other row.
const STRAY_AGE: Micros = 10 * DAY;
/// The first number of a stray; others have smaller ones.
const STRAY_ID: i64 = 1_000_000;
/// Devices that send.
const DEVICES: [&str; 6] = ["pump-1", "pump-2", "b", "c", "fan", "x"];
/// Keys; the first ones are there more often.
const KEYS: [&str; 5] = ["a", "b", "c", "long key", "z"];
/// Texts.
const WORDS: [&str; 8] = ["north", "a", "", "x_y", "it's", "17", "grün", "A b"];

/// A row that is fed.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Index of its table.
    pub table: usize,
    /// Device that sends it.
    pub device: &'static str,
    /// Values, by column; none of a record that cannot be used.
    pub values: Option<Vec<Value>>,
    /// What the device sends.
    pub payload: String,
    /// Whether it is older than every window that could still be open.
    pub stray: bool,
}

/// Where the event times of a case lie.
pub fn clock(dice: &mut Dice) -> Clock {
    let start = *dice.pick(&[20_454 * DAY, 20_454 * DAY, -30 * SECOND, 19_782 * DAY - 7 * SECOND]);
    let length = *dice.pick(&[10 * SECOND, 60 * SECOND, 60 * SECOND, 300 * SECOND, 3_600 * SECOND]);
    Clock { start, length }
}

/// Rows in the order in which they come, for runs of so many partitions.
pub fn entries(dice: &mut Dice, clock: Clock, partitions: usize) -> Vec<Entry> {
    let mut all: Vec<(Micros, Entry)> = Vec::new();
    for (number, table) in TABLES.iter().enumerate() {
        let count = *dice.pick(&[0, 6, 20, 20, 40, 40, 60, 60, 80]);
        let step = *dice.pick(&[table.unit, 250 * MILLISECOND, SECOND, SECOND]);
        let lagging = dice.chance(30);
        let lags: Vec<Micros> = (0..partitions).map(|_| if lagging { dice.within(0..2 * clock.length) } else { 0 }).collect();
        let shuffled = if dice.chance(20) { 1 } else { table.delay };
        for id in 0..count {
            let time = clock.start + dice.within(0..(clock.length / step).max(1)) * step;
            let device = DEVICES[dice.below(DEVICES.len())];
            let values: Vec<Value> = table.columns.iter().map(|c| value(dice, c.fill, id, time, device)).collect();
            let payload = payload(dice, table, &values);
            let arrival = time + dice.within(0..shuffled) + lags[partition_of(device, partitions)];
            all.push((arrival, Entry { table: number, device, values: Some(values), payload, stray: false }));
        }
        if count > 0 && dice.chance(15) {
            let payload = (*dice.pick(&["{", "[]", "{\"id\": 1}", "{\"ts\": \"now\"}"])).to_owned();
            let arrival = clock.start + dice.within(0..clock.length);
            all.push((arrival, Entry { table: number, device: DEVICES[0], values: None, payload, stray: false }));
        }
    }
    all.sort_by_key(|(arrival, _)| *arrival);
    all.into_iter().map(|(_, entry)| entry).collect()
}

/// The same entries with strays among them, at times. `partitions` are those in which they will come.
pub fn with_strays(dice: &mut Dice, clock: Clock, entries: Vec<Entry>, partitions: usize) -> Vec<Entry> {
    let percent = *dice.pick(&[0, 0, 2, 10]);
    let mut all = Vec::with_capacity(entries.len());
    let mut known: Vec<(usize, &'static str)> = Vec::new();
    for (number, entry) in (0i64..).zip(entries) {
        if entry.values.is_some() {
            known.push((entry.table, entry.device));
        }
        all.push(entry);
        if !dice.chance(percent) || known.is_empty() {
            continue;
        }
        // From a device whose partition has seen a row of the table.
        let (number_of_table, near) = *dice.pick(&known);
        let same = |d: &&&str| partition_of(d, partitions) == partition_of(near, partitions);
        let devices: Vec<&'static str> = DEVICES.iter().filter(same).copied().collect();
        let (table, device) = (&TABLES[number_of_table], *dice.pick(&devices));
        let time = clock.start - STRAY_AGE + dice.within(0..clock.length / table.unit) * table.unit;
        let values: Vec<Value> = table.columns.iter().map(|c| value(dice, c.fill, STRAY_ID + number, time, device)).collect();
        let payload = payload(dice, table, &values);
        all.push(Entry { table: number_of_table, device, values: Some(values), payload, stray: true });
    }
    all
}

/// Which entries are late if they come in so many partitions; `None` if that is not beyond doubt, because one is behind the watermark and
/// no stray, or a stray and not behind it.
pub fn late(entries: &[Entry], partitions: usize) -> Option<Vec<bool>> {
    let mut newest: BTreeMap<(usize, usize), Micros> = BTreeMap::new();
    let judge = |entry: &Entry| {
        let time = entry.values.as_ref()?.iter().zip(TABLES[entry.table].columns).find_map(|(v, c)| match (v, c.fill) {
            (Value::Time(t), Fill::Time) => Some(*t),
            _ => None,
        })?;
        let newest = newest.entry((entry.table, partition_of(entry.device, partitions))).or_insert(Micros::MIN);
        let behind = time <= newest.saturating_sub(TABLES[entry.table].delay);
        *newest = time.max(*newest);
        Some(behind)
    };
    let behind: Vec<Option<bool>> = entries.iter().map(judge).collect();
    let is_clear = |(entry, behind): (&Entry, &Option<bool>)| behind.is_none_or(|b| b == entry.stray);
    entries.iter().zip(&behind).all(is_clear).then(|| behind.into_iter().map(|b| b.unwrap_or(false)).collect())
}

fn value(dice: &mut Dice, fill: Fill, id: i64, time: Micros, device: &str) -> Value {
    let known = dice.chance(88);
    match fill {
        Fill::Id => Value::Whole(id),
        Fill::Time => Value::Time(time),
        Fill::Device => Value::Text(device.to_owned()),
        _ if !known => Value::Null,
        Fill::Key => Value::Text(KEYS[dice.below(5).min(dice.below(5))].to_owned()),
        Fill::Word => Value::Text((*dice.pick(&WORDS)).to_owned()),
        Fill::Number => Value::Whole(dice.within(-12..30)),
        Fill::Quarter => Value::Double(dice.within(-60..200) as f64 * 0.25),
        Fill::Truth => Value::Truth(dice.chance(60)),
    }
}

fn payload(dice: &mut Dice, table: &Table, values: &[Value]) -> String {
    let mut attributes = Vec::new();
    for (column, value) in table.columns.iter().zip(values) {
        let text = match value {
            Value::Null if dice.chance(50) => continue,
            Value::Null => "null".to_owned(),
            Value::Time(t) => format!("\"{}\"", time::format(*t)),
            Value::Text(t) => format!("\"{t}\""),
            other => other.to_string(),
        };
        attributes.push(format!("\"{}\":{text}", column.name));
    }
    format!("{{{}}}", attributes.join(","))
}

/// Entries as records.
pub fn records(entries: &[Entry]) -> Vec<Fed> {
    let record = |(n, e): (usize, &Entry)| Fed {
        stream: TABLES[e.table].name.to_owned(),
        device: e.device.to_owned(),
        payload: e.payload.clone().into_bytes(),
        received: RECEIVED + n as Micros,
    };
    entries.iter().enumerate().map(record).collect()
}

/// The rows of each table, for the oracle; `missing` takes the place of numbers that are NULL.
pub fn batches(entries: &[Entry], missing: Option<i64>) -> Result<Vec<RecordBatch>, ArrowError> {
    let of = |number: usize, table: &Table| {
        let rows: Vec<&Vec<Value>> = entries.iter().filter(|e| e.table == number).filter_map(|e| e.values.as_ref()).collect();
        let schema = table.schema();
        let columns = schema.fields().iter().enumerate().map(|(i, f)| array(f.data_type(), rows.iter().map(|r| &r[i]), missing));
        RecordBatch::try_new(schema.clone(), columns.collect())
    };
    TABLES.iter().enumerate().map(|(number, table)| of(number, table)).collect()
}

fn array<'a>(data_type: &DataType, values: impl Iterator<Item = &'a Value>, missing: Option<i64>) -> ArrayRef {
    let whole = |v: &Value| if let Value::Whole(n) = v { Some(*n) } else { missing };
    match data_type {
        DataType::Int32 => Arc::new(values.map(|v| whole(v).and_then(|n| i32::try_from(n).ok())).collect::<Int32Array>()),
        DataType::Int64 => Arc::new(values.map(whole).collect::<Int64Array>()),
        DataType::Float64 => Arc::new(values.map(|v| if let Value::Double(x) = v { Some(*x) } else { None }).collect::<Float64Array>()),
        DataType::Boolean => Arc::new(values.map(|v| if let Value::Truth(b) = v { Some(*b) } else { None }).collect::<BooleanArray>()),
        DataType::Utf8 => Arc::new(values.map(|v| if let Value::Text(t) = v { Some(t.as_str()) } else { None }).collect::<StringArray>()),
        _ => Arc::new(values.map(|v| if let Value::Time(t) = v { Some(*t) } else { None }).collect::<TimestampMicrosecondArray>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stray_is_late_and_nothing_else() {
        let mut strays = 0;
        for seed in 0..200 {
            let (mut dice, partitions) = (Dice::new(seed, 0), 1 + seed as usize % 4);
            let clock = clock(&mut dice);
            let plain = entries(&mut dice, clock, partitions);
            let all = with_strays(&mut dice, clock, plain, partitions);
            let late = late(&all, partitions).expect("what is late is beyond doubt");
            assert!(all.iter().zip(&late).all(|(entry, late)| entry.stray == *late), "seed {seed}");
            strays += late.iter().filter(|l| **l).count();
        }
        assert!(strays > 200, "{strays}");
    }

    #[test]
    fn a_stray_that_comes_first_is_in_doubt() {
        let (mut dice, clock) = (Dice::new(7, 0), Clock { start: 0, length: 60 * SECOND });
        let mut all = Vec::new();
        while !all.iter().any(|e: &Entry| e.stray) {
            let plain = entries(&mut dice, clock, 1);
            all = with_strays(&mut dice, clock, plain, 1);
        }
        all.retain(|e| e.stray);
        assert_eq!(late(&all, 1), None);
    }
}
