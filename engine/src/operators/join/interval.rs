//! The interval join. Invariant: rows of both sides are taken in the order of event time, left before right where times are
//! equal, so that what leaves, and in which order, is a function of the rows alone.
//!
//! ```text
//! left  ─► waits for the watermark ─┐ merged      each row meets the kept rows of the other side ─► candidates ─► filter ─► pairs
//! right ─► waits for the watermark ─┘ by time     and is kept until the time of its last possible partner ─► padded, if alone
//! ```
//!
//! A left row of time `t` is kept up to `t + upper`, a right row of time `s` up to `s - lower`. So a row that leaves when the
//! watermark is `w` may be as old as `w - upper` or `w + lower`: the watermark of the output is held back by that much. Kept rows of
//! one key are a chain in the order of time, which is also the order in which they are dropped: from the front.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::DataType;

use super::buffer::{NONE, RowBuffer};
use super::keys::{Encoded, JoinKeys};
use super::pairs::{Condition, Pairing, left_alone, outer};
use super::sides;
use crate::batch::FailedRow;
use crate::changes::Changes;
use crate::contract::Stateful;
use crate::error::{Error, Result};
use crate::operators::reorder::{Reorder, event_times};
use crate::plan::{self, JoinSide};
use crate::time::Micros;

/// Instead of a key's number: a part of the key is NULL.
const NO_KEY: u32 = u32::MAX;
/// Whether nothing remains to be said about a row.
const BESIDE: sides::Beside<'static> = &[("settled", DataType::Boolean)];

/// Joins rows of equal keys whose event times are near.
pub struct IntervalJoinOperator {
    lower: Micros,
    upper: Micros,
    sides: [Side; 2],
    keys: JoinKeys,
    pub(super) pairing: Pairing,
    hold: Micros,
}

struct Side {
    plan: JoinSide,
    outer: bool,
    /// Time from a row to its last possible partner.
    reach: Micros,
    waiting: Reorder,
    rows: RowBuffer,
    /// One for each row of `rows` that was taken, from number `first` on; those before `live` are dropped and only waited for
    /// because candidates may name them.
    kept: VecDeque<Kept>,
    first: u64,
    live: u64,
    /// By the number of the key.
    chains: Vec<Chain>,
}

struct Kept {
    time: Micros,
    key: u32,
    /// It has met a partner, or left alone, or need not leave alone.
    settled: bool,
    /// The next row of its key.
    next: u64,
}

#[derive(Clone, Copy)]
struct Chain {
    first: u64,
    last: u64,
}

/// Rows that the watermark has passed, in order.
struct Released {
    times: Vec<Micros>,
    keys: Encoded,
}

impl IntervalJoinOperator {
    /// An operator for `plan`. Errors: `Invalid` for semi and anti joins.
    pub fn new(plan: plan::IntervalJoin) -> Result<Self> {
        if left_alone(plan.kind) {
            return Err(Error::invalid("a semi or anti join by a time interval is not supported").hint("use an inner or outer join"));
        }
        let [left_outer, right_outer] = outer(plan.kind);
        let condition = plan.filter.map(|f| Condition::new(f, &plan.left, &plan.right));
        let (ahead, behind) = (plan.upper.max(0), plan.lower.saturating_neg().max(0));
        Ok(Self {
            lower: plan.lower,
            upper: plan.upper,
            keys: JoinKeys::new(&plan.left, &plan.right)?,
            pairing: Pairing::new(plan.kind, condition, plan.schema),
            sides: [Side::new(plan.left, left_outer, ahead)?, Side::new(plan.right, right_outer, behind)?],
            hold: ahead.max(behind),
        })
    }

    /// Takes one row at its time: notes its candidates and keeps it.
    fn take(&mut self, side: usize, time: Micros, key: Option<u32>, out: &mut Vec<Changes>) -> Result<()> {
        self.pairing.bound.credit(1);
        let number = self.sides[side].keep(time, key, !self.sides[side].outer);
        let Some(key) = key else {
            if self.sides[side].outer {
                self.pairing.alone(side, number);
            }
            return Ok(());
        };
        let (from, to) = match side {
            0 => (time.saturating_add(self.lower), time.saturating_add(self.upper)),
            _ => (time.saturating_sub(self.upper), time.saturating_sub(self.lower)),
        };
        let mut other = self.sides[1 - side].chain(key).first;
        while other != NONE {
            let kept = self.sides[1 - side].kept(other);
            if kept.time > to {
                break;
            }
            let next = kept.next;
            if kept.time >= from {
                let (left, right) = if side == 0 { (number, other) } else { (other, number) };
                self.pairing.pair(left, right);
                if self.pairing.is_full() {
                    self.settle(out)?;
                }
            }
            other = next;
        }
        Ok(())
    }

