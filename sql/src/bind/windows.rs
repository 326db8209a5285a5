//! `TUMBLE(TABLE t, DESCRIPTOR(c), INTERVAL '10' SECOND)` and its like as tables. Invariant: a window function becomes a plain
//! query, whose added columns are calls of markers that carry the number of the window; only lowering gives them a meaning.
//!
//! ```text
//! TUMBLE(TABLE t, DESCRIPTOR(c), a)   ->   (SELECT *, "$window_start"(c, 0) AS window_start, … FROM t)
//! HOP(TABLE t, DESCRIPTOR(c), a, b)   ->   (SELECT * FROM (SELECT *, "$window_start"(c, 0) AS window_start, … FROM t) WHERE "$kept"(window_start))
//! GROUP BY TUMBLE(c, a)               ->   GROUP BY "$window_start"(c, 0), "$window_end"(c, 0)
//! ```

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, Value, WildcardAdditionalOptions,
};
use sqlparser::ast::{Query, Select, SelectFlavor, SelectItem, SetExpr, TableFactor, TableWithJoins};
use sqlparser::tokenizer::{Location, Span};
use thalweg_engine::operators::window::{WINDOWS, WindowKind, kind};
use thalweg_engine::plan::WindowParameters;
use thalweg_engine::time::{MILLISECOND, Micros};

use super::spelling::call;
use crate::diagnostics::{Problem, Result, start, start_or};
use crate::lower::reject::Unsupported;
use crate::parser::{TABLE_ARGUMENT, micros, signed_micros};

/// Start of a row's window, inclusive.
pub(crate) const WINDOW_START: &str = "window_start";
/// End of a row's window, exclusive.
pub(crate) const WINDOW_END: &str = "window_end";
/// Last millisecond of a row's window.
pub(crate) const WINDOW_TIME: &str = "window_time";
/// Columns that a window function adds.
pub(crate) const WINDOW_COLUMNS: [&str; 3] = [WINDOW_START, WINDOW_END, WINDOW_TIME];
/// Functions that stand for those columns: (time, number of the window).
pub(crate) const MARKERS: [&str; 3] = ["$window_start", "$window_end", "$window_time"];
/// Function that stands for `FOR SYSTEM_TIME AS OF`: (time, a column of the reference table, which keeps it in its place).
pub(crate) const VERSION_MARKER: &str = "$version";
/// Function that stands for the condition of an ASOF join.
pub(crate) const ASOF_MARKER: &str = "$asof";
/// Function that stands for the condition of an inner one.
pub(crate) const ASOF_INNER_MARKER: &str = "$asof_inner";

/// Function that stands for UNNEST in ON: (list, a column of its elements, which keeps it in its place).
pub(crate) const UNNEST_MARKER: &str = "$unnest";

/// Condition on a column of windows that rows may lie in several of: it keeps the column, without which they would be fewer.
pub(crate) const KEPT_MARKER: &str = "$kept";

/// Kinds of which a row lies in exactly one window.
pub(crate) const ONE_WINDOW: [&str; 2] = ["session", "tumble"];

/// Windows as a query asks for them.
#[derive(Debug, Clone)]
pub(crate) struct WindowSpec {
    /// Kind, as the engine knows it.
    pub(crate) kind: &'static str,
    /// Sizes in the order of the kind's arguments, in microseconds.
    pub(crate) sizes: Vec<Micros>,
    /// Shift against the epoch, in microseconds.
    pub(crate) offset: Micros,
    /// Columns of PARTITION BY, none if it was left out; `None` for a window that has none: then rows are told apart by GROUP BY.
    pub(crate) partition: Option<Vec<Ident>>,
    /// Where it stands.
    pub(crate) at: Location,
}

/// A window function over a table.
pub(super) struct Call {
    pub(super) table: Vec<Ident>,
    column: Ident,
    pub(super) spec: WindowSpec,
}

