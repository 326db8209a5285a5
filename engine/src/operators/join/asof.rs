//! The as-of join. Invariant: rows of both sides are taken in the order of event time, so that the one right row that is kept of a
//! key is the newest for every left row that comes; of right rows of equal key and time the last by content counts.
//!
//! ```text
//! left  ─► waits for the watermark ─┐ merged      right row: becomes the newest of its key
//! right ─► waits for the watermark ─┘ by time     left row: meets the newest of its key
//! ```
//!
//! Where times are equal, right rows come first if they match (`>=`), and last if not (`>`). A left row leaves when the watermark
//! reaches its time: event time of the output is that of the left side, and no row is held back.

use arrow::array::{Array, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{interleave, take_arrays};
use arrow::row::{RowConverter, RowParser, Rows, SortField};
use hashbrown::HashMap;

use super::keys::{Encoded, JoinKeys};
use super::sides;
use crate::changes::Changes;
use crate::contract::Stateful;
use crate::error::{Error, Result};
use crate::operators::reorder::{Reorder, event_times};
use crate::plan::{self, JoinKind};
use crate::time::Micros;

/// No column of the state beside the rows.
const BESIDE: sides::Beside<'static> = &[];

/// Joins left rows with the newest right row of their key.
pub struct AsofJoinOperator {
    plan: plan::AsofJoin,
    waiting: [Reorder; 2],
    keys: JoinKeys,
    content: RowConverter,
    parser: RowParser,
    /// By the number of the key, which each of them holds.
    newest: Vec<Option<Newest>>,
    /// How many there are.
    kept: u64,
    /// The watermark up to which right rows that are too old were last looked for.
    swept: Micros,
}

/// The newest right row of a key.
struct Newest {
    time: Micros,
    row: Place,
}

enum Place {
    /// A row of the batch that is being taken.
    Fresh(u32),
    /// In arrow's row format.
    Kept(Box<[u8]>),
}

/// What the left rows of a batch met.
struct Met {
    /// Left rows that leave.
    left: Vec<u32>,
    /// Their right rows: a source (see `FRESH`) and a row of it.
    right: Vec<(usize, usize)>,
    /// Rows of earlier batches that were met.
    kept: Rows,
}

/// Sources of right rows: the batch that is being taken, those of earlier batches, none.
const FRESH: usize = 0;
const KEPT: usize = 1;
const NOTHING: usize = 2;

impl AsofJoinOperator {
    /// An operator for `plan`. Errors: `Invalid` unless it is an inner or left join, `Internal` if a column cannot be compared.
    pub fn new(plan: plan::AsofJoin) -> Result<Self> {
        if !matches!(plan.kind, JoinKind::Inner | JoinKind::Left) {
            return Err(Error::invalid("an ASOF JOIN is an inner or a left join"));
        }
        let content = RowConverter::new(plan.right.schema.fields().iter().map(|f| SortField::new(f.data_type().clone())).collect())?;
        let reorder = |side: &plan::JoinSide| Reorder::new(side.schema.clone(), side.time);
        Ok(Self {
            waiting: [reorder(&plan.left)?, reorder(&plan.right)?],
            keys: JoinKeys::new(&plan.left, &plan.right)?,
            parser: content.parser(),
            content,
            newest: Vec::new(),
            kept: 0,
            swept: Micros::MIN,
            plan,
        })
    }

    /// Takes rows of both sides in the order of their times.
    fn take(&mut self, left: &RecordBatch, right: &RecordBatch) -> Result<Met> {
        let (left_keys, right_keys) = (self.keys.encode(0, left)?, self.keys.encode(1, right)?);
        let (left_times, right_times) = (event_times(left, self.plan.left.time)?, event_times(right, self.plan.right.time)?);
        let mut met = Met { left: Vec::new(), right: Vec::new(), kept: self.content.empty_rows(0, 0) };
        let mut places: HashMap<u32, usize> = HashMap::new();
        let (mut fresh, mut next) = (Vec::new(), 0);
        for (row, &time) in left_times.iter().enumerate() {
            while right_times.get(next).is_some_and(|&t| t < time || t == time && self.plan.or_equal) {
                self.replace(next, right_times[next], &right_keys, &mut fresh);
                next += 1;
            }
            let key = self.keys.find(&left_keys, row);
            let newest = key.and_then(|key| Some((key, self.newest[key as usize].as_ref()?)));
            let newest = newest.filter(|(_, n)| self.plan.within.is_none_or(|within| time.saturating_sub(n.time) <= within));
            let place = match newest {
                Some((_, Newest { row: Place::Fresh(other), .. })) => (FRESH, *other as usize),
                Some((key, Newest { row: Place::Kept(bytes), .. })) => {
                    let place = places.entry(key).or_insert_with(|| {
                        met.kept.push(self.parser.parse(bytes));
                        met.kept.num_rows() - 1
                    });
                    (KEPT, *place)
                }
                None if self.plan.kind == JoinKind::Left => (NOTHING, 0),
                None => continue,
            };
            met.left.push(row as u32);
            met.right.push(place);
        }
        for (row, &time) in right_times.iter().enumerate().skip(next) {
            self.replace(row, time, &right_keys, &mut fresh);
        }
        self.keep(right, fresh)?;
        Ok(met)
    }

    /// Makes a right row the newest of its key.
    fn replace(&mut self, row: usize, time: Micros, keys: &Encoded, fresh: &mut Vec<u32>) {
        let held = self.keys.find(keys, row);
        let Some(key) = held.or_else(|| self.keys.hold(keys, row)) else { return };
        if self.newest.len() <= key as usize {
            self.newest.resize_with(key as usize + 1, || None);
        }
        let newest = self.newest[key as usize].replace(Newest { time, row: Place::Fresh(row as u32) });
        self.kept += u64::from(newest.is_none());
        if !matches!(newest, Some(Newest { row: Place::Fresh(_), .. })) {
            fresh.push(key);
        }
    }

    /// Copies the rows of `right` that are the newest of the keys `fresh`.
    fn keep(&mut self, right: &RecordBatch, fresh: Vec<u32>) -> Result<()> {
        let row_of = |key: &u32| match &self.newest[*key as usize] {
            Some(Newest { row: Place::Fresh(row), .. }) => Some(*row),
            _ => None,
        };
        let rows = UInt32Array::from_iter_values(fresh.iter().filter_map(row_of));
        let rows = self.content.convert_columns(&take_arrays(right.columns(), &rows, None)?)?;
        for (key, row) in fresh.into_iter().zip(&rows) {
            if let Some(newest) = &mut self.newest[key as usize] {
                newest.row = Place::Kept(row.data().into());
            }
        }
        Ok(())
    }

    /// The left rows that leave, with what they met.
    fn output(&self, left: &RecordBatch, right: &RecordBatch, met: &Met) -> Result<RecordBatch> {
        let mut columns = take_arrays(left.columns(), &UInt32Array::from(met.left.clone()), None)?;
        let kept = self.content.convert_rows(&met.kept)?;
        for (fresh, kept) in right.columns().iter().zip(&kept) {
            let nothing = new_null_array(fresh.data_type(), 1);
            columns.push(interleave(&[fresh, kept, &nothing], &met.right)?);
        }
        Ok(RecordBatch::try_new(self.plan.schema.clone(), columns)?)
    }

    /// Drops right rows that are too old for every left row after `watermark`. It looks at all of them, and therefore not at
    /// every watermark.
    fn sweep(&mut self, watermark: Micros) {
        let Some(within) = self.plan.within else { return };
        if watermark < self.swept.saturating_add(within / 2) {
            return;
        }
        self.swept = watermark;
        for (key, newest) in self.newest.iter_mut().enumerate() {
            if newest.take_if(|n| n.time <= watermark.saturating_sub(within)).is_some() {
                self.keys.release(key as u32);
                self.kept -= 1;
            }
        }
    }
}

impl Stateful for AsofJoinOperator {
    fn push(&mut self, input: usize, changes: Changes, _out: &mut Vec<Changes>) -> Result<()> {
        self.waiting[input].push(changes.rows)
    }

    fn advance(&mut self, watermark: Micros, out: &mut Vec<Changes>) -> Result<Micros> {
        let (left, right) = (self.waiting[0].release(watermark)?, self.waiting[1].release(watermark)?);
        if left.is_some() || right.is_some() {
            let left = left.unwrap_or_else(|| RecordBatch::new_empty(self.plan.left.schema.clone()));
            let right = right.unwrap_or_else(|| RecordBatch::new_empty(self.plan.right.schema.clone()));
            let met = self.take(&left, &right)?;
            if !met.left.is_empty() {
                out.push(Changes::inserts(self.output(&left, &right, &met)?));
            }
        }
        self.sweep(watermark);
        Ok(watermark)
    }

    fn held(&self) -> u64 {
        self.waiting.iter().map(|w| w.len() as u64).sum::<u64>() + self.kept
    }

    fn keys(&self) -> Option<u64> {
        Some(self.keys.held())
    }

    fn snapshot_into(&mut self, bytes: &mut Vec<u8>) -> Result<()> {
        let kept = self.newest.iter().flatten().filter_map(|newest| match &newest.row {
            Place::Kept(bytes) => Some(self.parser.parse(bytes)),
            Place::Fresh(_) => None,
        });
        let kept = RecordBatch::try_new(self.plan.right.schema.clone(), self.content.convert_rows(kept)?)?;
        let (left, right) = (self.waiting[0].snapshot()?, self.waiting[1].snapshot()?);
        let batches = [vec![(left, vec![])], vec![(right, vec![]), (kept, vec![])]];
        sides::encode(bytes, &(), [&self.plan.left.schema, &self.plan.right.schema], BESIDE, batches)
    }

    fn restore(&mut self, state: &[u8]) -> Result<()> {
        let ((), batches) = sides::decode(state, [&self.plan.left.schema, &self.plan.right.schema], BESIDE)?;
        let [left, right] = batches.map(|batches| batches.into_iter().map(|(rows, _)| rows).collect::<Vec<_>>());
        let ([left], [right, kept]) = (left.as_slice(), right.as_slice()) else {
            return Err(Error::corrupt("the state of an ASOF JOIN has another number of batches"));
        };
        self.waiting[0].restore(left.clone())?;
        self.waiting[1].restore(right.clone())?;
        let (keys, mut fresh) = (self.keys.encode(1, kept)?, Vec::new());
        for (row, &time) in event_times(kept, self.plan.right.time)?.iter().enumerate() {
            self.replace(row, time, &keys, &mut fresh);
        }
        self.keep(kept, fresh)
    }
}
