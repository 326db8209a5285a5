//! `TUMBLE(TABLE t, DESCRIPTOR(c), INTERVAL '10' SECOND)` as a table. Invariant: the time column is the event time of the
//! stream, so that a row's window depends on event time alone.

use sqlparser::ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName};
use sqlparser::tokenizer::Location;
use thalweg_engine::time::{MILLISECOND, Micros};

use crate::diagnostics::{Problem, Result, start, start_or};
use crate::lower::reject::Unsupported;
use crate::parser::{TABLE_ARGUMENT, micros};
use crate::tables::TableDefinition;

/// Start of a row's window, inclusive.
pub(crate) const WINDOW_START: &str = "window_start";
/// End of a row's window, exclusive.
pub(crate) const WINDOW_END: &str = "window_end";
/// Last millisecond of a row's window.
pub(crate) const WINDOW_TIME: &str = "window_time";
/// Columns that a window function adds.
pub(crate) const WINDOW_COLUMNS: [&str; 3] = [WINDOW_START, WINDOW_END, WINDOW_TIME];

/// Window functions that are known by name but not supported yet.
const LATER: [&str; 3] = ["CUMULATE", "HOP", "SESSION"];
/// Names of the arguments, in order.
const ARGUMENTS: [&str; 3] = ["DATA", "TIMECOL", "SIZE"];
const HINT: &str = "write TUMBLE(TABLE stream, DESCRIPTOR(time_column), INTERVAL '10' SECOND)";

/// Windows of one size, one after the other, aligned to the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tumble {
    /// Length in microseconds.
    pub(crate) size: Micros,
}

/// A call as written.
pub(super) struct Call {
    pub(super) table: Vec<Ident>,
    column: Ident,
    size: Micros,
}

impl Call {
    /// Errors: another function, or not these arguments.
    pub(super) fn new(name: &ObjectName, args: Vec<FunctionArg>) -> Result<Self> {
        let at = start(name);
        let function = name.to_string();
        if LATER.iter().any(|l| function.eq_ignore_ascii_case(l)) {
            return Err(Unsupported::WINDOW_KIND.named(name, at));
        }
        if !function.eq_ignore_ascii_case("TUMBLE") {
            return Err(Unsupported::TABLE_FUNCTION.named(name, at));
        }
        if args.len() > ARGUMENTS.len() {
            return Err(Unsupported::WINDOW_OFFSET.at(start(&args[ARGUMENTS.len()])));
        }
        let [data, column, size] = positional(args, at)?;
        let table = match data {
            Expr::Prefixed { prefix, value } if prefix.value == TABLE_ARGUMENT => match *value {
                Expr::CompoundIdentifier(parts) => parts,
                other => return Err(Problem::new(start(&other), "expected a table").hint(HINT)),
            },
            other => return Err(Problem::new(start_or(&other, at), "the first argument of TUMBLE is TABLE and a name").hint(HINT)),
        };
        let column_at = start_or(&column, at);
        let column =
            descriptor(column).ok_or_else(|| Problem::new(column_at, "the second argument of TUMBLE is DESCRIPTOR(column)").hint(HINT))?;
        let size_at = start_or(&size, at);
        let size = micros(&size, at)?;
        if size <= 0 || size % MILLISECOND != 0 {
            return Err(Problem::new(size_at, "a window lasts at least a millisecond, and whole milliseconds").hint(HINT));
        }
        Ok(Self { table, column, size })
    }

    /// The window over a stream. Errors: the column is not its event time.
    pub(super) fn tumble(&self, definition: &TableDefinition) -> Result<Tumble> {
        let at = self.column.span.start;
        let event_time = definition.event_time().map(|i| definition.columns[i].field.name().as_str());
        match event_time {
            Some(name) if self.column.value.eq_ignore_ascii_case(name) => {}
            Some(name) => {
                return Err(Problem::new(at, format!("column '{}' is not the event time of '{}'", self.column.value, definition.name))
                    .hint(format!("its event time is '{name}': write DESCRIPTOR({name})")));
            }
            None => {
                return Err(Problem::new(at, format!("stream '{}' has no event time", definition.name))
                    .hint("declare WATERMARK FOR column AS column - INTERVAL '2' SECOND in its CREATE TABLE"));
            }
        }
        match definition.columns.iter().find(|c| WINDOW_COLUMNS.contains(&c.field.name().as_str())) {
            Some(c) => Err(Problem::new(at, format!("stream '{}' has a column '{}' of its own", definition.name, c.field.name()))
                .hint("rename the column: TUMBLE adds one of that name")),
            None => Ok(Tumble { size: self.size }),
        }
    }
}

/// The three arguments by position, from positions or names.
fn positional(args: Vec<FunctionArg>, at: Location) -> Result<[Expr; 3]> {
    let mut found: [Option<Expr>; 3] = [None, None, None];
    for (position, arg) in args.into_iter().enumerate() {
        let arg_at = start_or(&arg, at);
        let (index, value) = match arg {
            FunctionArg::Unnamed(value) => (Some(position), value),
            FunctionArg::Named { name, arg, .. } => (ARGUMENTS.iter().position(|a| a.eq_ignore_ascii_case(&name.value)), arg),
            FunctionArg::ExprNamed { name, arg, .. } => (ARGUMENTS.iter().position(|a| a.eq_ignore_ascii_case(&name.to_string())), arg),
        };
        match (index, value) {
            (Some(index), FunctionArgExpr::Expr(value)) if found[index].is_none() => found[index] = Some(value),
            _ => return Err(Problem::new(arg_at, "this argument of TUMBLE is not known, or given twice").hint(HINT)),
        }
    }
    match found {
        [Some(data), Some(column), Some(size)] => Ok([data, column, size]),
        _ => Err(Problem::new(at, "TUMBLE has three arguments").hint(HINT)),
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
