//! `SUM` and `AVG` of floating-point numbers, over `Total`. Invariant: neither the order of rows nor where they are cut shows in a result.
//!
//! ```text
//! state of SUM      {sum, rest}                of an earlier version: the sum, as DataFusion's
//! that slides       {sum, rest}, count
//! state of AVG      count, {sum, rest}
//! ```
//!
//! Distinct values are kept by DataFusion, in no order, and added up here.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, UInt64Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, FieldRef, Float64Type, UInt64Type};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{Accumulator, AggregateUDF, EmitTo, GroupsAccumulator};
use thalweg_engine::plan::{as_float_sums, float_sum, float_sums};

use super::total::Total;

/// What is made of a sum, and the columns of its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The sum; state: the sum.
    Sum,
    /// The sum of rows that may leave; state: the sum, the count.
    Counted,
    /// The mean; state: the count, the sum.
    Mean,
}

/// Whether a call is one of floating-point numbers.
pub(super) fn are_in(args: &AccumulatorArgs) -> bool {
    let argument = args.expr_fields.first().map(|f| f.data_type());
    argument == Some(&DataType::Float64) && *args.return_field.data_type() == DataType::Float64
}

/// The columns of a state, where DataFusion's has sums of one number.
pub(super) fn state_fields(fields: Vec<FieldRef>) -> Vec<FieldRef> {
    let field = |field: FieldRef| match field.data_type() {
        DataType::Float64 => Arc::new(field.as_ref().clone().with_data_type(float_sum())),
        _ => field,
    };
    fields.into_iter().map(field).collect()
}

/// For one group; `inner` knows distinct values.
pub(super) fn accumulator(inner: &AggregateUDF, args: AccumulatorArgs, form: Form) -> Result<Box<dyn Accumulator>> {
    if args.is_distinct {
        return Ok(Box::new(Distinct { inner: inner.accumulator(args)?, form }));
    }
    Ok(Box::new(One { total: Total::default(), form }))
}

/// For many groups.
pub(super) fn groups(form: Form) -> Box<dyn GroupsAccumulator> {
    Box::new(Many { totals: Vec::new(), form })
}

fn result(total: Total, form: Form) -> Option<f64> {
    match (form, total.count) {
        (_, 0) => None,
        (Form::Mean, count) => Some(total.rounded() / count as f64),
        (Form::Sum | Form::Counted, _) => Some(total.rounded()),
    }
}

fn floats(values: &[ArrayRef]) -> Result<&Float64Array> {
    match values.first().and_then(|v| v.as_primitive_opt::<Float64Type>()) {
        Some(values) => Ok(values),
        None => internal_err!("a sum of floating-point numbers is of other values"),
    }
}

fn each(values: &[ArrayRef], mut of: impl FnMut(f64)) -> Result<()> {
    let values = floats(values)?;
    match values.null_count() {
        0 => values.values().iter().for_each(|value| of(*value)),
        _ => values.iter().flatten().for_each(of),
    }
    Ok(())
}

/// Totals as the columns of a state.
fn columns(totals: &[Total], form: Form) -> Result<Vec<ArrayRef>> {
    let nulls = Some(totals.iter().map(|t| t.count > 0).collect::<NullBuffer>()).filter(|n| n.null_count() > 0);
    let sums = float_sums(totals.iter().map(|t| t.sum).collect(), totals.iter().map(|t| t.rest).collect(), nulls)?;
    let sums: ArrayRef = Arc::new(sums);
    let counts = || -> ArrayRef { Arc::new(UInt64Array::from_iter_values(totals.iter().map(|t| t.count))) };
    Ok(match form {
        Form::Sum => vec![sums],
        Form::Counted => vec![sums, counts()],
        Form::Mean => vec![counts(), sums],
    })
}

/// The totals of `columns`, or of a state of an earlier version.
fn totals(states: &[ArrayRef], form: Form) -> Result<Vec<Total>> {
    let (sums, counts) = match (form, states) {
        (Form::Sum, [sums]) => (sums, None),
        (Form::Counted, [sums, counts]) | (Form::Mean, [counts, sums]) => (sums, counts.as_primitive_opt::<UInt64Type>()),
        _ => return internal_err!("the state of a sum has {} columns", states.len()),
    };
    let states = as_float_sums(sums)?;
    let [sums, rests] = [0, 1].map(|column| states.column(column).as_primitive::<Float64Type>());
    let total = |row: usize| match states.is_valid(row) {
        true => Total { sum: sums.value(row), rest: rests.value(row), count: counts.map_or(1, |c| c.value(row)) },
        false => Total::default(),
    };
    Ok((0..states.len()).map(total).collect())
}

