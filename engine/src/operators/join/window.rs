//! The window join. Invariant: a window leaves once, when the watermark says that it is complete, and its rows leave in an order
//! that is theirs alone: left rows by content, each with its right rows by content, then right rows that leave alone.
//!
//! ```text
//! rows ─► by window_end ─► complete when no time ahead lies in it ─► both sides sorted ─► right by key ─► pairs ─► filter
//! ```

use std::collections::BTreeMap;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::row::{RowConverter, SortField};

use super::buffer::{NONE, RowBuffer};
use super::keys::JoinKeys;
use super::pairs::{Condition, Pairing, left_alone, outer};
use super::sides;
use crate::batch::FailedRow;
use crate::changes::Changes;
use crate::contract::{Stateful, Usage};
use crate::error::Result;
use crate::operators::reorder::event_times;
use crate::operators::window::behind;
use crate::plan::{self, JoinKind, JoinSide};
use crate::time::{Micros, ahead};

/// What an open window takes of memory beside its rows, in bytes.
const WINDOW_BYTES: usize = 512;

/// Joins rows of the same window.
pub struct WindowJoinOperator {
    plan: plan::WindowJoin,
    pub(super) pairing: Pairing,
    /// For the content of both sides.
    contents: [RowConverter; 2],
    /// Rows by the end of their window.
    windows: BTreeMap<Micros, [RowBuffer; 2]>,
    /// Memory of their rows. It has a bound, and not their number: the side that is read faster may be any number of windows ahead.
    bytes: usize,
}

impl WindowJoinOperator {
    /// An operator for `plan`. Errors: `Internal` if a column cannot be compared.
    pub fn new(plan: plan::WindowJoin) -> Result<Self> {
        let content =
            |side: &JoinSide| RowConverter::new(side.schema.fields().iter().map(|f| SortField::new(f.data_type().clone())).collect());
        let condition = plan.filter.clone().map(|f| Condition::new(f, &plan.left, &plan.right));
        Ok(Self {
            pairing: Pairing::new(plan.kind, condition, plan.schema.clone()),
            contents: [content(&plan.left)?, content(&plan.right)?],
            windows: BTreeMap::new(),
            bytes: 0,
            plan,
        })
    }

    fn side(&self, side: usize) -> &JoinSide {
        if side == 0 { &self.plan.left } else { &self.plan.right }
    }

    fn add(&mut self, side: usize, end: Micros, rows: &RecordBatch) -> Result<()> {
        let plan = &self.plan;
        let window = self.windows.entry(end);
        let buffer = &mut window.or_insert_with(|| [&plan.left, &plan.right].map(|s| RowBuffer::new(s.schema.clone())))[side];
        self.bytes -= buffer.bytes();
        buffer.append(rows)?;
        self.bytes += buffer.bytes();
        Ok(())
    }

    /// Puts rows where they belong: those of one window next to each other first.
    fn split(&mut self, side: usize, rows: &RecordBatch) -> Result<()> {
        let ends = event_times(rows, self.side(side).time)?;
        let mut order: Vec<u32> = (0..ends.len() as u32).collect();
        order.sort_by_key(|&i| ends[i as usize]);
        for same in order.chunk_by(|&a, &b| ends[a as usize] == ends[b as usize]) {
            let end = ends[same[0] as usize];
            match same.len() == ends.len() {
                true => self.add(side, end, rows)?,
                false => self.add(side, end, &take_record_batch(rows, &UInt32Array::from(same.to_vec()))?)?,
            }
        }
        Ok(())
    }

    /// The rows of one side of a window, ordered by content.
    fn sorted(&self, side: usize, rows: &RowBuffer) -> Result<RecordBatch> {
        let rows = rows.rows_from(0)?;
        let content = self.contents[side].convert_columns(rows.columns())?;
        let mut order: Vec<u32> = (0..rows.num_rows() as u32).collect();
        order.sort_unstable_by(|&a, &b| content.row(a as usize).cmp(&content.row(b as usize)));
        Ok(take_record_batch(&rows, &UInt32Array::from(order))?)
    }

    /// Joins a complete window.
    fn close(&mut self, window: [RowBuffer; 2], out: &mut Vec<Changes>) -> Result<()> {
        let (left, right) = (self.sorted(0, &window[0])?, self.sorted(1, &window[1])?);
        let mut closing = Closing::new(&self.plan, &left, &right)?;
        let mut keys = JoinKeys::new(&self.plan.left, &self.plan.right)?;
        let by_key = RightByKey::new(&mut keys, &right)?;
        let encoded = keys.encode(0, &left)?;
        // One pair says enough about a left row that leaves alone.
        let enough = if left_alone(self.plan.kind) && self.pairing.unconditional() { 1 } else { usize::MAX };
        for row in 0..left.num_rows() {
            self.pairing.bound.credit(1);
            for other in by_key.of(keys.find(&encoded, row)).take(enough) {
                self.pairing.pair(row as u64, other);
                if self.pairing.is_full() {
                    closing.settle(&mut self.pairing, out)?;
                }
            }
            if closing.outer[0] || left_alone(self.plan.kind) {
                self.pairing.alone(0, row as u64);
            }
            if self.pairing.is_full() {
                closing.settle(&mut self.pairing, out)?;
            }
        }
        for row in 0..right.num_rows() as u64 {
            self.pairing.bound.credit(1);
            if closing.outer[1] {
                self.pairing.alone(1, row);
            }
            if self.pairing.is_full() {
                closing.settle(&mut self.pairing, out)?;
            }
        }
        closing.settle(&mut self.pairing, out)
    }
}

