//! What tests of operators share: aggregate calls, batches, and results as they stand after a changelog. Invariant: a changelog
//! that takes away what is not there fails the test.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion_common::ScalarValue;
use datafusion_functions_aggregate::{array_agg::array_agg_udaf, average::avg_udaf, count::count_udaf, sum::sum_udaf};
use datafusion_functions_aggregate::{median::median_udaf, min_max::max_udaf, min_max::min_udaf, variance::var_samp_udaf};
use datafusion_physical_expr::aggregate::AggregateExprBuilder;
use datafusion_physical_expr::expressions::col;
use datafusion_physical_expr_common::physical_expr::PhysicalExpr;

use crate::changes::{Changes, RowKind};
use crate::plan::RetractableAggregate;

/// A column of `schema`.
pub fn column(schema: &SchemaRef, name: &str) -> Arc<dyn PhysicalExpr> {
    col(name, schema).unwrap()
}

/// `function(argument)`; sliding accumulators take rows back where they can.
pub fn call(schema: &SchemaRef, function: &str, argument: &str, sliding: bool) -> RetractableAggregate {
    let arguments = vec![column(schema, argument)];
    let name = format!("{function}_{argument}");
    let function = match function {
        "array_agg" => array_agg_udaf(),
        "avg" => avg_udaf(),
        "count" => count_udaf(),
        "max" => max_udaf(),
        "median" => median_udaf(),
        "min" => min_udaf(),
        "sum" => sum_udaf(),
        "var" => var_samp_udaf(),
        other => panic!("no function {other}"),
    };
    let built = AggregateExprBuilder::new(function, arguments.clone()).schema(schema.clone()).alias(&name).build().unwrap();
    let built = Arc::new(built);
    let result = Arc::new(built.field().as_ref().clone().with_name(&name).with_nullable(true));
    let accumulator = Arc::new(move || {
        Ok(match built.create_sliding_accumulator() {
            Ok(accumulator) if sliding => accumulator,
            _ => built.create_accumulator()?,
        })
    });
    RetractableAggregate { name, arguments, distinct: false, filter: None, accumulator, result }
}

/// A schema of nullable columns.
pub fn schema(columns: &[(&str, arrow::datatypes::DataType)]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|(name, t)| Field::new(*name, t.clone(), true)).collect::<Vec<_>>()))
}

/// A row as text, each value to its last bit.
pub fn row(rows: &RecordBatch, i: usize) -> String {
    let value = |c: &arrow::array::ArrayRef| format!("{:?}", ScalarValue::try_from_array(c, i).unwrap());
    rows.columns().iter().map(value).collect::<Vec<_>>().join(" ")
}

/// Rows as text.
pub fn rows(batch: &RecordBatch) -> Vec<String> {
    (0..batch.num_rows()).map(|i| row(batch, i)).collect()
}

/// A changelog as text, as Flink prints it.
pub fn log(out: &[Changes]) -> Vec<String> {
    out.iter().flat_map(|c| (0..c.len()).map(move |i| format!("{}[{}]", c.kind(i).sign(), row(&c.rows, i)))).collect()
}

/// A result: rows with how often each is there.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Folded(BTreeMap<String, u64>);

impl Folded {
    /// A result of these rows.
    pub fn of(rows: impl IntoIterator<Item = String>) -> Self {
        let mut folded = Self::default();
        rows.into_iter().for_each(|r| *folded.0.entry(r).or_default() += 1);
        folded
    }

    /// Applies changes; an update must come as a pair.
    pub fn apply(&mut self, out: &[Changes]) {
        for changes in out {
            let mut before = RowKind::Insert;
            for i in 0..changes.len() {
                let (row, kind) = (row(&changes.rows, i), changes.kind(i));
                assert_eq!(kind == RowKind::UpdateAfter, before == RowKind::UpdateBefore, "half an update at {row}");
                before = kind;
                if kind.adds() {
                    *self.0.entry(row).or_default() += 1;
                } else {
                    let count = self.0.get_mut(&row).unwrap_or_else(|| panic!("{} of {row}, which is not there", kind.sign()));
                    *count -= 1;
                    if *count == 0 {
                        self.0.remove(&row);
                    }
                }
            }
            assert_ne!(before, RowKind::UpdateBefore, "half an update");
        }
    }
}
