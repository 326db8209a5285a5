//! What an aggregate function can do, found by trying it out: functions claim more than they can. The sliding MIN takes back only
//! the oldest row, a sum of floating-point numbers that takes 1e16 back has lost what was added to it, and a variance that is
//! merged from its state is not the same to the last bit. Invariant: an ability is granted only if every trial agrees bit by bit.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion_common::{DataFusionError, Result, ScalarValue};
use datafusion_expr_common::accumulator::Accumulator;

use crate::plan::RetractableFactory;

/// Rows of a trial.
const ROWS: usize = 48;
/// Rows that are in at most while rows are taken back.
const INSIDE: usize = 5;

/// What a function can do, with arguments of given types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// Rows that come in one batch give the same as rows that come one by one.
    pub batches: bool,
    /// Its state, merged into a new accumulator, goes on as the accumulator would have.
    pub resumes: bool,
    /// Giving its state leaves it as it was, and there is nothing to win if it is made anew from that.
    pub stays: bool,
    /// It holds little more than its state.
    pub lean: bool,
    /// It can take back the oldest row.
    pub slides: bool,
    /// It can take back any row, and bears it if there is no such row.
    pub retracts: bool,
}

/// Tries the accumulators of `factory` out.
pub fn abilities(factory: &RetractableFactory, types: &[DataType]) -> crate::error::Result<Abilities> {
    factory()?;
    let make = || factory().map_err(|e| DataFusionError::External(Box::new(e)));
    let few = |i: usize| (i * 5 % 7) as i64;
    let plain = Samples::new(types, |i| (i * 7919 % 1_000) as f64 / 7.0 - 40.0, few);
    let wild = |i: usize| match i % 6 {
        0 => 0.1,
        1 => 1e16,
        3 if i > 30 => f64::NAN,
        4 => f64::INFINITY,
        _ => (i * 31 % 17) as f64 / 3.0,
    };
    let wild = Samples::new(types, wild, few);
    let rising = Samples::new(types, |i| i as f64, |i| i as i64 + 20);
    let falling = Samples::new(types, |i| -(i as f64), |i| 99 - i as i64);
    let (Some(plain), Some(wild), Some(rising), Some(falling)) = (plain, wild, rising, falling) else {
        // Functions over values without arithmetic keep them as they are.
        return Ok(Abilities { batches: false, resumes: true, stays: false, lean: true, slides: false, retracts: false });
    };
    let granted = |trial: Result<bool>| trial.unwrap_or(false);
    Ok(Abilities {
        batches: granted(takes_batches(&make, &plain)),
        resumes: granted(resumes(&make, &plain)),
        stays: granted(stays(&make, &plain)) && granted(stays(&make, &wild)),
        lean: granted(is_lean(&make, &rising)) && granted(is_lean(&make, &falling)),
        slides: granted(takes_back(&make, &plain, Back::Oldest)) && granted(takes_back(&make, &wild, Back::Oldest)),
        retracts: granted(takes_back(&make, &plain, Back::Any))
            && granted(takes_back(&make, &wild, Back::Any))
            && granted(bears_strangers(&make, &plain)),
    })
}

/// Arguments of a trial.
struct Samples(Vec<ArrayRef>);

impl Samples {
    /// Numbers for floating-point arguments, small integers as values of other types; one in eleven is NULL. None if a type has
    /// no such values.
    fn new(types: &[DataType], float: impl Fn(usize) -> f64, integer: impl Fn(usize) -> i64) -> Option<Self> {
        let sample = |(argument, data_type): (usize, &DataType)| {
            let place = |i: usize| (i % 11 != 5).then_some(i + 13 * argument);
            let values: ArrayRef = if data_type.is_floating() {
                Arc::new((0..ROWS).map(|i| place(i).map(&float)).collect::<Float64Array>())
            } else {
                Arc::new((0..ROWS).map(|i| place(i).map(&integer)).collect::<Int64Array>())
            };
            let values = cast(&values, data_type).ok()?;
            (values.null_count() < ROWS / 2).then_some(values)
        };
        types.iter().enumerate().map(sample).collect::<Option<_>>().map(Self)
    }

