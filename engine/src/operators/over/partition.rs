//! State of one partition of an OVER clause. Invariant: between steps it holds what rows of a later time may look at, and no more;
//! totals over frames that end are a function of the rows in them.

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take, take_record_batch};
use datafusion_common::ScalarValue;

use super::calls::{Calls, Edge, Kind, OverStep, inputs};
use super::frames::Frames;
use super::results::Results;
use crate::error::{Error, Result};
use crate::operators::accumulate::{Call, Inputs, Total};
use crate::operators::compact::compact;
use crate::time::Micros;

/// What is known of a partition.
pub struct Partition {
    /// Rows so far.
    pub rows: u64,
    /// Times of past rows that may be looked at.
    pub times: Vec<Micros>,
    /// Their values, as `Calls::kept`.
    pub values: RecordBatch,
    /// For each call.
    pub calls: Vec<Carried>,
    /// Rows that wait for later ones, with their other results; some if there are any.
    pub waiting: Option<RecordBatch>,
}

/// What a call carries along.
pub enum Carried {
    /// Nothing: it looks at past rows, or needs none.
    Nothing,
    /// A total, with its result if it has not changed since.
    Total(Total, ScalarValue),
    /// The value at the edge of all rows so far; one row.
    Edge(Option<ArrayRef>),
}

/// Rows that come next, of times after those before.
pub struct NewRows<'a> {
    /// Their times, in order.
    pub times: &'a [Micros],
    /// Values of all expressions.
    pub values: Vec<ArrayRef>,
    /// Where their results belong.
    pub places: &'a [u32],
}

/// Past rows and new ones.
struct Sight {
    times: Vec<Micros>,
    kept: RecordBatch,
    /// Values of expressions, those that are not kept without past rows.
    values: Vec<ArrayRef>,
    /// Number of past rows.
    past: usize,
}

impl Partition {
    /// No rows.
    pub fn new(calls: &Calls) -> Result<Self> {
        let carried = calls.calls.iter().map(Carried::new).collect::<Result<_>>()?;
        Ok(Self { rows: 0, times: Vec::new(), values: RecordBatch::new_empty(calls.schema.clone()), calls: carried, waiting: None })
    }

    /// Number of past rows that it holds.
    pub fn past(&self) -> usize {
        self.times.len()
    }

    /// Takes rows, and gives their results.
    pub fn apply(&mut self, calls: &Calls, rows: &NewRows<'_>, results: &mut [Results]) -> Result<()> {
        let sight = self.sight(calls, rows)?;
        for ((call, carried), results) in calls.calls.iter().zip(&mut self.calls).zip(results) {
            match &call.kind {
                Kind::RowNumber => {
                    rows.places.iter().zip(self.rows + 1..).for_each(|(&place, number)| results.number(place, number as i64));
                }
                // Later rows are not known yet.
                Kind::Lead => {}
                Kind::Lag { value, offset, default } => lag(&sight, rows, (*value, *offset, *default), results),
                Kind::Edge { value, .. } => edge(call, *value, &sight, rows, carried, results)?,
                Kind::Aggregate { call: function, arguments, filter } => {
                    let values = if call.looks_back() { &sight.values } else { &rows.values };
                    let inputs = inputs(values, arguments, *filter)?;
                    match carried {
                        Carried::Total(total, result) if call.looks_back() => {
                            slide(call, function, &inputs, &sight, rows, (total, result), results)?;
                        }
                        Carried::Total(total, result) => run(call, function, &inputs, rows, (total, result), results)?,
                        _ => anew(call, function, &inputs, &sight, rows, results)?,
                    }
                }
            }
        }
        self.rows += rows.times.len() as u64;
        self.keep(calls, sight)
    }

    fn sight(&self, calls: &Calls, rows: &NewRows<'_>) -> Result<Sight> {
        let past = self.times.len();
        let mut values = rows.values.clone();
        if calls.kept.is_empty() {
            return Ok(Sight { times: Vec::new(), kept: self.values.clone(), values, past });
        }
        let times = self.times.iter().chain(rows.times).copied().collect();
        let new = RecordBatch::try_new(calls.schema.clone(), calls.kept.iter().map(|&e| values[e].clone()).collect())?;
        let kept = if past == 0 { new } else { concat_batches(&calls.schema, [&self.values, &new])? };
        calls.kept.iter().zip(kept.columns()).for_each(|(&e, column)| values[e] = column.clone());
        Ok(Sight { times, kept, values, past })
    }

    /// Keeps what later rows may look at.
    fn keep(&mut self, calls: &Calls, sight: Sight) -> Result<()> {
        if calls.kept.is_empty() {
            return Ok(());
        }
        let len = sight.times.len();
        let from = calls.calls.iter().map(|c| c.first_seen(&sight.times)).min().unwrap_or(len);
        // Copied, so that few rows do not hold on to all that came with them.
        let rows = UInt32Array::from_iter_values((from..len).map(|i| i as u32));
        self.values = compact(&take_record_batch(&sight.kept, &rows)?)?;
        self.times = sight.times[from..].to_vec();
        Ok(())
    }
}

