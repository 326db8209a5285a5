//! A keyed step whose keys are spread over groups, so that several threads share it. Invariant: the group of a key depends on the key
//! alone, for ever: state says nothing of threads, and whatever their number is, each group is given the same. What one key gives has its
//! order; between keys of different groups there is none, and other batches may show there.
//!
//! ```text
//! rows ─► key ─► crc32c ─► group 0 … 15, an operator each ─► threads take groups ─► what they give, in the order of groups
//! ```

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::row::{RowConverter, SortField};

use super::keys::canonical;
use crate::batch::FailedRow;
use crate::changes::Changes;
use crate::contract::{Stateful, Usage};
use crate::error::{Error, Result};
use crate::limits::{KEY_GROUPS, SHARED_ROWS_MIN};
use crate::parallel::Helpers;
use crate::plan::StepKey;
use crate::state::snapshot;
use crate::time::Micros;

/// One step as `KEY_GROUPS` operators.
pub struct Shards {
    /// None after an error: the step is not used again.
    groups: Vec<Box<dyn Stateful>>,
    /// Of each input.
    keys: Vec<Keys>,
    helpers: Arc<Helpers>,
    /// Rows that came since the watermark rose.
    waiting: usize,
}

/// Finds the groups of rows.
struct Keys {
    parts: Vec<StepKey>,
    converter: RowConverter,
}

/// A group, what it is given, and what it gives.
struct Task {
    group: Box<dyn Stateful>,
    changes: Option<Changes>,
    given: Vec<Changes>,
    reached: Micros,
}

impl Shards {
    /// For inputs of these columns, with the `keys` of each; `helpers` share it; `open` makes the operator of a group.
    pub fn new(
        inputs: &[SchemaRef],
        keys: Vec<Vec<StepKey>>,
        helpers: Arc<Helpers>,
        open: impl Fn() -> Result<Box<dyn Stateful>>,
    ) -> Result<Self> {
        let groups = (0..KEY_GROUPS).map(|_| open()).collect::<Result<_>>()?;
        let keys = keys.into_iter().zip(inputs).map(|(parts, schema)| Keys::new(parts, schema)).collect::<Result<_>>()?;
        Ok(Self { groups, keys, helpers, waiting: 0 })
    }

    /// Threads that so many rows are worth.
    fn threads(&self, rows: usize) -> usize {
        if rows < SHARED_ROWS_MIN { 1 } else { self.helpers.threads() }
    }

    /// All groups, which are put back when threads have done something with them.
    fn take(&mut self) -> Result<Vec<Box<dyn Stateful>>> {
        let groups = std::mem::take(&mut self.groups);
        if groups.len() == KEY_GROUPS { Ok(groups) } else { Err(Error::internal("a step that failed is used again")) }
    }

    /// Lets every group do something. Returns the least that they have reached.
    fn each(
        &mut self,
        threads: usize,
        changes: impl Iterator<Item = Option<Changes>>,
        out: &mut Vec<Changes>,
        work: impl Fn(&mut Task) -> Result<()> + Send + Sync + 'static,
    ) -> Result<Micros> {
        let task = |(group, changes)| Task { group, changes, given: Vec::new(), reached: Micros::MAX };
        let tasks = self.take()?.into_iter().zip(changes).map(task).collect();
        let tasks = self.helpers.share_out(threads, tasks, work)?;
        let reached = tasks.iter().map(|t| t.reached).min().unwrap_or(Micros::MIN);
        for Task { group, given, .. } in tasks {
            self.groups.push(group);
            out.extend(given);
        }
        Ok(reached)
    }
}

impl Keys {
    fn new(parts: Vec<StepKey>, schema: &SchemaRef) -> Result<Self> {
        let data_type = |part: &StepKey| -> Result<DataType> {
            Ok(match part {
                StepKey::Column(i) => schema.fields().get(*i).ok_or_else(astray)?.data_type().clone(),
                StepKey::Computed(e) => e.data_type(schema)?,
            })
        };
        let fields = parts.iter().map(|p| Ok(SortField::new(data_type(p)?))).collect::<Result<Vec<_>>>()?;
        Ok(Self { parts, converter: RowConverter::new(fields)? })
    }

    /// The group of each row.
    fn groups(&self, rows: &RecordBatch) -> Result<Vec<usize>> {
        let column = |part: &StepKey| -> Result<ArrayRef> {
            Ok(match part {
                StepKey::Column(i) => rows.columns().get(*i).ok_or_else(astray)?.clone(),
                StepKey::Computed(e) => e.evaluate(rows)?.into_array(rows.num_rows())?,
            })
        };
        let columns = self.parts.iter().map(column).collect::<Result<Vec<_>>>()?;
        let keys = self.converter.convert_columns(&canonical(&columns))?;
        Ok(keys.iter().map(|key| crc32c::crc32c(key.data()) as usize % KEY_GROUPS).collect())
    }