impl Call {
    /// Errors: another function, or not its arguments.
    pub(super) fn new(name: &ObjectName, args: Vec<FunctionArg>) -> Result<Self> {
        let at = start(name);
        let Some(kind) = kind(&name.to_string()) else { return Err(unknown(name, at)) };
        let mut names = vec!["DATA", "TIMECOL"];
        names.extend(kind.arguments);
        names.push("OFFSET");
        let mut values = named(kind, &names, args, at)?;
        let offset = values.pop().flatten();
        let mut values = values.into_iter();
        let (Some(Some(data)), Some(Some(column))) = (values.next(), values.next()) else { return Err(missing(kind, at)) };
        let (table, partition) = table(kind, data, at)?;
        let column_at = start_or(&column, at);
        let column = descriptor(column).ok_or_else(|| {
            Problem::new(column_at, format!("the second argument of {} is DESCRIPTOR(column)", shown(kind))).hint(usage(kind))
        })?;
        let sizes = values.collect::<Option<Vec<Expr>>>().ok_or_else(|| missing(kind, at))?;
        if partition.is_some() && kind.name != "session" {
            return Err(
                Problem::new(at, format!("{} has no PARTITION BY", shown(kind))).hint("only SESSION windows have one; leave it out")
            );
        }
        let partition = (kind.name == "session").then(|| partition.unwrap_or_default());
        let spec = spec(kind, &sizes, offset.as_ref(), partition, at)?;
        Ok(Self { table, column, spec })
    }

    /// The query that takes the place of the call; the window has this number.
    pub(super) fn query(&self, number: usize) -> Query {
        let alias = |column: &str| Ident { value: column.to_owned(), quote_style: Some('"'), span: Span::new(self.spec.at, self.spec.at) };
        let mut projection = vec![SelectItem::Wildcard(WildcardAdditionalOptions::default())];
        projection.extend(WINDOW_COLUMNS.iter().enumerate().map(|(part, column)| SelectItem::ExprWithAlias {
            expr: marker(part, Expr::Identifier(self.column.clone()), number),
            alias: alias(column),
        }));
        let relation = TableFactor::Table {
            name: ObjectName::from(self.table.clone()),
            alias: None,
            args: None,
            with_hints: Vec::new(),
            version: None,
            with_ordinality: false,
            partitions: Vec::new(),
            json_path: None,
            sample: None,
            index_hints: Vec::new(),
        };
        let query = plain_query(projection, TableWithJoins { relation, joins: Vec::new() });
        if ONE_WINDOW.contains(&self.spec.kind) {
            return query;
        }
        let cut = TableFactor::Derived { lateral: false, subquery: Box::new(query), alias: None, sample: None };
        let mut kept = plain_query(
            vec![SelectItem::Wildcard(WildcardAdditionalOptions::default())],
            TableWithJoins { relation: cut, joins: Vec::new() },
        );
        if let SetExpr::Select(select) = kept.body.as_mut() {
            select.selection = Some(call(KEPT_MARKER, vec![Expr::Identifier(alias(WINDOW_START))]));
        }
        kept
    }
}