/// Of one group.
#[derive(Debug)]
struct One {
    total: Total,
    form: Form,
}

impl Accumulator for One {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        each(values, |value| self.total.take(value))
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        each(values, |value| self.total.give(value))
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(result(self.total, self.form)))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        columns(&[self.total], self.form)?.iter().map(|c| ScalarValue::try_from_array(c, 0)).collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        totals(states, self.form)?.into_iter().for_each(|other| self.total.merge(other));
        Ok(())
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// Of many groups.
struct Many {
    totals: Vec<Total>,
    form: Form,
}

impl GroupsAccumulator for Many {
    fn update_batch(&mut self, values: &[ArrayRef], groups: &[usize], filter: Option<&BooleanArray>, total: usize) -> Result<()> {
        let values = floats(values)?;
        self.totals.resize(total, Total::default());
        let counted = filter.map(|f| match f.nulls() {
            Some(nulls) => NullBuffer::new(nulls.inner() & f.values()),
            None => NullBuffer::new(f.values().clone()),
        });
        match NullBuffer::union(values.nulls(), counted.as_ref()) {
            None => groups.iter().zip(values.values()).for_each(|(&group, &value)| self.totals[group].take(value)),
            Some(counted) => counted.valid_indices().for_each(|row| self.totals[groups[row]].take(values.value(row))),
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let totals = emit_to.take_needed(&mut self.totals);
        Ok(Arc::new(totals.into_iter().map(|t| result(t, self.form)).collect::<Float64Array>()))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        columns(&emit_to.take_needed(&mut self.totals), self.form)
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.totals.resize(total, Total::default());
        groups.iter().zip(totals(states, self.form)?).for_each(|(&group, other)| self.totals[group].merge(other));
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let rows = floats(values)?.len();
        let mut each = Self { totals: Vec::new(), form: self.form };
        each.update_batch(values, &(0..rows).collect::<Vec<_>>(), filter, rows)?;
        each.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.totals.capacity() * size_of::<Total>()
    }
}

/// Of the values that another accumulator keeps, each once.
#[derive(Debug)]
struct Distinct {
    inner: Box<dyn Accumulator>,
    form: Form,
}

impl Accumulator for Distinct {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let state = self.inner.state()?;
        let [ScalarValue::List(kept)] = state.as_slice() else { return internal_err!("distinct values are no list") };
        let mut values = Vec::new();
        each(&[kept.value(0)], |value| values.push(value))?;
        values.sort_unstable_by(f64::total_cmp);
        let mut total = Total::default();
        values.into_iter().for_each(|value| total.take(value));
        Ok(ScalarValue::Float64(result(total, self.form)))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn array(values: &[f64]) -> ArrayRef {
        Arc::new(Float64Array::from(values.to_vec()))
    }

    fn one(form: Form, values: &[f64]) -> One {
        let mut one = One { total: Total::default(), form };
        one.update_batch(&[array(values)]).unwrap();
        one
    }

    fn many(form: Form) -> Many {
        Many { totals: Vec::new(), form }
    }

    fn state(one: &mut One) -> Vec<ArrayRef> {
        one.state().unwrap().iter().map(|s| s.to_array().unwrap()).collect()
    }

