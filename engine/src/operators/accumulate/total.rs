//! The total of one call over the rows of one group. Invariant: what it gives depends on the rows that are in it, and where rows
//! never leave on their order, alone.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt32Array, UInt64Array};
use arrow::compute::{filter, take};
use arrow::datatypes::{UInt32Type, UInt64Type};
use datafusion_common::ScalarValue;
use datafusion_expr_common::accumulator::Accumulator;

use super::bag::Bag;
use super::call::{Call, Keeping};
use crate::error::{Error, Result};
use crate::operators::keys::canonical;

/// Rows after which an accumulator that holds on to them is resumed.
const HOARD_ROWS: usize = 256;

/// What a call knows of one group.
pub struct Total {
    held: Held,
    /// Values, if the call keeps them.
    bag: Bag,
    /// Values other than NULL that an accumulator holds: no more than those can be taken back.
    inside: u64,
    /// Rows since the accumulator was resumed last.
    hoard: usize,
    changed: bool,
}

enum Held {
    Accumulator(Box<dyn Accumulator>),
    State(Vec<ScalarValue>),
    Values,
}

impl Call {
    /// A total over no rows.
    pub fn total(&self) -> Result<Total> {
        let held = match self.keeping {
            Keeping::Accumulator => Held::Accumulator(self.accumulator()?),
            Keeping::State => Held::State(self.accumulator()?.state()?),
            Keeping::Values => Held::Values,
        };
        Ok(Total { held, bag: Bag::default(), inside: 0, hoard: 0, changed: true })
    }

    /// Adds rows, in order.
    pub fn add(&self, total: &mut Total, arguments: &[ArrayRef]) -> Result<()> {
        let Some(values) = arguments.first().filter(|a| !a.is_empty()) else { return Ok(()) };
        total.changed = true;
        let Some(converter) = &self.converter else { return self.feed(total, arguments) };
        let rows = converter.convert_columns(&self.told_apart(arguments))?;
        let first: BooleanArray = rows.iter().map(|row| Some(total.bag.add(row.data()))).collect();
        match first.true_count() {
            _ if self.keeping == Keeping::Values => Ok(()),
            count if count == values.len() => self.feed(total, arguments),
            _ => self.feed(total, &chosen(arguments, &first)?),
        }
    }