    /// The rows of each group, in their order; `None` if it has none.
    fn cut(&self, changes: &Changes) -> Result<Vec<Option<Changes>>> {
        let mut places: Vec<Vec<u32>> = vec![Vec::new(); KEY_GROUPS];
        for (row, group) in (0_u32..).zip(self.groups(&changes.rows)?) {
            places[group].push(row);
        }
        let part = |rows: Vec<u32>| -> Result<Option<Changes>> {
            if rows.is_empty() {
                return Ok(None);
            }
            let kinds = changes.kinds.as_ref().map(|kinds| rows.iter().map(|&row| kinds[row as usize]).collect());
            Ok(Some(Changes { rows: take_record_batch(&changes.rows, &UInt32Array::from(rows))?, kinds }))
        };
        places.into_iter().map(part).collect()
    }
}

fn astray() -> Error {
    Error::internal("a key is a column that is not there")
}

impl Stateful for Shards {
    fn push(&mut self, input: usize, changes: Changes, out: &mut Vec<Changes>) -> Result<()> {
        let keys = self.keys.get(input).ok_or_else(|| Error::internal("rows of an input that a step does not have"))?;
        let (rows, parts) = (changes.len(), keys.cut(&changes)?);
        self.waiting += rows;
        let work = move |task: &mut Task| match task.changes.take() {
            Some(changes) => task.group.push(input, changes, &mut task.given),
            None => Ok(()),
        };
        self.each(self.threads(rows), parts.into_iter(), out, work).map(drop)
    }

    fn advance(&mut self, watermark: Micros, out: &mut Vec<Changes>) -> Result<Micros> {
        let waiting = std::mem::take(&mut self.waiting);
        let threads = self.threads(waiting);
        self.each(threads, std::iter::repeat_n(None, KEY_GROUPS), out, move |task| {
            task.reached = task.group.advance(watermark, &mut task.given)?;
            Ok(())
        })
    }

    fn failed(&mut self) -> Vec<FailedRow> {
        self.groups.iter_mut().flat_map(|g| g.failed()).collect()
    }

    fn held(&self) -> u64 {
        self.groups.iter().map(|g| g.held()).sum()
    }

    fn keys(&self) -> Option<u64> {
        self.groups.iter().map(|g| g.keys()).sum()
    }

    fn usage(&self) -> Option<Usage> {
        self.groups.iter().map(|g| g.usage()).sum()
    }

    fn snapshot_into(&mut self, bytes: &mut Vec<u8>) -> Result<()> {
        let threads = self.threads(self.held().max(self.keys().unwrap_or(0)) as usize);
        if threads == 1 {
            let mut groups = self.groups.iter_mut();
            return groups.try_for_each(|group| snapshot::put_state(bytes, KEY_GROUPS, |bytes| group.snapshot_into(bytes)));
        }
        // Much state is worth threads, and a copy of what each of them gives.
        let tasks = self.take()?.into_iter().map(|group| (group, Vec::new())).collect();
        let encode = |(group, state): &mut (Box<dyn Stateful>, Vec<u8>)| group.snapshot_into(state);
        for (group, state) in self.helpers.share_out(threads, tasks, encode)? {
            self.groups.push(group);
            snapshot::put_state(bytes, KEY_GROUPS, |bytes| {
                bytes.extend_from_slice(&state);
                Ok(())
            })?;
        }
        Ok(())
    }

    fn restore(&mut self, state: &[u8]) -> Result<()> {
        let states = snapshot::split_states(state, KEY_GROUPS)?;
        self.groups.iter_mut().zip(states).try_for_each(|(group, state)| group.restore(state))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, BooleanArray, Float64Array, Int64Array, StringViewArray};
    use arrow::compute::SortOptions;
    use arrow::datatypes::{Field, Int64Type, Schema};

    use super::*;
    use crate::operators::open_step;
    use crate::plan::{Rank, SortKey, StepKind};

