//! State of an OVER clause as bytes. Invariant: totals over frames that end are not in it: they are made anew of the past rows,
//! which gives the same.
//!
//! ```text
//! rows that wait │ keys, last time, rows so far, past rows, what calls carry along │ past rows of all partitions │ a part a call: values
//! with LEAD also │ rows of each partition that wait for later ones, and how many
//! ```

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt64Array, new_null_array};
use arrow::compute::{concat, concat_batches, take, take_record_batch};
use arrow::datatypes::{Int64Type, UInt64Type};
use datafusion_common::ScalarValue;

use super::OverOperator;
use super::calls::{Calls, Kind, OverStep, inputs};
use super::partition::{Carried, Partition};
use crate::error::{Error, Result};
use crate::operators::accumulate::Total;
use crate::operators::compact::compact;
use crate::state::snapshot;

impl OverOperator {
    pub(super) fn encode(&mut self, bytes: &mut Vec<u8>) -> Result<()> {
        let waiting = self.reorder.snapshot()?;
        let slots = self.partitions.sorted();
        let mut columns = self.partitions.columns(&slots)?;
        let (mut last, mut rows, mut past, mut times, mut values) = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        // What each call carries along, in the order of partitions.
        let (mut later, mut counts): (Vec<RecordBatch>, Vec<u64>) = (Vec::new(), Vec::new());
        let mut carried: Vec<Vec<Carried>> = self.calls.calls.iter().map(|_| Vec::new()).collect();
        for &slot in &slots {
            let held = self.partitions.at(slot)?;
            last.push(held.last);
            rows.push(held.state.rows);
            past.push(held.state.past() as u64);
            times.extend_from_slice(&held.state.times);
            values.push(held.state.values.clone());
            counts.push(held.state.waiting.as_ref().map_or(0, |w| w.num_rows() as u64));
            later.extend(held.state.waiting.clone());
            carried.iter_mut().zip(held.state.calls.drain(..)).for_each(|(all, one)| all.push(one));
        }
        columns.push(Arc::new(Int64Array::from(last)));
        columns.push(Arc::new(UInt64Array::from(rows)));
        columns.push(Arc::new(UInt64Array::from(past)));
        let mut bags = Vec::new();
        for (call, carried) in self.calls.calls.iter().zip(&mut carried) {
            let (state, values) = encode_call(call, carried)?;
            columns.extend(state);
            bags.push(values);
        }
        for carried in carried {
            for (&slot, one) in slots.iter().zip(carried) {
                self.partitions.at(slot)?.state.calls.push(one);
            }
        }
        let mut past: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(times))];
        past.extend(concat_batches(&self.calls.schema, &values)?.columns().iter().cloned());
        snapshot::put_part(bytes, |bytes| snapshot::encode(bytes, &(), &waiting.schema(), std::slice::from_ref(&waiting)))?;
        snapshot::put_part(bytes, |bytes| snapshot::encode_columns(bytes, columns))?;
        snapshot::put_part(bytes, |bytes| snapshot::encode_columns(bytes, past))?;
        snapshot::put_part(bytes, |bytes| {
            bags.into_iter().try_for_each(|bag| snapshot::put_part(bytes, |bytes| snapshot::encode_columns(bytes, bag)))
        })?;
        if self.leads.is_some() {
            let later = concat_batches(&self.plan.schema, &later)?;
            snapshot::put_part(bytes, |bytes| snapshot::encode(bytes, &counts, &self.plan.schema, &[later]))?;
        }
        Ok(())
    }

    pub(super) fn decode(&mut self, state: &[u8]) -> Result<()> {
        let (state, later) = match self.leads {
            None => (snapshot::unpack(state)?, None),
            Some(_) => {
                let [waiting, partitions, past, bags, later] = snapshot::unpack(state)?;
                ([waiting, partitions, past, bags], Some(later))
            }
        };
        let [waiting, partitions, past, bags] = state;
        let ((), waiting) = snapshot::decode(waiting)?;
        waiting.into_iter().try_for_each(|rows| self.reorder.restore(rows))?;
        let (columns, past, bags) = (snapshot::decode_columns(partitions)?, snapshot::decode_columns(past)?, snapshot::unpack_all(bags)?);
        let keys = self.plan.partition.len();
        let [times, past @ ..] = past.as_slice() else { return Err(damaged()) };
        if columns.len() < keys + 3 || bags.len() != self.calls.calls.len() || past.len() != self.calls.kept.len() {
            return Err(damaged());
        }
        let last = columns[keys].as_primitive_opt::<Int64Type>().ok_or_else(damaged)?;
        let numbers = |i: usize| columns[i].as_primitive_opt::<UInt64Type>().map(|c| c.values()).ok_or_else(damaged);
        let (rows, sizes) = (numbers(keys + 1)?, numbers(keys + 2)?);
        let times = times.as_primitive_opt::<Int64Type>().ok_or_else(damaged)?.values();
        if sizes.iter().try_fold(0, |sum: u64, &size| sum.checked_add(size)) != Some(times.len() as u64) {
            return Err(damaged());
        }
        let mut states = &columns[keys + 3..];
        let mut carried = Vec::new();
        for (call, bag) in self.calls.calls.iter().zip(bags) {
            carried.push(decode_call(call, &mut states, &snapshot::decode_columns(bag)?, rows.len())?.into_iter());
        }
        let calls = &self.calls;
        let slots = self.partitions.locate(&columns[..keys], rows.len(), || Partition::new(calls))?;
        let past =
            if past.is_empty() { None } else { Some(RecordBatch::try_new(calls.schema.clone(), past.to_vec()).map_err(|_| damaged())?) };
        let mut from = 0;
        for (row, &slot) in slots.iter().enumerate() {
            let to = from + sizes[row] as usize;
            let held = self.partitions.at(slot)?;
            held.last = last.value(row);
            let partition = &mut held.state;
            partition.rows = rows[row];
            partition.times = times[from..to].to_vec();
            partition.calls = carried.iter_mut().filter_map(Iterator::next).collect();
            if let Some(past) = &past {
                let rows = UInt64Array::from_iter_values(from as u64..to as u64);
                partition.values = compact(&take_record_batch(past, &rows)?)?;
            }
            partition.follow(calls)?;
            from = to;
        }
        self.past += times.len();
        later.map_or(Ok(()), |later| self.decode_later(later, &slots))
    }

    /// Rows that wait for later ones, by partition.
    fn decode_later(&mut self, state: &[u8], slots: &[usize]) -> Result<()> {
        let (counts, batches) = snapshot::decode::<Vec<u64>>(state)?;
        let ([all], Some(leads)) = (batches.as_slice(), &mut self.leads) else { return Err(damaged()) };
        let total = counts.iter().try_fold(0, |sum: u64, &count| sum.checked_add(count));
        if total != Some(all.num_rows() as u64) || counts.len() != slots.len() || all.num_columns() != self.plan.schema.fields().len() {
            return Err(damaged());
        }
        let all = RecordBatch::try_new(self.plan.schema.clone(), all.columns().to_vec()).map_err(|_| damaged())?;
        let mut from = 0;
        for (&slot, count) in slots.iter().zip(counts).filter(|(_, count)| *count > 0) {
            let count = count as usize;
            let rows = compact(&all.slice(from, count))?;
            leads.wait(&rows)?;
            self.partitions.at(slot)?.state.waiting = Some(rows);
            from += count;
        }
        Ok(())
    }
}

