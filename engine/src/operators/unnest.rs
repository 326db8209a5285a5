//! UNNEST. Invariant: each element gives one row, in the order of its list; every row that goes on is one of its record's, or
//! counted as expanded.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, OffsetSizeTrait, RecordBatch, UInt64Array};
use arrow::compute::{cast, take, take_arrays};
use arrow::datatypes::DataType;

use crate::batch::Batch;
use crate::contract::{Operator, Output};
use crate::error::{Error, Result};
use crate::plan;

/// Makes a row of each element of a list; the offsets of rows tell which row they come from, whatever these are.
pub struct UnnestOperator {
    plan: plan::Unnest,
}

/// The elements of a column of lists, end to end.
struct Lists<'a> {
    elements: ArrayRef,
    /// Where each list lies in `elements`.
    range: Box<dyn Fn(usize) -> Range<usize> + 'a>,
}

impl UnnestOperator {
    /// An operator for `plan`.
    pub fn new(plan: plan::Unnest) -> Self {
        Self { plan }
    }
}

impl Operator for UnnestOperator {
    fn push(&mut self, batch: Batch, out: &mut Output) -> Result<Option<Batch>> {
        let rows = batch.rows.num_rows();
        let lists = Lists::new(batch.rows.column(self.plan.column))?;
        let (mut sources, mut elements, mut places) = (Vec::new(), Vec::new(), Vec::new());
        let mut dropped = 0;
        for row in 0..rows {
            let range = (lists.range)(row);
            if !range.is_empty() {
                sources.resize(sources.len() + range.len(), row as u64);
                places.extend((1..=range.len() as i64).map(Some));
                elements.extend(range.map(|e| Some(e as u64)));
            } else if self.plan.outer {
                sources.push(row as u64);
                elements.push(None);
                places.push(None);
            } else {
                dropped += 1;
            }
        }
        let expanded = sources.len() + dropped - rows;
        let sources = UInt64Array::from(sources);
        let mut columns = take_arrays(batch.rows.columns(), &sources, None)?;
        columns.extend(take_elements(&lists.elements, elements)?);
        if self.plan.ordinality {
            columns.push(cast(&Int64Array::from(places), self.plan.schema.field(columns.len()).data_type())?);
        }
        let unnested = Batch {
            rows: RecordBatch::try_new(self.plan.schema.clone(), columns)?,
            offsets: take(&batch.offsets, &sources, None)?.as_primitive().clone(),
            watermarks: batch.watermarks.as_ref().map(|w| take(w, &sources, None)).transpose()?.map(|w| w.as_primitive().clone()),
        };
        out.counters.filtered += dropped as u64;
        out.counters.expanded += expanded as u64;
        Ok((unnested.rows.num_rows() > 0).then_some(unnested))
    }
}

impl<'a> Lists<'a> {
    fn new(column: &'a ArrayRef) -> Result<Self> {
        let (elements, offsets): (ArrayRef, Box<dyn Fn(usize) -> Range<usize>>) = match column.data_type() {
            DataType::List(_) => (column.as_list::<i32>().values().clone(), between(column.as_list::<i32>().value_offsets())),
            DataType::LargeList(_) => (column.as_list::<i64>().values().clone(), between(column.as_list::<i64>().value_offsets())),
            DataType::Map(_, _) => (std::sync::Arc::new(column.as_map().entries().clone()), between(column.as_map().value_offsets())),
            other => return Err(Error::internal(format!("UNNEST of {other}, which is no list"))),
        };
        // What lies behind a NULL is no element.
        Ok(Self { elements, range: Box::new(move |row| if column.is_null(row) { 0..0 } else { offsets(row) }) })
    }
}

fn between<O: OffsetSizeTrait>(offsets: &[O]) -> Box<dyn Fn(usize) -> Range<usize> + '_> {
    Box::new(|row| offsets[row].as_usize()..offsets[row + 1].as_usize())
}

/// The columns of the elements at `places`.
fn take_elements(elements: &ArrayRef, mut places: Vec<Option<u64>>) -> Result<Vec<ArrayRef>> {
    let Some(structs) = elements.as_struct_opt() else { return Ok(vec![take(elements, &UInt64Array::from(places), None)?]) };
    if structs.null_count() > 0 {
        // What lies in the fields of a NULL is no value.
        places.iter_mut().for_each(|p| *p = p.filter(|&e| structs.is_valid(e as usize)));
    }
    Ok(take_arrays(structs.columns(), &UInt64Array::from(places), None)?)
}

#[cfg(test)]
mod tests;