    /// What values are told apart by: for DISTINCT 0.0 and -0.0 are one number. Others are given back as they came.
    fn told_apart<'a>(&self, values: &'a [ArrayRef]) -> Cow<'a, [ArrayRef]> {
        if self.distinct() { canonical(values) } else { Cow::Borrowed(values) }
    }

    fn feed(&self, total: &mut Total, arguments: &[ArrayRef]) -> Result<()> {
        let rows = arguments[0].len();
        total.inside += (rows - arguments[0].logical_null_count()) as u64;
        let pieces = if self.batches { 1 } else { rows };
        for piece in 0..if rows == 0 { 0 } else { pieces } {
            let part: Vec<ArrayRef> = arguments.iter().map(|a| a.slice(piece, rows / pieces)).collect();
            match &mut total.held {
                Held::Accumulator(accumulator) => accumulator.update_batch(&part)?,
                Held::State(held) => {
                    let mut accumulator = self.resumed(&row_of(held)?)?;
                    accumulator.update_batch(&part)?;
                    *held = accumulator.state()?;
                }
                Held::Values => return Err(Error::internal("rows were fed to a total without an accumulator")),
            }
        }
        total.hoard += rows;
        if let Held::Accumulator(accumulator) = &mut total.held
            && self.hoards
            && total.hoard >= HOARD_ROWS
        {
            *accumulator = self.resumed(&row_of(&accumulator.state()?)?)?;
            total.hoard = 0;
        }
        Ok(())
    }

    /// Takes rows back; those that it does not hold are passed over.
    pub fn remove(&self, total: &mut Total, arguments: &[ArrayRef]) -> Result<()> {
        if arguments.first().is_none_or(|a| a.is_empty()) {
            return Ok(());
        }
        total.changed = true;
        let Some(converter) = &self.converter else { return Self::take_back(total, arguments) };
        let rows = converter.convert_columns(&self.told_apart(arguments))?;
        let last: BooleanArray = rows.iter().map(|row| Some(total.bag.remove(row.data()) == Some(true))).collect();
        if self.keeping == Keeping::Values { Ok(()) } else { Self::take_back(total, &chosen(arguments, &last)?) }
    }

    fn take_back(total: &mut Total, arguments: &[ArrayRef]) -> Result<()> {
        let values = (arguments[0].len() - arguments[0].logical_null_count()) as u64;
        let Held::Accumulator(accumulator) = &mut total.held else {
            return Err(Error::internal("rows were taken back from a total that keeps none"));
        };
        if values <= total.inside && !arguments[0].is_empty() {
            total.inside -= values;
            accumulator.retract_batch(arguments)?;
        }
        Ok(())
    }

    /// The result, if rows came or left since it was last asked for.
    pub fn changed(&self, total: &mut Total) -> Result<Option<ScalarValue>> {
        if !std::mem::take(&mut total.changed) {
            return Ok(None);
        }
        Ok(Some(match &mut total.held {
            Held::Accumulator(accumulator) => accumulator.evaluate()?,
            Held::State(state) => self.resumed(&row_of(state)?)?.evaluate()?,
            Held::Values => self.compute(&self.values(&total.bag)?)?,
        }))
    }

    /// The values of a bag, in their order.
    fn values(&self, bag: &Bag) -> Result<Vec<ArrayRef>> {
        let Some(converter) = self.converter.as_ref().filter(|_| !bag.is_empty()) else { return Ok(Vec::new()) };
        let parser = converter.parser();
        let values = converter.convert_rows(bag.counts().map(|(row, _)| parser.parse(row)))?;
        if self.distinct() || bag.counts().all(|(_, count)| count == 1) {
            return Ok(values);
        }
        let repeated = bag.counts().enumerate().flat_map(|(i, (_, count))| (0..count).map(move |_| i as u64));
        let repeated = UInt64Array::from_iter_values(repeated);
        values.iter().map(|v| Ok(take(v, &repeated, None)?)).collect()
    }

    /// State of totals beside their values, a row each: of accumulators, which go on from it, and how many values they hold.
    pub fn state<'a>(&self, totals: impl Iterator<Item = &'a mut Total>) -> Result<Vec<ArrayRef>> {
        let mut columns: Vec<Vec<ScalarValue>> = Vec::new();
        let mut inside = Vec::new();
        for total in totals {
            let state = match &mut total.held {
                Held::Values => return Ok(Vec::new()),
                Held::State(state) => state.clone(),
                Held::Accumulator(accumulator) => {
                    let state = accumulator.state()?;
                    if !self.stays {
                        *accumulator = self.resumed(&row_of(&state)?)?;
                    }
                    state
                }
            };
            columns.resize_with(state.len(), Vec::new);
            columns.iter_mut().zip(state).for_each(|(column, value)| column.push(value));
            inside.push(total.inside);
        }
        let column = |values: Vec<ScalarValue>| -> Result<ArrayRef> { Ok(ScalarValue::iter_to_array(values)?) };
        let mut state = columns.into_iter().map(column).collect::<Result<Vec<_>>>()?;
        if !inside.is_empty() {
            state.push(Arc::new(UInt64Array::from(inside)));
        }
        Ok(state)
    }

    /// Number of columns that `state` gives of one total or more.
    pub fn state_columns(&self) -> Result<usize> {
        if self.keeping == Keeping::Values { Ok(0) } else { Ok(self.accumulator()?.state()?.len() + 1) }
    }

    /// The total of row `row` of columns from `state`. Errors: `Corrupt`.
    pub fn resume(&self, columns: &[ArrayRef], row: usize) -> Result<Total> {
        let Some((inside, state)) = columns.split_last() else { return self.total() };
        let inside = inside.as_primitive_opt::<UInt64Type>().ok_or_else(damaged)?.value(row);
        let held = match self.keeping {
            Keeping::Accumulator => Held::Accumulator(self.resumed(&state.iter().map(|c| c.slice(row, 1)).collect::<Vec<_>>())?),
            Keeping::State => Held::State(state.iter().map(|c| Ok(ScalarValue::try_from_array(c, row)?)).collect::<Result<_>>()?),
            Keeping::Values => Held::Values,
        };
        Ok(Total { held, bag: Bag::default(), inside, hoard: 0, changed: true })
    }

    /// Values of totals, all together: the number of the total, the value, how often it is there. Nothing if the call keeps none.
    pub fn bags<'a>(&self, totals: impl Iterator<Item = &'a Total>) -> Result<Vec<ArrayRef>> {
        let Some(converter) = &self.converter else { return Ok(Vec::new()) };
        let parser = converter.parser();
        let (mut owners, mut rows, mut counts) = (Vec::new(), Vec::new(), Vec::new());
        for (owner, total) in totals.enumerate() {
            for (row, count) in total.bag.counts() {
                owners.push(owner as u32);
                rows.push(parser.parse(row));
                counts.push(count);
            }
        }
        let mut columns: Vec<ArrayRef> = vec![Arc::new(UInt32Array::from(owners)), Arc::new(UInt64Array::from(counts))];
        columns.extend(converter.convert_rows(rows)?);
        Ok(columns)
    }

    /// Puts values from `bags` back into as many totals. Errors: `Corrupt`.
    pub fn fill(&self, columns: &[ArrayRef], totals: &mut [Total]) -> Result<()> {
        let (Some(converter), [owners, counts, values @ ..]) = (&self.converter, columns) else { return Ok(()) };
        let owners = owners.as_primitive_opt::<UInt32Type>().ok_or_else(damaged)?;
        let counts = counts.as_primitive_opt::<UInt64Type>().ok_or_else(damaged)?;
        for (i, row) in converter.convert_columns(&self.told_apart(values))?.iter().enumerate() {
            totals.get_mut(owners.value(i) as usize).ok_or_else(damaged)?.bag.put(row.data(), counts.value(i));
        }
        Ok(())
    }
}

fn damaged() -> Error {
    Error::corrupt("state of an aggregate has columns of other types")
}

/// The state of an accumulator as columns of one row.
fn row_of(state: &[ScalarValue]) -> Result<Vec<ArrayRef>> {
    state.iter().map(|s| Ok(s.to_array()?)).collect()
}

fn chosen(arguments: &[ArrayRef], mask: &BooleanArray) -> Result<Vec<ArrayRef>> {
    arguments.iter().map(|a| Ok(filter(a, mask)?)).collect()
}

#[cfg(test)]
impl Total {
    /// Bytes that its accumulator holds.
    pub(super) fn size(&self) -> usize {
        if let Held::Accumulator(accumulator) = &self.held { accumulator.size() } else { 0 }
    }
}