impl Partition {
    /// Makes the totals over frames that end of the past rows.
    fn follow(&mut self, calls: &Calls) -> Result<()> {
        let placeholder = |e: usize| new_null_array(&arrow::datatypes::DataType::Null, e);
        let mut values: Vec<ArrayRef> = calls.expressions.iter().map(|_| placeholder(self.times.len())).collect();
        calls.kept.iter().zip(self.values.columns()).for_each(|(&e, column)| values[e] = column.clone());
        for (call, carried) in calls.calls.iter().zip(&mut self.calls) {
            let (Kind::Aggregate { call: function, arguments, filter }, true) = (&call.kind, call.looks_back()) else { continue };
            *carried = Carried::new(call)?;
            if let Carried::Total(total, _) = carried {
                let inputs = inputs(&values, arguments, *filter)?;
                function.add(total, &inputs.part(call.first_seen(&self.times), self.times.len())?)?;
            }
        }
        Ok(())
    }
}

/// Columns of what a call carries along, a row a partition, and the values of its totals.
fn encode_call(call: &OverStep, carried: &mut [Carried]) -> Result<(Vec<ArrayRef>, Vec<ArrayRef>)> {
    if !call.carries() || carried.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    if let Kind::Aggregate { call: function, .. } = &call.kind {
        let totals = carried.iter_mut().filter_map(|c| if let Carried::Total(total, _) = c { Some(total) } else { None });
        let state = function.state(totals)?;
        let totals = carried.iter().filter_map(|c| if let Carried::Total(total, _) = c { Some(total) } else { None });
        return Ok((state, function.bags(totals)?));
    }
    let none = new_null_array(call.result.data_type(), 1);
    let edges = carried.iter().map(|c| if let Carried::Edge(edge) = c { edge.as_ref() } else { None });
    let known: BooleanArray = edges.clone().map(|edge| Some(edge.is_some())).collect();
    let values: Vec<&dyn Array> = edges.map(|edge| edge.unwrap_or(&none).as_ref()).collect();
    Ok((vec![concat(&values)?, Arc::new(known)], Vec::new()))
}

/// What a call carries along for each of `partitions`, from the next columns.
fn decode_call(call: &OverStep, columns: &mut &[ArrayRef], bag: &[ArrayRef], partitions: usize) -> Result<Vec<Carried>> {
    let mut next = |count: usize| {
        let (taken, rest) = columns.split_at_checked(count).ok_or_else(damaged)?;
        *columns = rest;
        Ok::<_, Error>(taken)
    };
    if partitions == 0 {
        return Ok(Vec::new());
    }
    if !call.carries() {
        return (0..partitions).map(|_| Carried::new(call)).collect();
    }
    if let Kind::Aggregate { call: function, .. } = &call.kind {
        let state = next(function.state_columns()?)?;
        let mut totals = (0..partitions).map(|row| function.resume(state, row)).collect::<Result<Vec<Total>>>()?;
        function.fill(bag, &mut totals)?;
        return Ok(totals.into_iter().map(|total| Carried::Total(total, ScalarValue::Null)).collect());
    }
    let state = next(2)?;
    let known = state[1].as_boolean_opt().ok_or_else(damaged)?;
    let edge = |row: usize| {
        let value = |row| take(&state[0], &UInt64Array::from(vec![row as u64]), None);
        Ok(Carried::Edge(if known.value(row) { Some(value(row)?) } else { None }))
    };
    (0..partitions).map(edge).collect()
}

fn damaged() -> Error {
    Error::corrupt("state of an OVER clause does not fit its plan")
}
