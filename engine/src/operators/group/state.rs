//! State of a GROUP BY as bytes. Invariant: groups stand in the order of their keys, so that equal state is equal bytes.
//!
//! ```text
//! watermark; rows that wait │ keys, rows, last change, states of the totals │ a part a call: values of the totals
//! ```

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, UInt64Array};
use arrow::datatypes::{Int64Type, Schema, UInt64Type};
use datafusion_common::ScalarValue;

use super::{GroupOperator, GroupState};
use crate::error::{Error, Result};
use crate::operators::accumulate::Total;
use crate::state::snapshot;
use crate::time::Micros;

impl GroupOperator {
    pub(super) fn encode(&mut self, bytes: &mut Vec<u8>) -> Result<()> {
        snapshot::put_part(bytes, |bytes| match &mut self.reorder {
            Some(reorder) => {
                let rows = reorder.snapshot()?;
                snapshot::encode(bytes, &self.now, &rows.schema(), std::slice::from_ref(&rows))
            }
            None => snapshot::encode(bytes, &self.now, &Arc::new(Schema::empty()), &[]),
        })?;
        let slots = self.groups.sorted();
        let mut columns = self.groups.columns(&slots)?;
        let (mut rows, mut last) = (Vec::new(), Vec::new());
        // The totals of each call, in the order of groups.
        let mut totals: Vec<Vec<Total>> = self.calls.iter().map(|_| Vec::new()).collect();
        for &slot in &slots {
            let held = self.groups.at(slot)?;
            rows.push(held.state.rows);
            last.push(held.last);
            totals.iter_mut().zip(held.state.totals.drain(..)).for_each(|(all, total)| all.push(total));
        }
        columns.push(Arc::new(UInt64Array::from(rows)));
        columns.push(Arc::new(Int64Array::from(last)));
        let mut bags = Vec::new();
        for (call, totals) in self.calls.iter().zip(&mut totals) {
            columns.extend(call.state(totals.iter_mut())?);
            bags.push(call.bags(totals.iter())?);
        }
        self.hand_out(&slots, totals)?;
        snapshot::put_part(bytes, |bytes| snapshot::encode_columns(bytes, columns))?;
        snapshot::put_part(bytes, |bytes| {
            bags.into_iter().try_for_each(|bag| snapshot::put_part(bytes, |bytes| snapshot::encode_columns(bytes, bag)))
        })
    }

    /// Gives each group its totals.
    fn hand_out(&mut self, slots: &[usize], totals: Vec<Vec<Total>>) -> Result<()> {
        for all in totals {
            for (&slot, total) in slots.iter().zip(all) {
                self.groups.at(slot)?.state.totals.push(total);
            }
        }
        Ok(())
    }

    pub(super) fn decode(&mut self, state: &[u8]) -> Result<()> {
        let [waiting, groups, bags] = snapshot::unpack(state)?;
        let (now, waiting) = snapshot::decode::<Micros>(waiting)?;
        self.now = now;
        for rows in waiting {
            let reorder = self.reorder.as_mut().ok_or_else(|| Error::corrupt("rows wait for a step that needs no order"))?;
            reorder.restore(rows)?;
        }
        let groups = snapshot::decode_columns(groups)?;
        if groups.len() < self.plan.keys.len() + 2 {
            return Err(damaged());
        }
        let (keys, rest) = groups.split_at(self.plan.keys.len());
        let rows = rest[0].as_primitive_opt::<UInt64Type>().ok_or_else(damaged)?;
        let last = rest[1].as_primitive_opt::<Int64Type>().ok_or_else(damaged)?;
        let empty = || Ok(GroupState { rows: 0, totals: Vec::new(), results: vec![ScalarValue::Null; self.calls.len()] });
        let slots = self.groups.locate(keys, rows.len(), empty)?;
        let totals = self.resume(&rest[2..], bags, rows.len())?;
        self.hand_out(&slots, totals)?;
        for (row, &slot) in slots.iter().enumerate() {
            let held = self.groups.at(slot)?;
            held.last = last.value(row);
            held.state.rows = rows.value(row);
            held.state.tell(&self.calls, 0, 0, &mut Vec::new())?;
        }
        Ok(())
    }

    /// The totals of each call, in the order of groups.
    fn resume(&self, mut states: &[ArrayRef], bags: &[u8], groups: usize) -> Result<Vec<Vec<Total>>> {
        let bags = snapshot::unpack_all(bags)?;
        if bags.len() != self.calls.len() {
            return Err(damaged());
        }
        let mut totals = Vec::new();
        for (call, bags) in self.calls.iter().zip(bags) {
            let columns = if groups == 0 { 0 } else { call.state_columns()? };
            let (state, rest) = states.split_at_checked(columns).ok_or_else(damaged)?;
            let mut all = (0..groups).map(|row| call.resume(state, row)).collect::<Result<Vec<Total>>>()?;
            call.fill(&snapshot::decode_columns(bags)?, &mut all)?;
            totals.push(all);
            states = rest;
        }
        Ok(totals)
    }
}

fn damaged() -> Error {
    Error::corrupt("state of a GROUP BY does not fit its plan")
}