    /// The two greatest `v` of each `k`, as changes.
    fn ranked(threads: usize) -> Box<dyn Stateful> {
        let field = |name, data_type| Field::new(name, data_type, true);
        let schema: SchemaRef = Arc::new(Schema::new(vec![field("k", DataType::Utf8View), field("v", DataType::Int64)]));
        let rank = Rank {
            input: schema.clone(),
            partition: vec![0],
            order: vec![SortKey { column: 1, options: SortOptions { descending: true, nulls_first: false } }],
            offset: 0,
            limit: 2,
            place: false,
            time: None,
            window_end: None,
            unit: 1,
            ttl: None,
            schema: schema.clone(),
        };
        open_step(&StepKind::Rank(rank), &[schema], &[], &Arc::new(Helpers::new(threads))).unwrap()
    }

    fn rows(from: i64, count: i64) -> RecordBatch {
        let keys: StringViewArray = (from..from + count).map(|i| (i % 11 > 0).then(|| format!("device {}", i * i % 97))).collect();
        let values: Int64Array = (from..from + count).map(|i| i * 7919 % 1009).collect();
        RecordBatch::try_from_iter([("k", Arc::new(keys) as ArrayRef), ("v", Arc::new(values) as ArrayRef)]).unwrap()
    }

    /// What is left of the changes, sorted.
    fn left(changes: &[Changes]) -> Vec<String> {
        let mut left = std::collections::BTreeMap::<String, i64>::new();
        for c in changes {
            for i in 0..c.len() {
                let (key, value) = (c.rows.column(0).as_string_view(), c.rows.column(1).as_primitive::<Int64Type>());
                let key = key.iter().nth(i).flatten().unwrap_or("none");
                *left.entry(format!("{key} {:04}", value.value(i))).or_default() += if c.kind(i).adds() { 1 } else { -1 };
            }
        }
        left.into_iter().filter(|(_, n)| *n != 0).map(|(row, n)| format!("{row} x{n}")).collect()
    }

    #[test]
    fn groups_give_what_one_operator_gives_and_are_taken_over_by_more_threads() {
        let run = |threads: [usize; 3]| {
            let mut out = Vec::new();
            let mut step = ranked(threads[0]);
            for (round, threads) in (0_i64..).zip(threads) {
                if round > 0 {
                    let state = step.snapshot().unwrap();
                    step = ranked(threads);
                    step.restore(&state).unwrap();
                    assert_eq!(step.snapshot().unwrap(), state);
                }
                step.push(0, Changes::inserts(rows(round * 5000, 5000)), &mut out).unwrap();
                step.advance(round + 1, &mut out).unwrap();
            }
            (left(&out), step.held())
        };
        let alone = run([1, 1, 1]);
        assert!(alone.0.len() > 60, "{:?}", alone.0);
        for threads in [[2, 3, 2], [2, 2, 2], [16, 2, 5]] {
            assert_eq!(run(threads), alone, "{threads:?}");
        }
        // So few rows are not shared.
        let (mut few, mut again) = (ranked(2), ranked(3));
        few.push(0, Changes::inserts(rows(0, 100)), &mut Vec::new()).unwrap();
        let state = few.snapshot().unwrap();
        again.restore(&state).unwrap();
        assert_eq!((again.held(), again.snapshot().unwrap() == state), (few.held(), true));
        assert!(ranked(3).restore(&state[..state.len() - 1]).is_err());
    }

    /// The group of a key is part of every checkpoint. If this fails, arrow encodes keys differently from before: state has to be
    /// spread anew.
    #[test]
    fn the_group_of_a_key_never_changes() {
        let of = |column: ArrayRef| {
            let rows = RecordBatch::try_from_iter_with_nullable([("k", column, true)]).unwrap();
            Keys::new(vec![StepKey::Column(0)], &rows.schema()).unwrap().groups(&rows).unwrap()
        };
        let texts = StringViewArray::from(vec![
            Some("pump-1"),
            Some("pump-2"),
            Some("a name that is longer than thirty-two bytes"),
            Some(""),
            None,
        ]);
        assert_eq!(of(Arc::new(texts)), GOLDEN[0]);
        assert_eq!(of(Arc::new(Int64Array::from(vec![Some(1), Some(-1), Some(1 << 40), Some(0), None]))), GOLDEN[1]);
        assert_eq!(of(Arc::new(Float64Array::from(vec![Some(1.5), Some(-1.5), Some(f64::NAN), Some(0.0), None]))), GOLDEN[2]);
        assert_eq!(of(Arc::new(BooleanArray::from(vec![Some(true), Some(false), Some(true), Some(false), None]))), GOLDEN[3]);
    }

    /// Worked out by hand from the format that arrow documents.
    const GOLDEN: [[usize; 5]; 4] = [[0, 9, 14, 2, 1], [12, 2, 6, 15, 3], [10, 7, 8, 15, 3], [6, 5, 6, 5, 2]];
}
