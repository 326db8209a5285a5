//! Expressions. Invariant: every function is known, every type has a meaning, and nothing that a planner ignores is left: what
//! follows a call, a precision of an interval, a digit of a time.

use std::ops::ControlFlow;

use sqlparser::ast::{
    CastKind, CeilFloorKind, DataType, DateTimeField, DuplicateTreatment, Expr, Function, FunctionArgumentList, FunctionArguments,
    Interval, Query, Spanned, TypedString, Value, VisitMut, VisitorMut, WindowSpec, WindowType,
};
use sqlparser::tokenizer::Location;

use super::{Mode, extract, json, patterns, spelling, units};
use crate::diagnostics::{Problem, Result, start_or};
use crate::functions::{Functions, Kind};
use crate::lower::reject::Unsupported;
use crate::parser::Tokens;
use crate::types;

/// Functions that grouped by a window before there were window tables.
const LEGACY_WINDOWS: [&str; 12] = [
    "cumulate",
    "hop",
    "hop_end",
    "hop_rowtime",
    "hop_start",
    "session",
    "session_end",
    "session_start",
    "tumble",
    "tumble_end",
    "tumble_rowtime",
    "tumble_start",
];

/// Aggregates that with OVER take the value of one row, as LAG and LEAD do.
const OF_ONE_ROW: [&str; 3] = ["first_value", "last_value", "nth_value"];

/// Checks all expressions of a query, and rewrites casts to a time with fewer digits so that they cut the rest off.
pub(super) fn check(query: &mut Query, tokens: &Tokens, functions: &Functions, mode: Mode) -> Result<()> {
    match query.visit(&mut Expressions { tokens, functions, mode }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(problem) => Err(*problem),
    }
}

struct Expressions<'a> {
    tokens: &'a Tokens,
    functions: &'a Functions,
    mode: Mode,
}

impl VisitorMut for Expressions<'_> {
    type Break = Box<Problem>;

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Self::Break> {
        if let Err(problem) = spelling::respell(expression) {
            return ControlFlow::Break(Box::new(problem.or_at(self.tokens.find("SELECT"))));
        }
        json::resolve(expression);
        let at = self.place(expression);
        let resolved = units::resolve(expression, at)
            .and_then(|()| extract::resolve(expression, at))
            .and_then(|()| patterns::resolve(expression, at))
            .and_then(|()| self.expression(expression, at));
        match resolved {
            Ok(()) => ControlFlow::Continue(()),
            Err(problem) => ControlFlow::Break(Box::new(problem)),
        }
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Self::Break> {
        if let Some(unit) = cut_to(expression) {
            let time = std::mem::replace(expression, Expr::Value(Value::Null.into()));
            *expression = spelling::date_trunc(unit, time);
        }
        ControlFlow::Continue(())
    }
}