impl Carried {
    /// Before the first row.
    pub fn new(call: &OverStep) -> Result<Self> {
        Ok(match &call.kind {
            Kind::Aggregate { call: function, .. } if function.follows() => Self::Total(function.total()?, ScalarValue::Null),
            Kind::Edge { .. } if call.carries() => Self::Edge(None),
            _ => Self::Nothing,
        })
    }
}

fn lag(sight: &Sight, rows: &NewRows<'_>, (value, offset, default): (usize, usize, Option<usize>), results: &mut Results) {
    let past = if offset == 0 { 0 } else { sight.past };
    let values = if offset == 0 { &rows.values[value] } else { &sight.values[value] };
    let (source, default) = (results.source(values), default.map(|d| results.source(&rows.values[d])));
    for (i, &place) in rows.places.iter().enumerate() {
        match ((past + i).checked_sub(offset), default) {
            (Some(before), _) => results.pick(place, source, before),
            (None, Some(default)) => results.pick(place, default, i),
            (None, None) => {}
        }
    }
}

/// FIRST_VALUE and LAST_VALUE.
fn edge(call: &OverStep, value: usize, sight: &Sight, rows: &NewRows<'_>, carried: &mut Carried, results: &mut Results) -> Result<()> {
    let Kind::Edge { edge, ignore_nulls, .. } = call.kind else { return Err(Error::internal("an edge of no frame")) };
    let (values, times, first) =
        if call.looks_back() { (&sight.values[value], &sight.times[..], sight.past) } else { (&rows.values[value], rows.times, 0) };
    let counts = |i: usize| !ignore_nulls || values.is_valid(i);
    let before = if let Carried::Edge(Some(before)) = carried { Some(results.source(before)) } else { None };
    let source = results.source(values);
    let (mut begin, mut passed, mut last) = (0, 0, None);
    for ((start, end), &place) in Frames::new(call.frame, times, first).zip(rows.places) {
        let found = match edge {
            Edge::First => {
                begin = (begin.max(start)..end).find(|&i| counts(i)).unwrap_or(end);
                Some(begin).filter(|&i| i < end)
            }
            Edge::Last => {
                last = (passed..end).rev().find(|&i| counts(i)).or(last);
                passed = end;
                last.filter(|&i| i >= start)
            }
        };
        match (found, before) {
            (Some(_), Some(before)) if edge == Edge::First => results.pick(place, before, 0),
            (Some(found), _) => results.pick(place, source, found),
            (None, Some(before)) => results.pick(place, before, 0),
            (None, None) => {}
        }
    }
    if let Carried::Edge(carried) = carried {
        let mut all = 0..values.len();
        let found = match edge {
            Edge::First if before.is_some() => None,
            Edge::First => all.find(|&i| counts(i)),
            Edge::Last => all.rev().find(|&i| counts(i)),
        };
        if let Some(found) = found {
            let value = RecordBatch::try_from_iter([("value", take(values, &UInt32Array::from(vec![found as u32]), None)?)])?;
            *carried = Some(compact(&value)?.column(0).clone());
        }
    }
    Ok(())
}

/// An aggregate over all rows so far.
fn run(
    call: &OverStep,
    function: &Call,
    inputs: &Inputs,
    rows: &NewRows<'_>,
    (total, result): (&mut Total, &mut ScalarValue),
    results: &mut Results,
) -> Result<()> {
    let mut to = 0;
    for ((_, end), &place) in Frames::new(call.frame, rows.times, 0).zip(rows.places) {
        if end > to {
            function.add(total, &inputs.part(to, end)?)?;
            to = end;
        }
        if let Some(changed) = function.changed(total)? {
            *result = changed;
        }
        results.value(place, result.clone());
    }
    Ok(())
}

/// An aggregate over frames that end, whose total follows them.
fn slide(
    call: &OverStep,
    function: &Call,
    inputs: &Inputs,
    sight: &Sight,
    rows: &NewRows<'_>,
    (total, result): (&mut Total, &mut ScalarValue),
    results: &mut Results,
) -> Result<()> {
    // Between steps, what later rows may look at is in the total.
    let (mut from, mut to) = (call.first_seen(&sight.times[..sight.past]), sight.past);
    for ((start, end), &place) in Frames::new(call.frame, &sight.times, sight.past).zip(rows.places) {
        if end > to {
            function.add(total, &inputs.part(to, end)?)?;
            to = end;
        }
        if start > from {
            function.remove(total, &inputs.part(from, start)?)?;
            from = start;
        }
        if let Some(changed) = function.changed(total)? {
            *result = changed;
        }
        results.value(place, result.clone());
    }
    let rest = call.first_seen(&sight.times);
    if rest > from {
        function.remove(total, &inputs.part(from, rest)?)?;
    }
    Ok(())
}

/// An aggregate over frames that end, each computed from its rows.
fn anew(call: &OverStep, function: &Call, inputs: &Inputs, sight: &Sight, rows: &NewRows<'_>, results: &mut Results) -> Result<()> {
    let mut computed: Option<((usize, usize), ScalarValue)> = None;
    for (frame, &place) in Frames::new(call.frame, &sight.times, sight.past).zip(rows.places) {
        let value = match computed.take() {
            Some((same, value)) if same == frame => value,
            _ => function.compute(&inputs.part(frame.0, frame.1)?)?,
        };
        results.value(place, value.clone());
        computed = Some((frame, value));
    }
    Ok(())
}
