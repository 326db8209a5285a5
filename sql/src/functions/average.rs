//! `AVG`: DataFusion's, but of whole numbers it is a whole number of their type, as in Flink. Invariant: that is the exact mean, cut off
//! towards zero; rows may leave again.
//!
//! ```text
//! BIGINT ──► DECIMAL(20, 0) ──► DataFusion's AVG of decimals ──► DECIMAL(24, 4) ──► BIGINT
//! DECIMAL(p, s) ──► count and sum of DataFusion's AVG ──► `mean`
//! DOUBLE ──► `floats`
//! ```

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Coercion, EmitTo, GroupsAccumulator, ReversedUDAF, Signature, TypeSignature,
    TypeSignatureClass,
};

use super::floats::{self, Form};
use super::mean::{Digits, Mean, mean_type};

/// Every whole number, as a decimal.
const WHOLE: DataType = DataType::Decimal128(20, 0);

/// The function, over DataFusion's.
pub(super) fn average(inner: Arc<AggregateUDF>) -> Arc<AggregateUDF> {
    let whole = TypeSignature::Coercible(vec![Coercion::new_exact(TypeSignatureClass::Integer)]);
    let other = inner.signature().clone();
    let signature = Signature::one_of(vec![whole, other.type_signature], other.volatility);
    Arc::new(AggregateUDF::new_from_impl(Average { inner, signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Average {
    inner: Arc<AggregateUDF>,
    signature: Signature,
}

impl Average {
    /// The argument and the result of the mean of decimals.
    fn decimals(&self) -> Result<([FieldRef; 1], FieldRef)> {
        let result = self.inner.return_type(&[WHOLE])?;
        Ok(([Arc::new(Field::new("number", WHOLE, true))], Arc::new(Field::new("mean", result, true))))
    }
}

impl AggregateUDFImpl for Average {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [whole] if whole.is_integer() => Ok(whole.clone()),
            [DataType::Decimal128(precision, scale)] => Ok(mean_type(*precision, *scale)),
            _ => self.inner.return_type(types),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        if !args.return_field.data_type().is_integer() {
            return Ok(floats::state_fields(self.inner.state_fields(args)?));
        }
        let (input, return_field) = self.decimals()?;
        self.inner.state_fields(StateFieldsArgs { input_fields: &input, return_field, ..args })
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if floats::are_in(&args) {
            return floats::accumulator(&self.inner, args, Form::Mean);
        }
        if let Some(digits) = Digits::of(&args) {
            return Ok(Box::new(Mean { inner: self.inner.accumulator(args)?, digits }));
        }
        let to = args.return_field.data_type().clone();
        if !to.is_integer() {
            return self.inner.accumulator(args);
        }
        let (input, return_field) = self.decimals()?;
        let inner = self.inner.accumulator(AccumulatorArgs { expr_fields: &input, return_field, ..args })?;
        Ok(Box::new(Whole { inner, to }))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        match args.return_field.data_type().is_integer() {
            true => !args.is_distinct,
            false => self.inner.groups_accumulator_supported(args),
        }
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        if floats::are_in(&args) {
            return Ok(floats::groups(Form::Mean));
        }
        if let Some(digits) = Digits::of(&args) {
            return Ok(Box::new(Mean { inner: self.inner.create_groups_accumulator(args)?, digits }));
        }
        let to = args.return_field.data_type().clone();
        if !to.is_integer() {
            return self.inner.create_groups_accumulator(args);
        }
        let (input, return_field) = self.decimals()?;
        let inner = self.inner.create_groups_accumulator(AccumulatorArgs { expr_fields: &input, return_field, ..args })?;
        Ok(Box::new(Whole { inner, to }))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.inner.reverse_udf()
    }
}

/// A mean of decimals that takes whole numbers and gives one of type `to`.
#[derive(Debug)]
struct Whole<A> {
    inner: A,
    to: DataType,
}

fn decimals(values: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
    Ok(values.iter().map(|v| cast(v, &WHOLE)).collect::<Result<_, _>>()?)
}

impl Accumulator for Whole<Box<dyn Accumulator>> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(&decimals(values)?)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.retract_batch(&decimals(values)?)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.inner.evaluate()?.cast_to(&self.to)
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

impl GroupsAccumulator for Whole<Box<dyn GroupsAccumulator>> {
    fn update_batch(&mut self, values: &[ArrayRef], groups: &[usize], filter: Option<&BooleanArray>, total: usize) -> Result<()> {
        self.inner.update_batch(&decimals(values)?, groups, filter, total)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        Ok(cast(&self.inner.evaluate(emit_to)?, &self.to)?)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.inner.state(emit_to)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.inner.merge_batch(values, groups, total)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        self.inner.convert_to_state(&decimals(values)?, filter)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size()
    }
}