/// A window that is being joined.
struct Closing {
    kind: JoinKind,
    outer: [bool; 2],
    rows: [RowBuffer; 2],
    /// Which rows have a pair.
    paired: [Vec<bool>; 2],
}

impl Closing {
    fn new(plan: &plan::WindowJoin, left: &RecordBatch, right: &RecordBatch) -> Result<Self> {
        let mut rows = [RowBuffer::new(left.schema()), RowBuffer::new(right.schema())];
        rows[0].append(left)?;
        rows[1].append(right)?;
        let paired = [vec![false; left.num_rows()], vec![false; right.num_rows()]];
        Ok(Self { kind: plan.kind, outer: outer(plan.kind), rows, paired })
    }

    fn settle(&mut self, pairing: &mut Pairing, out: &mut Vec<Changes>) -> Result<()> {
        let Self { kind, rows: [left, right], paired: [left_paired, right_paired], .. } = self;
        let leave = pairing.settle([left, right], |l, r, holds| match (l, r) {
            (NONE, r) => !right_paired[r as usize],
            (l, NONE) => left_paired[l as usize] == (*kind == JoinKind::LeftSemi),
            (l, r) => {
                left_paired[l as usize] |= holds;
                right_paired[r as usize] |= holds;
                holds && !left_alone(*kind)
            }
        })?;
        out.extend(leave.map(Changes::inserts));
        Ok(())
    }
}

/// The right rows of each key, in their order.
struct RightByKey {
    /// The first row by the number of the key.
    first: Vec<u64>,
    next: Vec<u64>,
}

impl RightByKey {
    fn new(keys: &mut JoinKeys, right: &RecordBatch) -> Result<Self> {
        let encoded = keys.encode(1, right)?;
        let (mut first, mut next) = (Vec::new(), vec![NONE; right.num_rows()]);
        for row in (0..right.num_rows()).rev() {
            let Some(key) = keys.hold(&encoded, row) else { continue };
            if first.len() <= key as usize {
                first.resize(key as usize + 1, NONE);
            }
            next[row] = std::mem::replace(&mut first[key as usize], row as u64);
        }
        Ok(Self { first, next })
    }

    fn of(&self, key: Option<u32>) -> impl Iterator<Item = u64> {
        let first = key.map(|key| self.first[key as usize]);
        std::iter::successors(first, |&row| Some(self.next[row as usize]).filter(|&next| next != NONE))
    }
}

impl Stateful for WindowJoinOperator {
    fn push(&mut self, input: usize, changes: Changes, _out: &mut Vec<Changes>) -> Result<()> {
        self.split(input, &changes.rows)
    }

    fn advance(&mut self, watermark: Micros, out: &mut Vec<Changes>) -> Result<Micros> {
        self.pairing.begin();
        // A window is complete when no row of either side can lie in it.
        let over = ahead(watermark, self.plan.left.unit).min(ahead(watermark, self.plan.right.unit));
        while let Some(entry) = self.windows.first_entry() {
            if *entry.key() > over {
                break;
            }
            let window = entry.remove();
            self.bytes -= window.iter().map(RowBuffer::bytes).sum::<usize>();
            self.close(window, out)?;
        }
        Ok(if watermark == Micros::MAX { watermark } else { behind(over, watermark) })
    }

    fn failed(&mut self) -> Vec<FailedRow> {
        self.pairing.failed()
    }

    fn held(&self) -> u64 {
        self.windows.values().flatten().map(RowBuffer::end).sum()
    }

    fn usage(&self) -> Option<Usage> {
        let windows = self.windows.len();
        Some(Usage { bytes: (self.bytes + windows * WINDOW_BYTES) as u64, groups: windows as u64 })
    }

    fn snapshot_into(&mut self, bytes: &mut Vec<u8>) -> Result<()> {
        let rows = |side: usize| self.windows.values().map(|w| Ok((w[side].rows_from(0)?, Vec::new()))).collect::<Result<sides::Batches>>();
        sides::encode(bytes, &(), [&self.plan.left.schema, &self.plan.right.schema], &[], [rows(0)?, rows(1)?])
    }

    fn restore(&mut self, state: &[u8]) -> Result<()> {
        let ((), batches) = sides::decode(state, [&self.plan.left.schema, &self.plan.right.schema], &[])?;
        for (side, batches) in batches.into_iter().enumerate() {
            batches.iter().filter(|(rows, _)| rows.num_rows() > 0).try_for_each(|(rows, _)| self.split(side, rows))?;
        }
        Ok(())
    }
}