    /// Numbers of either sign and of sizes from 2^-20 to 2^20, and the same in another order.
    fn numbers() -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> {
        let number = (any::<bool>(), 0..1_u64 << 52, -20..20_i32).prop_map(|(is_negative, digits, power)| {
            let size = (1.0 + digits as f64 / (1_u64 << 52) as f64) * 2_f64.powi(power);
            if is_negative { -size } else { size }
        });
        prop::collection::vec(number, 1..200).prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle()))
    }

    /// The sum, rounded once: `numbers` are multiples of 2^-72.
    fn exact(values: &[f64]) -> f64 {
        let unit = 2_f64.powi(72);
        values.iter().map(|v| (v * unit) as i128).sum::<i128>() as f64 / unit
    }

    proptest! {
        #[test]
        fn a_sum_is_rounded_once_in_any_order_and_cut((values, shuffled) in numbers(), cut in 1..50_usize, groups in 1..5_usize) {
            let want = exact(&values);
            let mut whole = one(Form::Counted, &[]);
            for part in shuffled.chunks(cut) {
                whole.merge_batch(&state(&mut one(Form::Counted, part))).unwrap();
            }
            prop_assert_eq!(whole.evaluate().unwrap(), ScalarValue::Float64(Some(want)));
            for (form, want) in [(Form::Sum, want), (Form::Mean, want / values.len() as f64)] {
                let (mut parts, mut all) = (many(form), many(form));
                let of: Vec<usize> = (0..shuffled.len()).map(|i| i * 7 % groups).collect();
                parts.update_batch(&[array(&shuffled)], &of, None, groups).unwrap();
                all.merge_batch(&parts.state(EmitTo::All).unwrap(), &vec![0; groups], 1).unwrap();
                let got = all.evaluate(EmitTo::All).unwrap().as_primitive::<Float64Type>().value(0);
                prop_assert_eq!(got.to_bits(), want.to_bits(), "{} is not {}", got, want);
            }
            let (stay, leave) = shuffled.split_at(cut.min(shuffled.len()));
            whole.retract_batch(&[array(leave)]).unwrap();
            prop_assert_eq!(whole.evaluate().unwrap(), ScalarValue::Float64(Some(exact(stay))));
            whole.retract_batch(&[array(stay)]).unwrap();
            prop_assert_eq!(whole.evaluate().unwrap(), ScalarValue::Float64(None));
        }

        #[test]
        fn a_state_goes_on_bit_by_bit(values in prop::collection::vec(prop::num::f64::ANY, 0..100), cut in 0..100_usize) {
            let (before, after) = values.split_at(cut.min(values.len()));
            for form in [Form::Counted, Form::Mean] {
                let mut resumed = one(form, &[]);
                resumed.merge_batch(&state(&mut one(form, before))).unwrap();
                resumed.update_batch(&[array(after)]).unwrap();
                let shown = |one: &mut One| format!("{:?}", one.evaluate().unwrap());
                prop_assert_eq!(shown(&mut resumed), shown(&mut one(form, &values)));
            }
        }
    }

    #[test]
    fn nulls_and_what_a_filter_leaves_out_do_not_count() {
        let values: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), None, Some(2.0), Some(4.0), Some(8.0)]));
        let filter = BooleanArray::from(vec![Some(true), Some(true), Some(false), None, Some(true)]);
        let mut means = many(Form::Mean);
        means.update_batch(std::slice::from_ref(&values), &[0, 0, 1, 1, 0], Some(&filter), 3).unwrap();
        let want = Float64Array::from(vec![Some(4.5), None, None]);
        assert_eq!(means.evaluate(EmitTo::All).unwrap().as_primitive::<Float64Type>(), &want);
        let rows = means.convert_to_state(&[values], Some(&filter)).unwrap();
        means.merge_batch(&rows, &[0, 0, 1, 1, 0], 3).unwrap();
        assert_eq!(means.evaluate(EmitTo::All).unwrap().as_primitive::<Float64Type>(), &want);
    }

    #[test]
    fn state_of_an_earlier_version_is_taken_over() {
        let (sums, counts): (ArrayRef, ArrayRef) =
            (Arc::new(Float64Array::from(vec![Some(0.5), None])), Arc::new(UInt64Array::from(vec![2, 0])));
        for (form, states, want) in [(Form::Sum, vec![sums.clone()], 0.5), (Form::Mean, vec![counts, sums], 0.25)] {
            let mut many = many(form);
            many.merge_batch(&states, &[0, 1], 2).unwrap();
            let want = Float64Array::from(vec![Some(want), None]);
            assert_eq!(many.evaluate(EmitTo::All).unwrap().as_primitive::<Float64Type>(), &want);
        }
        let wrong: ArrayRef = Arc::new(UInt64Array::from(vec![1]));
        assert!(many(Form::Sum).merge_batch(&[wrong], &[0], 1).is_err());
    }
}