impl Expressions<'_> {
    fn expression(&self, expression: &Expr, at: Location) -> Result<()> {
        match expression {
            Expr::Function(function) => self.function(function),
            Expr::Cast { data_type, .. } | Expr::TypedString(TypedString { data_type, .. }) => self.data_type(data_type, at),
            Expr::Interval(interval) => self.interval(interval, at),
            Expr::Prefixed { prefix, .. } => Err(Unsupported::TABLE_ARGUMENT.at(prefix.span.start)),
            Expr::Value(value) if matches!(value.value, Value::Placeholder(_)) => Err(Unsupported::PLACEHOLDER.at(at)),
            // Those that there are have become something else.
            Expr::Floor { field: CeilFloorKind::DateTimeField(unit), .. }
            | Expr::Ceil { field: CeilFloorKind::DateTimeField(unit), .. }
                if *unit != DateTimeField::NoDateTime =>
            {
                Err(Problem::new(at, format!("times are not rounded to {unit}"))
                    .hint("units are SECOND, MINUTE, HOUR, DAY, MONTH, QUARTER and YEAR"))
            }
            Expr::AtTimeZone { .. } if self.mode == Mode::Stream => {
                Err(Unsupported::on_stream("AT TIME ZONE", "times are UTC; convert them where they are shown").at(at))
            }
            _ => Ok(()),
        }
    }

    /// Where an expression begins; clauses that lost their place are found by the SELECT.
    fn place(&self, expression: &impl Spanned) -> Location {
        start_or(expression, self.tokens.find("SELECT"))
    }

    fn function(&self, function: &Function) -> Result<()> {
        let Function { name, uses_odbc_syntax: _, parameters, args, filter, null_treatment, over, within_group } = function;
        let at = start_or(name, self.tokens.find("SELECT"));
        let lower = name.to_string().to_lowercase();
        if lower.starts_with("\"$") {
            return Ok(()); // A marker that binding has put there.
        }
        let kind = self.functions.kind(&lower);
        if LEGACY_WINDOWS.contains(&lower.as_str()) && kind.is_none() {
            return Err(Unsupported::LEGACY_WINDOW.named(name, at));
        }
        if lower == "proctime" {
            return Err(Unsupported::VOLATILE.named(name, at));
        }
        let Some(kind) = kind else {
            let hint = self.functions.suggest(&lower).unwrap_or_else(|| "functions are listed in the SQL reference".to_owned());
            return Err(Problem::new(at, format!("function '{name}' is not known")).hint(hint));
        };
        if *parameters != FunctionArguments::None || matches!(args, FunctionArguments::Subquery(_)) {
            return Err(Unsupported::clause("this form of function call").at(at));
        }
        let list = match args {
            FunctionArguments::List(list) => Some(list),
            _ => None,
        };
        if lower == "unix_timestamp" && list.is_none_or(|l| l.args.is_empty()) {
            return Err(Unsupported::CLOCK.named(name, at));
        }
        self.calls_on_stream(kind, function, list, at)?;
        if let Some(WindowType::NamedWindow(window) | WindowType::WindowSpec(WindowSpec { window_name: Some(window), .. })) = over {
            return Err(Unsupported::NAMED_WINDOW.at(window.span.start));
        }
        let decorated = filter.is_some() || null_treatment.is_some() || over.is_some() || !within_group.is_empty();
        let inside = list.is_some_and(|l| l.duplicate_treatment.is_some() || !l.clauses.is_empty());
        let distinct = list.is_some_and(|l| l.duplicate_treatment == Some(DuplicateTreatment::Distinct));
        let of_one_row = kind == Kind::Window || over.is_some() && OF_ONE_ROW.contains(&lower.as_str());
        match kind {
            Kind::Scalar { .. } if decorated || inside => {
                Err(Unsupported::clause("DISTINCT, FILTER, OVER or ORDER BY with this function").named(name, at))
            }
            Kind::Window if over.is_none() => {
                Err(Problem::new(at, format!("function '{name}' needs OVER (…)")).hint("write OVER (ORDER BY …)"))
            }
            _ if of_one_row && (filter.is_some() || distinct) => Err(Unsupported::ONE_ROW.named(name, at)),
            _ => Ok(()),
        }
    }

    /// What a stream refuses of calls that batch queries know.
    fn calls_on_stream(&self, kind: Kind, function: &Function, list: Option<&FunctionArgumentList>, at: Location) -> Result<()> {
        if self.mode == Mode::Batch {
            return Ok(());
        }
        match kind {
            Kind::Scalar { repeatable: false } => Err(Unsupported::VOLATILE.named(&function.name, at)),
            Kind::Special => Err(Unsupported::on_stream("this function", "leave it out").named(&function.name, at)),
            Kind::Aggregate => {
                let detail = list.is_some_and(|l| !l.clauses.is_empty());
                if detail || function.null_treatment.is_some() && function.over.is_none() || !function.within_group.is_empty() {
                    return Err(Unsupported::AGGREGATE_DETAIL.at(at));
                }
                Ok(())
            }
            Kind::Scalar { .. } | Kind::Window => Ok(()),
        }
    }

    fn data_type(&self, data_type: &DataType, at: Location) -> Result<()> {
        let refuse = |hint: &str| Err(Problem::new(at, format!("type {data_type} is not supported")).hint(hint));
        match types::timestamp_precision(data_type) {
            Some(Ok(0 | 3 | 6)) => return Ok(()),
            Some(Ok(_)) => return refuse("write TIMESTAMP, TIMESTAMP(0), TIMESTAMP(3) or TIMESTAMP(6)"),
            Some(Err(hint)) => return refuse(hint),
            None => {}
        }
        match types::time_precision(data_type) {
            Some(Ok(0 | 3 | 6)) => return Ok(()),
            Some(Ok(_)) => return refuse("write TIME, TIME(0), TIME(3) or TIME(6)"),
            Some(Err(hint)) => return refuse(hint),
            None => {}
        }
        match data_type {
            DataType::Varchar(Some(_)) | DataType::Char(_) | DataType::String(Some(_)) => refuse("write STRING: its length is not limited"),
            DataType::Custom(..) => refuse("types are STRING, BOOLEAN, INT, BIGINT, FLOAT, DOUBLE and TIMESTAMP(p)"),
            _ if self.mode == Mode::Stream => match types::plain_type(data_type) {
                Ok(_) => Ok(()),
                Err(hint) => refuse(hint),
            },
            _ => Ok(()),
        }
    }

    fn interval(&self, interval: &Interval, at: Location) -> Result<()> {
        let Interval { value: _, leading_field: _, leading_precision, last_field, fractional_seconds_precision } = interval;
        match (leading_precision, last_field, fractional_seconds_precision) {
            (None, None, None) => Ok(()),
            _ => Err(Unsupported::INTERVAL_FORM.at(at)),
        }
    }
}

/// The unit that a cast to `TIMESTAMP(0)`, `TIMESTAMP(3)`, `TIME` or `TIME(3)` cuts to.
fn cut_to(expression: &Expr) -> Option<&'static str> {
    let (Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon | CastKind::TryCast | CastKind::SafeCast, data_type, .. }
    | Expr::TypedString(TypedString { data_type, .. })) = expression
    else {
        return None;
    };
    match types::timestamp_precision(data_type).or_else(|| types::time_precision(data_type))? {
        Ok(0) => Some("second"),
        Ok(3) => Some("millisecond"),
        _ => None,
    }
}