/// `SELECT … FROM …`.
pub(super) fn plain_query(projection: Vec<SelectItem>, from: TableWithJoins) -> Query {
    let select = Select {
        select_token: sqlparser::ast::helpers::attached_token::AttachedToken::empty(),
        optimizer_hints: Vec::new(),
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection,
        exclude: None,
        into: None,
        from: vec![from],
        lateral_views: Vec::new(),
        prewhere: None,
        selection: None,
        connect_by: Vec::new(),
        group_by: sqlparser::ast::GroupByExpr::Expressions(Vec::new(), Vec::new()),
        cluster_by: Vec::new(),
        distribute_by: Vec::new(),
        sort_by: Vec::new(),
        having: None,
        named_window: Vec::new(),
        qualify: None,
        window_before_qualify: false,
        value_table_mode: None,
        flavor: SelectFlavor::Standard,
    };
    Query {
        with: None,
        body: Box::new(SetExpr::Select(Box::new(select))),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}

/// A call of the marker of `MARKERS[part]`.
pub(super) fn marker(part: usize, time: Expr, number: usize) -> Expr {
    call(MARKERS[part], vec![time, Expr::Value(Value::Number(number.to_string(), false).into())])
}

/// Sizes and offset, checked.
pub(super) fn spec(
    kind: &'static WindowKind,
    sizes: &[Expr],
    offset: Option<&Expr>,
    partition: Option<Vec<Ident>>,
    at: Location,
) -> Result<WindowSpec> {
    let mut micros_of = Vec::new();
    for size in sizes {
        let size_at = start_or(size, at);
        let length = micros(size, at)?;
        if length <= 0 || length % MILLISECOND != 0 {
            return Err(Problem::new(size_at, "a window lasts at least a millisecond, and whole milliseconds").hint(usage(kind)));
        }
        micros_of.push(length);
    }
    let offset = match offset {
        Some(_) if kind.name == "session" => {
            return Err(Problem::new(at, "SESSION has no offset").hint(usage(kind)));
        }
        Some(offset) => signed_micros(offset, at)?,
        None => 0,
    };
    if offset % MILLISECOND != 0 {
        return Err(Problem::new(at, "the offset of windows is whole milliseconds").hint(usage(kind)));
    }
    let parameters = WindowParameters { kind: kind.name.to_owned(), sizes: micros_of, offset };
    (kind.open)(&parameters).map_err(|e| Problem::from(e).or_at(at))?;
    Ok(WindowSpec { kind: kind.name, sizes: parameters.sizes, offset, partition, at })
}

/// What to write.
pub(super) fn usage(kind: &WindowKind) -> String {
    let sizes: Vec<String> = kind.arguments.iter().map(|a| format!("INTERVAL '10' SECOND /* {a} */")).collect();
    let table = if kind.name == "session" { "TABLE stream PARTITION BY key" } else { "TABLE stream" };
    format!("write {}({table}, DESCRIPTOR(time_column), {})", shown(kind), sizes.join(", "))
}

fn shown(kind: &WindowKind) -> String {
    kind.name.to_uppercase()
}

fn missing(kind: &WindowKind, at: Location) -> Problem {
    Problem::new(at, format!("{} needs TABLE, DESCRIPTOR and {}", shown(kind), kind.arguments.join(", "))).hint(usage(kind))
}

fn unknown(name: &ObjectName, at: Location) -> Problem {
    let known: Vec<String> = WINDOWS.iter().map(|k| shown(k)).collect();
    Unsupported::TABLE_FUNCTION.named(name, at).hint(format!("window functions are {}", known.join(", ")))
}

/// The arguments by position, from positions or names.
fn named(kind: &WindowKind, names: &[&str], args: Vec<FunctionArg>, at: Location) -> Result<Vec<Option<Expr>>> {
    let mut found: Vec<Option<Expr>> = vec![None; names.len()];
    for (position, arg) in args.into_iter().enumerate() {
        let arg_at = start_or(&arg, at);
        let by_name = |name: &str| names.iter().position(|a| a.eq_ignore_ascii_case(name));
        let (index, value) = match arg {
            FunctionArg::Unnamed(value) => (Some(position).filter(|p| *p < names.len()), value),
            FunctionArg::Named { name, arg, .. } => (by_name(&name.value), arg),
            FunctionArg::ExprNamed { name, arg, .. } => (by_name(&name.to_string()), arg),
        };
        match (index, value) {
            (Some(index), FunctionArgExpr::Expr(value)) if found[index].is_none() => found[index] = Some(value),
            _ => {
                return Err(
                    Problem::new(arg_at, format!("this argument of {} is not known, or given twice", shown(kind))).hint(usage(kind))
                );
            }
        }
    }
    Ok(found)
}

/// The table of `TABLE t` or `TABLE t PARTITION BY a, b`.
fn table(kind: &WindowKind, data: Expr, at: Location) -> Result<(Vec<Ident>, Option<Vec<Ident>>)> {
    let refused = |at| Problem::new(at, format!("the first argument of {} is TABLE and a name", shown(kind))).hint(usage(kind));
    let data_at = start_or(&data, at);
    let Expr::Prefixed { prefix, value } = data else { return Err(refused(data_at)) };
    if prefix.value != TABLE_ARGUMENT {
        return Err(refused(data_at));
    }
    match *value {
        Expr::CompoundIdentifier(table) => Ok((table, None)),
        Expr::Tuple(mut parts) if !parts.is_empty() => {
            let Expr::CompoundIdentifier(table) = parts.remove(0) else { return Err(refused(data_at)) };
            let keys = parts.into_iter().map(|e| if let Expr::Identifier(i) = e { Ok(i) } else { Err(refused(data_at)) });
            Ok((table, Some(keys.collect::<Result<Vec<_>>>()?)))
        }
        _ => Err(refused(data_at)),
    }
}

/// The column of `DESCRIPTOR(column)`.
fn descriptor(expression: Expr) -> Option<Ident> {
    let Expr::Function(Function { name, args: FunctionArguments::List(list), filter: None, over: None, .. }) = expression else {
        return None;
    };
    if !name.to_string().eq_ignore_ascii_case("DESCRIPTOR") || !list.clauses.is_empty() {
        return None;
    }
    match <[FunctionArg; 1]>::try_from(list.args) {
        Ok([FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(column)))]) => Some(column),
        _ => None,
    }
}