    fn rows(&self, from: usize, count: usize) -> Vec<ArrayRef> {
        self.0.iter().map(|a| a.slice(from, count)).collect()
    }
}

type Make<'a> = &'a dyn Fn() -> Result<Box<dyn Accumulator>>;

fn takes_batches(make: Make, samples: &Samples) -> Result<bool> {
    for count in 1..=ROWS {
        let (mut whole, mut single) = (make()?, make()?);
        whole.update_batch(&samples.rows(0, count))?;
        for i in 0..count {
            single.update_batch(&samples.rows(i, 1))?;
        }
        if whole.evaluate()? != single.evaluate()? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn resumes(make: Make, samples: &Samples) -> Result<bool> {
    for rows in 0..ROWS {
        let (mut straight, mut before) = (make()?, make()?);
        for i in 0..rows {
            straight.update_batch(&samples.rows(i, 1))?;
            before.update_batch(&samples.rows(i, 1))?;
        }
        let state = before.state()?;
        if resume(make, &state)?.state()? != state {
            return Ok(false);
        }
        let mut resumed = resume(make, &state)?;
        straight.update_batch(&samples.rows(rows, 1))?;
        resumed.update_batch(&samples.rows(rows, 1))?;
        if straight.evaluate()? != resumed.evaluate()? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether an accumulator goes on as one that nobody asked for its state. A list is better given away: the pieces that it came in are one
/// then, and those hold on to the batches that they were cut from.
fn stays(make: Make, samples: &Samples) -> Result<bool> {
    let (mut asked, mut other) = (make()?, make()?);
    if asked.state()?.iter().any(|s| matches!(s, ScalarValue::List(_))) {
        return Ok(false);
    }
    for i in 0..ROWS {
        asked.update_batch(&samples.rows(i, 1))?;
        other.update_batch(&samples.rows(i, 1))?;
        let state = asked.state()?;
        if asked.state()? != state || asked.evaluate()? != other.evaluate()? {
            return Ok(false);
        }
    }
    Ok(asked.state()? == other.state()?)
}

/// An accumulator with that state.
fn resume(make: Make, state: &[ScalarValue]) -> Result<Box<dyn Accumulator>> {
    let state = state.iter().map(|s| s.to_array()).collect::<Result<Vec<_>>>()?;
    let mut new = make()?;
    new.merge_batch(&state)?;
    Ok(new)
}

fn is_lean(make: Make, samples: &Samples) -> Result<bool> {
    let mut accumulator = make()?;
    for i in 0..ROWS {
        accumulator.update_batch(&samples.rows(i, 1))?;
    }
    let held = accumulator.size();
    // Lists grow anyhow, and giving them away each time would cost more.
    let lists = make()?.state()?.iter().any(|s| s.data_type().is_nested());
    Ok(lists || held <= 2 * resume(make, &accumulator.state()?)?.size())
}

/// Which row is taken back.
#[derive(Clone, Copy)]
enum Back {
    Oldest,
    Any,
}

fn takes_back(make: Make, samples: &Samples, back: Back) -> Result<bool> {
    let mut accumulator = make()?;
    if !accumulator.supports_retract_batch() {
        return Ok(false);
    }
    let mut inside = VecDeque::new();
    for i in 0..ROWS {
        accumulator.update_batch(&samples.rows(i, 1))?;
        inside.push_back(i);
        let place = match back {
            Back::Oldest => 0,
            Back::Any => i % inside.len(),
        };
        // At times all of them but one leave.
        let most = if i % 9 == 8 { 1 } else { INSIDE };
        while inside.len() > most {
            let row = inside.remove(place.min(inside.len() - 1)).unwrap_or(i);
            accumulator.retract_batch(&samples.rows(row, 1))?;
        }
        let mut anew = make()?;
        for &row in &inside {
            anew.update_batch(&samples.rows(row, 1))?;
        }
        if accumulator.evaluate()? != anew.evaluate()? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a row may be taken back that was never there, as long as as many rows are.
fn bears_strangers(make: Make, samples: &Samples) -> Result<bool> {
    let mut accumulator = make()?;
    accumulator.update_batch(&samples.rows(0, 2))?;
    accumulator.retract_batch(&samples.rows(2, 1))?;
    accumulator.evaluate()?;
    Ok(true)
}
