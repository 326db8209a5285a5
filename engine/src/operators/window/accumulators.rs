//! The accumulators of a window's aggregates. Invariant: after `state` or `evaluate` they are as new, and merging a state into an empty
//! group gives that state, bit by bit. COUNT, SUM, AVG, MIN and MAX keep to it; a variance does not, because its merge rounds.

use std::borrow::Cow;

use arrow::array::{ArrayRef, AsArray};
use datafusion_expr_common::groups_accumulator::{EmitTo, GroupsAccumulator};

use crate::error::{Error, Result};
use crate::operators::keys::canonical;
use crate::plan;

/// One accumulator an aggregate, each with a state a group.
pub struct Accumulators(Vec<Box<dyn GroupsAccumulator>>);

impl Accumulators {
    /// Empty ones.
    pub fn new(window: &plan::Window) -> Result<Self> {
        Ok(Self(window.aggregates.iter().map(|a| (a.accumulator)()).collect::<Result<_>>()?))
    }

    /// Adds rows: `inputs` are each aggregate's arguments and, where the plan says so, its filter; `groups` has the group of each
    /// row, below `total`; every group below `total` has a row, here or before.
    pub fn update(&mut self, window: &plan::Window, inputs: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        let mut rest = inputs;
        for (aggregate, accumulator) in window.aggregates.iter().zip(&mut self.0) {
            let (arguments, after) = rest.split_at(aggregate.arguments.len());
            let (filter, after) = match aggregate.filter {
                Some(_) => {
                    let condition = after[0].as_boolean_opt();
                    (Some(condition.ok_or_else(|| Error::internal("the FILTER of an aggregate is not BOOLEAN"))?), &after[1..])
                }
                None => (None, after),
            };
            let arguments = if aggregate.distinct { canonical(arguments) } else { Cow::Borrowed(arguments) };
            accumulator.update_batch(&arguments, groups, filter, total)?;
            rest = after;
        }
        Ok(())
    }

    /// Adds states, in their order; `groups` and `total` as for rows.
    pub fn merge(&mut self, window: &plan::Window, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        let mut rest = states;
        for (aggregate, accumulator) in window.aggregates.iter().zip(&mut self.0) {
            let (states, after) = rest.split_at(aggregate.state.len());
            accumulator.merge_batch(states, groups, total)?;
            rest = after;
        }
        Ok(())
    }

    /// Memory that they take, in bytes.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|a| a.size()).sum()
    }

    /// The states of all groups.
    pub fn state(&mut self) -> Result<Vec<ArrayRef>> {
        let mut states = Vec::new();
        for accumulator in &mut self.0 {
            states.extend(accumulator.state(EmitTo::All)?);
        }
        Ok(states)
    }

    /// The results of all groups.
    pub fn evaluate(&mut self) -> Result<Vec<ArrayRef>> {
        self.0.iter_mut().map(|a| Ok(a.evaluate(EmitTo::All)?)).collect()
    }
}
