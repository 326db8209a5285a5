//! Functions that Flink does not have, or not in this form. Invariant: a function of Flink's list with arguments that it takes is not
//! found here; whether it means the same is asked in `meaning`.

use sqlparser::ast::{DataType, Expr, Function, FunctionArgumentClause, FunctionArguments, Value};

use super::finding::{Effect, Rule};
use super::flink::{self, Since};
use super::report::Report;
use super::scope::{Scope, arguments};
use super::walk::Family;

pub(super) static FAMILY: Family = Family { expression, ..Family::BLIND };

pub(super) static ARGUMENTS: Rule = Rule {
    name: "function-arguments",
    finds: "arguments that a function of Flink does not take",
    effect: Effect::Refuses,
    why: "",
    hint: "write it with the arguments that both engines take",
};
pub(super) static FUNCTION: Rule = Rule {
    name: "function",
    finds: "functions that Flink does not have",
    effect: Effect::Refuses,
    why: "it has no such function",
    hint: "on Flink write a function of your own",
};
pub(super) static LEAD: Rule = Rule {
    name: "lead",
    finds: "LEAD over a stream",
    effect: Effect::Refuses,
    why: "it is not supported in stream mode",
    hint: "write LAG and look back, or on Flink SET 'execution.runtime-mode' = 'batch'",
};
pub(super) static SINCE: Rule = Rule {
    name: "function-since",
    finds: "functions that Flink 1.20 does not have",
    effect: Effect::Refuses,
    why: "it is there since Flink 2",
    hint: "on Flink 1.20 write a function of your own",
};

/// Functions of this engine and what both have instead, or what Flink has.
const INSTEAD: &[(&str, &str)] = &[
    ("approx_distinct", "write COUNT(DISTINCT x)"),
    ("array_element", "write list[1]"),
    ("array_has", "write ARRAY_CONTAINS(list, x)"),
    ("array_length", "write CARDINALITY(list)"),
    ("array_to_string", "write ARRAY_JOIN(list, separator)"),
    ("bool_and", "write MIN(CASE WHEN x THEN 1 ELSE 0 END) = 1"),
    ("bool_or", "write MAX(CASE WHEN x THEN 1 ELSE 0 END) = 1"),
    ("btrim", "write TRIM(BOTH FROM x)"),
    ("cbrt", "write POWER(x, 1.0 / 3)"),
    ("contains", "write POSITION(part IN x) > 0"),
    ("date_bin", "group by a window: TABLE(TUMBLE(TABLE stream, DESCRIPTOR(ts), INTERVAL '10' SECOND))"),
    ("date_part", "write EXTRACT(HOUR FROM ts)"),
    ("date_trunc", "write FLOOR(ts TO HOUR)"),
    ("datepart", "write EXTRACT(HOUR FROM ts)"),
    ("datetrunc", "write FLOOR(ts TO HOUR)"),
    ("ends_with", "write x LIKE '%end'"),
    ("length", "write CHAR_LENGTH(x)"),
    ("make_array", "write ARRAY[a, b]"),
    ("map", "write MAP['key', value]"),
    ("mean", "write AVG(x)"),
    ("median", "on Flink 2 write PERCENTILE(x, 0.5)"),
    ("named_struct", "write ROW(a, b)"),
    ("nvl", "write COALESCE(a, b)"),
    ("nvl2", "write CASE WHEN a IS NOT NULL THEN b ELSE c END"),
    ("percentile_cont", "on Flink 2 write PERCENTILE(x, 0.5)"),
    ("pow", "write POWER(a, b)"),
    ("random", "on Flink write RAND()"),
    ("regexp_like", "write REGEXP(x, pattern)"),
    ("regexp_match", "write REGEXP_EXTRACT(x, pattern, group)"),
    ("signum", "write SIGN(x)"),
    ("split_part", "write SPLIT_INDEX(x, separator, n - 1): it counts from 0"),
    ("starts_with", "write x LIKE 'begin%'"),
    ("string_agg", "write LISTAGG(x, separator)"),
    ("strpos", "write POSITION(part IN x)"),
    ("struct", "write ROW(a, b)"),
    ("to_char", "write DATE_FORMAT(ts, 'yyyy-MM-dd')"),
    ("to_hex", "on Flink write HEX(x)"),
    ("to_timestamp_millis", "write TO_TIMESTAMP_LTZ(x, 3)"),
    ("to_timestamp_seconds", "write TO_TIMESTAMP_LTZ(x, 0)"),
    ("to_unixtime", "write UNIX_TIMESTAMP(text)"),
    ("trunc", "write TRUNCATE(x, digits)"),
    ("var", "write VAR_SAMP(x)"),
];

