//! The unit that TIMESTAMPADD and TIMESTAMPDIFF begin with. Invariant: it is a word of the list, and is handed on as a text, so that no
//! planner takes it for a column.

use sqlparser::ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Value};
use sqlparser::tokenizer::Location;

use crate::diagnostics::{Problem, Result, start_or};
use crate::functions::units::{UNIT_NAMES, Unit};

/// The functions, and how they are written.
const FUNCTIONS: [(&str, &str); 2] =
    [("timestampadd", "write TIMESTAMPADD(MINUTE, 5, ts)"), ("timestampdiff", "write TIMESTAMPDIFF(MINUTE, a, b)")];

/// Whether an expression is a call whose first argument is a unit and no value.
pub(crate) fn takes_unit(expression: &Expr) -> bool {
    matches!(expression, Expr::Function(function) if usage(function).is_some())
}

/// Makes a text of the unit of a call. Errors: it has none, or one that there is not.
pub(super) fn resolve(expression: &mut Expr, at: Location) -> Result<()> {
    let Expr::Function(function) = expression else { return Ok(()) };
    let Some(usage) = usage(function) else { return Ok(()) };
    let name = function.name.to_string().to_uppercase();
    let first = match &mut function.args {
        FunctionArguments::List(list) => list.args.first_mut(),
        _ => None,
    };
    let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(first))) = first else {
        return Err(Problem::new(at, format!("{name} begins with a unit of time")).hint(usage));
    };
    let at = start_or(&*first, at);
    match first {
        Expr::Identifier(word) if word.quote_style.is_none() => {
            if Unit::named(&word.value).is_none() {
                return Err(Problem::new(at, format!("'{}' is no unit of time", word.value)).hint(UNIT_NAMES));
            }
            *first = Expr::Value(Value::SingleQuotedString(word.value.to_lowercase()).with_span(word.span));
            Ok(())
        }
        _ => Err(Problem::new(at, format!("{name} begins with a unit of time")).hint(usage)),
    }
}

fn usage(function: &Function) -> Option<&'static str> {
    let name = function.name.to_string().to_lowercase();
    FUNCTIONS.iter().find(|(known, _)| *known == name).map(|(_, usage)| *usage)
}