    /// Drops the rows whose last possible partner has the time `limit` or an earlier one, in the order of those times.
    fn expire(&mut self, limit: Micros, out: &mut Vec<Changes>) -> Result<()> {
        loop {
            let due = [self.sides[0].next_end(), self.sides[1].next_end()].map(|end| end.filter(|&end| end <= limit));
            let side = match due {
                [None, None] => return Ok(()),
                [Some(left), Some(right)] if right < left => 1,
                [Some(_), _] => 0,
                [None, Some(_)] => 1,
            };
            let (number, key, settled) = self.sides[side].drop_first();
            if key != NO_KEY {
                self.keys.release(key);
            }
            if !settled {
                // It may have been kept long before this watermark, which began to count anew.
                self.pairing.bound.credit(1);
                self.pairing.alone(side, number);
                if self.pairing.is_full() {
                    self.settle(out)?;
                }
            }
        }
    }

    /// Decides about the candidates so far and gives up what was dropped.
    fn settle(&mut self, out: &mut Vec<Changes>) -> Result<()> {
        let [left, right] = &mut self.sides;
        let (left_first, right_first) = (left.first, right.first);
        let leave = self.pairing.settle([&left.rows, &right.rows], |l, r, holds| match (l, r) {
            (NONE, r) => !settle(&mut right.kept, r - right_first),
            (l, NONE) => !settle(&mut left.kept, l - left_first),
            (l, r) => {
                if holds {
                    settle(&mut left.kept, l - left_first);
                    settle(&mut right.kept, r - right_first);
                }
                holds
            }
        })?;
        out.extend(leave.map(Changes::inserts));
        self.sides.iter_mut().for_each(Side::give_up);
        Ok(())
    }

    fn release(&mut self, side: usize, watermark: Micros) -> Result<Option<Released>> {
        let own = &mut self.sides[side];
        let Some(rows) = own.waiting.release(watermark)? else { return Ok(None) };
        own.rows.append(&rows)?;
        Ok(Some(Released { times: event_times(&rows, own.plan.time)?.to_vec(), keys: self.keys.encode(side, &rows)? }))
    }
}

/// Marks a row as settled: whether it was so before.
fn settle(kept: &mut VecDeque<Kept>, place: u64) -> bool {
    std::mem::replace(&mut kept[place as usize].settled, true)
}

impl Side {
    fn new(plan: JoinSide, outer: bool, reach: Micros) -> Result<Self> {
        let (waiting, rows) = (Reorder::new(plan.schema.clone(), plan.time)?, RowBuffer::new(plan.schema.clone()));
        Ok(Self { plan, outer, reach, waiting, rows, kept: VecDeque::new(), first: 0, live: 0, chains: Vec::new() })
    }

    fn kept(&self, number: u64) -> &Kept {
        &self.kept[(number - self.first) as usize]
    }

    fn chain(&self, key: u32) -> Chain {
        self.chains.get(key as usize).copied().unwrap_or(Chain { first: NONE, last: NONE })
    }

    /// Keeps the next row of `rows`: its number.
    fn keep(&mut self, time: Micros, key: Option<u32>, settled: bool) -> u64 {
        let number = self.first + self.kept.len() as u64;
        self.kept.push_back(Kept { time, key: key.unwrap_or(NO_KEY), settled, next: NONE });
        if let Some(key) = key {
            let mut chain = self.chain(key);
            match chain.last {
                NONE => chain.first = number,
                last => self.kept[(last - self.first) as usize].next = number,
            }
            chain.last = number;
            if self.chains.len() <= key as usize {
                self.chains.resize(key as usize + 1, Chain { first: NONE, last: NONE });
            }
            self.chains[key as usize] = chain;
        }
        number
    }