/// Functions that stand without parentheses.
const BARE: [&str; 5] = ["current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"];

fn expression(expression: &Expr, scope: &Scope<'_>, report: &mut Report<'_>) {
    let Expr::Function(function) = expression else { return };
    let at = scope.place(&function.name);
    let lower = function.name.to_string().to_lowercase();
    if lower.starts_with("\"$") {
        return; // IS JSON, which the parser made of it.
    }
    let shown = format!("function {}", lower.to_uppercase());
    if lower == "lead" && function.over.is_some() {
        report.add(&LEAD, at, "LEAD");
    }
    let instead = INSTEAD.binary_search_by_key(&lower.as_str(), |(name, _)| name).ok().map(|i| INSTEAD[i].1);
    match flink::function(&lower) {
        None => report.hint(&FUNCTION, at, shown, instead.unwrap_or(FUNCTION.hint)),
        Some(Since::Two) => report.hint(&SINCE, at, shown, instead.unwrap_or(SINCE.hint)),
        Some(Since::Always) => {
            if let Some((what, hint)) = wrong_arguments(&lower, function) {
                report.hint(&ARGUMENTS, at, what, hint);
            }
        }
    }
}

fn wrong_arguments(name: &str, function: &Function) -> Option<(String, &'static str)> {
    let values = arguments(function);
    let upper = name.to_uppercase();
    Some(match (name, values.as_slice()) {
        ("to_timestamp_ltz", [_]) => ("TO_TIMESTAMP_LTZ(x)".to_owned(), "write TO_TIMESTAMP_LTZ(x, 3): Flink 1.20 wants the precision"),
        ("to_timestamp", [number]) if is_number(number) => ("TO_TIMESTAMP of a number".to_owned(), "write TO_TIMESTAMP_LTZ(x, 0)"),
        ("ltrim" | "rtrim", [_, _]) => {
            (format!("{upper}(x, characters)"), "write TRIM(LEADING characters FROM x), or TRAILING: Flink 1.20 takes one argument")
        }
        ("regexp_replace", [_, _, _, _]) => ("REGEXP_REPLACE with flags".to_owned(), "leave the flags out: Flink replaces all that match"),
        ("array_slice", [_, _, _, _]) => ("ARRAY_SLICE with a stride".to_owned(), "leave the stride out"),
        ("array_sort", [_, _, ..]) => {
            ("ARRAY_SORT with an order in words".to_owned(), "write ARRAY_SORT(list); on Flink the order is TRUE or FALSE")
        }
        ("grouping", [_, _, ..]) => return None,
        _ if BARE.contains(&name) && function.args != FunctionArguments::None => {
            (format!("{upper} with parentheses"), "leave the parentheses out")
        }
        _ => return returning(function),
    })
}

/// `JSON_VALUE(… RETURNING type)`.
fn returning(function: &Function) -> Option<(String, &'static str)> {
    let FunctionArguments::List(list) = &function.args else { return None };
    list.clauses.iter().find_map(|clause| match clause {
        FunctionArgumentClause::JsonReturningClause(clause) => match &clause.data_type {
            DataType::String(_) | DataType::Varchar(_) | DataType::Boolean | DataType::Integer(_) | DataType::Int(_) => None,
            DataType::Double(_) => None,
            other => Some((format!("RETURNING {other}"), "write RETURNING STRING, BOOLEAN, INTEGER or DOUBLE, and CAST that")),
        },
        _ => None,
    })
}

fn is_number(expression: &Expr) -> bool {
    matches!(expression, Expr::Value(v) if matches!(v.value, Value::Number(..)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted_and_know_no_function_of_flink() {
        assert!(INSTEAD.is_sorted_by_key(|(name, _)| name));
        assert_eq!(INSTEAD.iter().find(|(name, _)| flink::function(name) == Some(Since::Always)), None);
    }
}
