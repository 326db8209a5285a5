//! `map['key']`. Invariant: the key that is looked for has the type of the map's keys: DataFusion compares them as they are, and a text
//! of another form is an error for every row.

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result, ScalarValue, plan_err};
use datafusion::functions::core::get_field;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawFieldAccessExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, GetFieldAccess, lit};

/// Plans the values of maps.
#[derive(Debug)]
pub(crate) struct MapKeys;

impl ExprPlanner for MapKeys {
    fn plan_field_access(&self, access: RawFieldAccessExpr, schema: &DFSchema) -> Result<PlannerResult<RawFieldAccessExpr>> {
        let Ok(DataType::Map(entries, _)) = access.expr.get_type(schema) else { return Ok(PlannerResult::Original(access)) };
        let DataType::Struct(pair) = entries.data_type() else { return Ok(PlannerResult::Original(access)) };
        let key: ScalarValue = match access.field_access {
            GetFieldAccess::NamedStructField { name } => name,
            GetFieldAccess::ListIndex { key } => match *key {
                Expr::Literal(value, _) => value,
                _ => return plan_err!("the key in map[key] is not a literal"),
            },
            GetFieldAccess::ListRange { .. } => return plan_err!("a map has no ranges"),
        };
        let key = key.cast_to(pair[0].data_type())?;
        Ok(PlannerResult::Planned(get_field().call(vec![access.expr, lit(key)])))
    }
}