    /// The time up to which the first row is kept.
    fn next_end(&self) -> Option<Micros> {
        self.kept.get((self.live - self.first) as usize).map(|k| k.time.saturating_add(self.reach))
    }

    /// Drops the first row: its number, its key, and whether it is settled. It is the first of its key too.
    fn drop_first(&mut self) -> (u64, u32, bool) {
        let number = self.live;
        self.live += 1;
        let &Kept { key, settled, next, .. } = self.kept(number);
        if key != NO_KEY {
            let chain = &mut self.chains[key as usize];
            chain.first = next;
            if next == NONE {
                chain.last = NONE;
            }
        }
        (number, key, settled)
    }

    /// Gives up the memory of dropped rows.
    fn give_up(&mut self) {
        self.kept.drain(..(self.live - self.first) as usize);
        self.first = self.live;
        self.rows.forget(self.live);
    }

    fn snapshot(&mut self) -> Result<sides::Batches> {
        let flags = |flags: Vec<bool>| -> Vec<ArrayRef> { vec![Arc::new(BooleanArray::from(flags))] };
        let (kept, waiting) = (self.rows.rows_from(self.live)?, self.waiting.snapshot()?);
        let count = waiting.num_rows();
        Ok(vec![(kept, flags(self.kept.iter().map(|k| k.settled).collect())), (waiting, flags(vec![false; count]))])
    }

    fn restore(&mut self, side: usize, keys: &mut JoinKeys, batches: sides::Batches) -> Result<()> {
        let [(kept, settled), (waiting, _)] = <[(RecordBatch, Vec<ArrayRef>); 2]>::try_from(batches)
            .map_err(|_| Error::corrupt("the state of an interval join has another number of batches"))?;
        let encoded = keys.encode(side, &kept)?;
        for (row, &time) in event_times(&kept, self.plan.time)?.iter().enumerate() {
            let key = keys.hold(&encoded, row);
            self.keep(time, key, settled[0].as_boolean().value(row));
        }
        self.rows.append(&kept)?;
        self.waiting.restore(waiting)
    }
}

impl Stateful for IntervalJoinOperator {
    fn push(&mut self, input: usize, changes: Changes, _out: &mut Vec<Changes>) -> Result<()> {
        self.sides[input].waiting.push(changes.rows)
    }

    fn advance(&mut self, watermark: Micros, out: &mut Vec<Changes>) -> Result<Micros> {
        self.pairing.begin();
        let released = [self.release(0, watermark)?, self.release(1, watermark)?];
        let mut next = [0, 0];
        loop {
            let time = |side: usize| released[side].as_ref().and_then(|r| r.times.get(next[side]).copied());
            let (side, time) = match (time(0), time(1)) {
                (None, None) => break,
                (Some(left), Some(right)) if right < left => (1, right),
                (Some(left), _) => (0, left),
                (None, Some(right)) => (1, right),
            };
            self.expire(time.saturating_sub(1), out)?;
            let key = released[side].as_ref().and_then(|r| self.keys.hold(&r.keys, next[side]));
            self.take(side, time, key, out)?;
            next[side] += 1;
        }
        self.expire(watermark, out)?;
        self.settle(out)?;
        Ok(if watermark == Micros::MAX { watermark } else { watermark.saturating_sub(self.hold) })
    }

    fn failed(&mut self) -> Vec<FailedRow> {
        self.pairing.failed()
    }

    fn held(&self) -> u64 {
        self.sides.iter().map(|s| (s.waiting.len() + s.kept.len()) as u64).sum()
    }

    fn keys(&self) -> Option<u64> {
        Some(self.keys.held())
    }

    fn snapshot_into(&mut self, bytes: &mut Vec<u8>) -> Result<()> {
        let [left, right] = &mut self.sides;
        let batches = [left.snapshot()?, right.snapshot()?];
        sides::encode(bytes, &(), [&left.plan.schema, &right.plan.schema], BESIDE, batches)
    }

    fn restore(&mut self, state: &[u8]) -> Result<()> {
        let Self { sides: [left, right], keys, .. } = self;
        let ((), [left_state, right_state]) = sides::decode(state, [&left.plan.schema, &right.plan.schema], BESIDE)?;
        left.restore(0, keys, left_state)?;
        right.restore(1, keys, right_state)
    }
}
