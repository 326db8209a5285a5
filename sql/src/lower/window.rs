//! Aggregation over windows. Invariant: groups are those of one window: both its ends are in GROUP BY, as they are.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, ScalarValue, TableReference};
use datafusion::logical_expr::logical_plan::Aggregate as AggregateNode;
use datafusion::logical_expr::{Expr, cast};
use sqlparser::tokenizer::Location;
use thalweg_engine::plan::{Window, WindowParameters};
use thalweg_engine::time::timestamp_type;

use super::aggregate::aggregate;
use super::check::place;
use super::columns::{is_window_column, mentions_window};
use super::reject::Unsupported;
use super::row::{Row, RowColumn};
use crate::bind::{Tumble, WINDOW_END, WINDOW_START, WINDOW_TIME};
use crate::diagnostics::{Problem, Result};
use crate::types;

/// Name of the kind, as the engine knows it.
const TUMBLE_KIND: &str = "tumble";

/// A window and what its results are called in the rest of the query.
pub(super) struct Windowed<'a> {
    pub(super) window: Window,
    pub(super) row: Row<'a>,
    /// What to put for columns whose type or place differs from what DataFusion planned.
    replacements: Vec<(Column, Expr)>,
}

/// What a window needs to know of its query.
pub(super) struct Context<'a> {
    pub(super) tumble: Tumble,
    /// Alias of the stream.
    pub(super) stream: &'a str,
    pub(super) event_time: &'a Column,
    /// Where GROUP BY stands.
    pub(super) at: Location,
}

/// Lowers an aggregation over the rows of `row`.
pub(super) fn window<'a>(
    node: &AggregateNode,
    row: &Row<'a>,
    state: &'a datafusion::execution::SessionState,
    context: &Context<'_>,
) -> Result<Windowed<'a>> {
    let Context { tumble, stream, event_time, at } = context;
    let mut columns = Vec::new();
    let (mut keys, mut replacements, mut seen) = (Vec::new(), Vec::new(), Vec::new());
    for (i, expression) in node.group_expr.iter().enumerate() {
        let (table, field) = output(&node.schema, i);
        if let Expr::Column(c) = expression
            && let Some(name) = is_window_column(c, stream)
        {
            seen.push(name);
            continue;
        }
        if mentions_window(expression, stream) {
            return Err(Unsupported::WINDOW_COLUMN.at(place(expression)));
        }
        if matches!(expression, Expr::GroupingSet(_)) {
            return Err(Unsupported::on_stream("GROUPING SETS, CUBE or ROLLUP", "write one job for each grouping").at(*at));
        }
        let compiled = row.compile(expression)?;
        let planned = compiled.data_type(&row.schema())?;
        let carried = types::carried(&planned).ok_or_else(|| cannot_carry(place(expression), &field, &planned))?;
        let compiled = row.compile_as(expression, &carried)?;
        let nullable = compiled.nullable(&row.schema())?;
        let key = std::sync::Arc::new(arrow::datatypes::Field::new(key_name(expression, &field, stream), carried.clone(), nullable));
        keys.push((compiled, key.clone()));
        let time_unit = row.time_unit(expression);
        let column = RowColumn { table: table.clone(), name: field.clone(), field: key, time_unit };
        if carried != planned {
            let column = Column::new(table, field);
            replacements.push((column.clone(), cast(Expr::Column(column), planned)));
        }
        columns.push(column);
    }
    if !(seen.contains(&WINDOW_START) && seen.contains(&WINDOW_END)) {
        return Err(Unsupported::WINDOW_GROUP.at(*at));
    }
    let mut aggregates = Vec::new();
    for (i, call) in node.aggr_expr.iter().enumerate() {
        if mentions_window(call, stream) {
            return Err(Unsupported::WINDOW_COLUMN.at(place(call)));
        }
        let lowered = aggregate(call, row, stream)?;
        let (table, name) = output(&node.schema, node.group_expr.len() + i);
        columns.push(RowColumn { table, name, field: lowered.result.clone(), time_unit: 1 });
        aggregates.push(lowered);
    }
    let time = row.index(event_time).ok_or_else(|| Unsupported::VERSION_TIME.at(*at))?;
    let parameters = WindowParameters { kind: TUMBLE_KIND.to_owned(), sizes: vec![tumble.size] };
    let window = Window { parameters, time, keys, aggregates };
    replacements.push(window_time(stream));
    let row = Row::new(state, window_columns(&window, stream).into_iter().chain(columns).collect());
    Ok(Windowed { window, row, replacements })
}

impl Windowed<'_> {
    /// An expression over DataFusion's aggregate, over the window's results instead.
    pub(super) fn rebase(&self, expression: Expr) -> Result<Expr> {
        let rebased = expression.transform_down(|e| {
            Ok(match &e {
                Expr::Column(c) => match self.replacements.iter().find(|(column, _)| column == c) {
                    // The replacement names the column itself: do not look into it again.
                    Some((_, new)) => Transformed::new(new.clone(), true, datafusion::common::tree_node::TreeNodeRecursion::Jump),
                    None => Transformed::no(e),
                },
                _ => Transformed::no(e),
            })
        })?;
        Ok(rebased.data)
    }
}

/// Qualifier and name of a column of the aggregate's result.
fn output(schema: &DFSchema, index: usize) -> (Option<TableReference>, String) {
    let (table, field) = schema.qualified_field(index);
    (table.cloned(), field.name().clone())
}

/// Start and end as columns of the window's result.
fn window_columns(window: &Window, stream: &str) -> [RowColumn; 2] {
    let schema = window.schema();
    [(0, WINDOW_START), (1, WINDOW_END)].map(|(i, name)| RowColumn {
        table: Some(TableReference::bare(stream.to_owned())),
        name: name.to_owned(),
        field: schema.fields()[i].clone(),
        time_unit: window.parameters.sizes.first().copied().unwrap_or(1),
    })
}

/// `window_time` is the last millisecond of the window.
fn window_time(stream: &str) -> (Column, Expr) {
    let column = |name: &str| Column::new(Some(TableReference::bare(stream.to_owned())), name);
    let millisecond = Expr::Literal(ScalarValue::new_interval_mdn(0, 0, 1_000_000), None);
    (column(WINDOW_TIME), cast(Expr::Column(column(WINDOW_END)) - millisecond, timestamp_type()))
}

/// A key's name in the result: that of its column, or the expression as written.
fn key_name(expression: &Expr, name: &str, stream: &str) -> String {
    match expression {
        Expr::Column(c) => c.name.clone(),
        _ => name.replace(&format!("{stream}."), ""),
    }
}

/// The refusal of a type that no stream carries.
pub(super) fn cannot_carry(at: Location, name: &str, data_type: &arrow::datatypes::DataType) -> Problem {
    Problem::new(at, format!("'{name}' is {}, which a stream does not carry", types::name(data_type)))
        .hint("CAST it to STRING, BOOLEAN, INT, BIGINT, FLOAT, DOUBLE or TIMESTAMP")
}
