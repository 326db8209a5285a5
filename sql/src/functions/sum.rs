//! `SUM`: DataFusion's, but of decimals whose sum may have more than 38 digits it is added up in 76. Invariant: it is exact whatever rows
//! come, leave or are merged, and NULL while it does not fit 38 digits.
//!
//! ```text
//! DECIMAL(30, 2) ──► DECIMAL(76, 2) ──► DataFusion's SUM ──► DECIMAL(38, 2), or NULL
//! ```
//!
//! Floating-point numbers are added up by `floats`; whole numbers and decimals of less than 28 digits are DataFusion's alone.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Decimal128Array};
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal256Type, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, Expr, GroupsAccumulator, Operator, ReversedUDAF, Signature,
};

use super::decimals::{fitting, wide, widened};
use super::floats::{self, Form};

/// The function, over DataFusion's.
pub(super) fn sum(inner: Arc<AggregateUDF>) -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::new_from_impl(Sum { inner }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Sum {
    inner: Arc<AggregateUDF>,
}

/// The result of the sum within, if that of the sum could be too small.
fn wide_result(result: &FieldRef) -> Option<FieldRef> {
    match result.data_type() {
        DataType::Decimal128(DECIMAL128_MAX_PRECISION, scale) => Some(Arc::new(Field::new("sum", wide(*scale), true))),
        _ => None,
    }
}

impl AggregateUDFImpl for Sum {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        match wide_result(&args.return_field) {
            Some(return_field) => self.inner.state_fields(StateFieldsArgs { return_field, ..args }),
            None => Ok(floats::state_fields(self.inner.state_fields(args)?)),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if floats::are_in(&args) {
            return floats::accumulator(&self.inner, args, Form::Sum);
        }
        match wide_result(&args.return_field) {
            Some(return_field) => Ok(Box::new(Wide(self.inner.accumulator(AccumulatorArgs { return_field, ..args })?))),
            None => self.inner.accumulator(args),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if floats::are_in(&args) && !args.is_distinct {
            return floats::accumulator(&self.inner, args, Form::Counted);
        }
        match wide_result(&args.return_field) {
            Some(return_field) if !args.is_distinct => {
                Ok(Box::new(Wide(self.inner.create_sliding_accumulator(AccumulatorArgs { return_field, ..args })?)))
            }
            _ => self.inner.create_sliding_accumulator(args),
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        if floats::are_in(&args) {
            return Ok(floats::groups(Form::Sum));
        }
        match wide_result(&args.return_field) {
            Some(return_field) => Ok(Box::new(Wide(self.inner.create_groups_accumulator(AccumulatorArgs { return_field, ..args })?))),
            None => self.inner.create_groups_accumulator(args),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.inner.reverse_udf()
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn simplify_expr_op_literal(
        &self,
        call: &AggregateFunction,
        argument: &Expr,
        operator: Operator,
        literal: &Expr,
        argument_is_left: bool,
    ) -> Result<Option<Expr>> {
        self.inner.simplify_expr_op_literal(call, argument, operator, literal, argument_is_left)
    }
}

/// A sum of wide decimals that takes narrow ones and gives one.
#[derive(Debug)]
struct Wide<A>(A);

fn all_widened(values: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
    values.iter().map(widened).collect()
}

impl Accumulator for Wide<Box<dyn Accumulator>> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.update_batch(&all_widened(values)?)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.retract_batch(&all_widened(values)?)
    }

    fn supports_retract_batch(&self) -> bool {
        self.0.supports_retract_batch()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        match self.0.evaluate()? {
            ScalarValue::Decimal256(sum, _, scale) => {
                let sum = sum.and_then(|s| fitting(s, DECIMAL128_MAX_PRECISION));
                Ok(ScalarValue::Decimal128(sum, DECIMAL128_MAX_PRECISION, scale))
            }
            other => internal_err!("a sum of wide decimals is {other}"),
        }
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.0.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.0.merge_batch(&all_widened(states)?)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.0.size()
    }
}

impl GroupsAccumulator for Wide<Box<dyn GroupsAccumulator>> {
    fn update_batch(&mut self, values: &[ArrayRef], groups: &[usize], filter: Option<&BooleanArray>, total: usize) -> Result<()> {
        self.0.update_batch(&all_widened(values)?, groups, filter, total)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let wide = self.0.evaluate(emit_to)?;
        let DataType::Decimal256(_, scale) = wide.data_type() else {
            return internal_err!("sums of wide decimals are {}", wide.data_type());
        };
        let sums = wide.as_primitive::<Decimal256Type>().iter().map(|s| fitting(s?, DECIMAL128_MAX_PRECISION));
        let sums = sums.collect::<Decimal128Array>().with_precision_and_scale(DECIMAL128_MAX_PRECISION, *scale)?;
        Ok(Arc::new(sums))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.0.state(emit_to)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.0.merge_batch(&all_widened(values)?, groups, total)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        self.0.convert_to_state(&all_widened(values)?, filter)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.0.size()
    }
}
