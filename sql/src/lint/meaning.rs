//! Functions and expressions that both engines have and read differently. Invariant: where the difference depends on types, it is
//! found only if the script tells them; each difference was seen in this engine and stands in the documentation or source of Flink.

use sqlparser::ast::{BinaryOperator, CeilFloorKind, DataType, DateTimeField, Expr, UnaryOperator, Value};
use sqlparser::tokenizer::Location;

use super::finding::{Effect, Rule};
use super::kinds::Kind;
use super::report::Report;
use super::scope::{Scope, arguments};
use super::walk::Family;

pub(super) static FAMILY: Family = Family { expression, ..Family::BLIND };

pub(super) static CAST: Rule = Rule {
    name: "cast-to-text",
    finds: "texts of truth values, times and floating-point numbers",
    effect: Effect::Differs,
    why: "it writes TRUE, 2026-01-02 03:04:05.678 and 1.0E10; this engine true, 2026-01-02T03:04:05.678Z and 10000000000.0",
    hint: "write CASE WHEN x THEN 'true' ELSE 'false' END, or leave the value as it is",
};
pub(super) static DEVIATION: Rule = Rule {
    name: "integer-deviation",
    finds: "deviations and variances of whole numbers",
    effect: Effect::Differs,
    why: "the result is a whole number, cut off",
    hint: "write STDDEV_POP(CAST(x AS DOUBLE))",
};
pub(super) static DIVISION: Rule = Rule {
    name: "decimal-division",
    finds: "a whole number divided by a decimal literal, or the other way round",
    effect: Effect::Differs,
    why: "3.0 is a DECIMAL there, and the quotient has as many digits as its type: 0.333333",
    hint: "write CAST(n AS DOUBLE) / 3",
};
pub(super) static EXTRACT: Rule =
    Rule { name: "extract-field", finds: "EXTRACT of DOW and EPOCH", effect: Effect::Differs, why: "", hint: "" };
pub(super) static LIKE: Rule = Rule {
    name: "like-escape",
    finds: "a backslash in the pattern of LIKE",
    effect: Effect::Differs,
    why: "a backslash stands for itself there unless ESCAPE names it; from 2.0 on it was an escape until FLINK-39424",
    hint: "write LIKE 'a!_b' ESCAPE '!'",
};
pub(super) static MEANING: Rule =
    Rule { name: "function-meaning", finds: "functions of the same name and another meaning", effect: Effect::Differs, why: "", hint: "" };
pub(super) static SUM: Rule = Rule {
    name: "integer-sum",
    finds: "sums of TINYINT, SMALLINT and INT",
    effect: Effect::Differs,
    why: "the sum has the type of the numbers, and overflows",
    hint: "write SUM(CAST(x AS BIGINT))",
};

/// A function, when its meaning differs, why, and what to write.
type Meaning = (&'static str, fn(&[&Expr]) -> bool, &'static str, &'static str);

const ALWAYS: fn(&[&Expr]) -> bool = |_| true;

const MEANINGS: &[Meaning] = &[
    ("array_concat", ALWAYS, "it is NULL if one list is NULL", "write COALESCE around lists that may be NULL"),
    ("array_position", ALWAYS, "it is 0 where nothing is found, here NULL", "write ARRAY_CONTAINS(list, x) to ask whether it is there"),
    ("array_remove", ALWAYS, "it removes all that are equal, here the first", "filter with UNNEST"),
    ("chr", ALWAYS, "it knows 255 characters, here all of Unicode", "keep to numbers below 128"),
    (
        "concat",
        |args| args.len() > 1,
        "it is NULL if one part is NULL, here such a part is left out",
        "write a || b, which is NULL in both",
    ),
    ("first_value", ALWAYS, "it is the first value that is not NULL, here NULL is one too", NULLS_HINT),
    ("from_unixtime", ALWAYS, "it is a text in the time zone of the session, here a time", "write TO_TIMESTAMP_LTZ(x, 0)"),
    ("greatest", ALWAYS, "it is NULL if one argument is NULL, here that one is left out", "write COALESCE around what may be NULL"),
    ("last_value", ALWAYS, "it is the last value that is not NULL, here NULL is one too", NULLS_HINT),
    ("least", ALWAYS, "it is NULL if one argument is NULL, here that one is left out", "write COALESCE around what may be NULL"),
    (
        "left",
        |args| args.get(1).is_some_and(|n| is_negative(n)),
        "a negative length gives nothing, here all but so many",
        "write SUBSTRING",
    ),
    ("log", |args| args.len() == 1, "it is the natural logarithm, here that to the base 10", "write LN(x) or LOG10(x)"),
    ("regexp", has_classes, CLASSES, CLASSES_HINT),
    ("regexp", has_columns, "a text of a column that is no pattern matches nothing, here its row is rejected", PATTERN_HINT),
    ("regexp_extract", has_classes, CLASSES, CLASSES_HINT),
    ("regexp_extract", has_columns, "a text of a column that is no pattern gives NULL, here its row is rejected", PATTERN_HINT),
    ("regexp_replace", |args| args.len() == 3, "it replaces all that match, here the first", "write REPLACE if there is no pattern"),
    (
        "right",
        |args| args.get(1).is_some_and(|n| is_negative(n)),
        "a negative length gives nothing, here all but so many",
        "write SUBSTRING",
    ),
    (
        "round",
        |args| args.len() == 2,
        "it rounds the decimal digits, here the binary number: 1.005 gives 1.01 and 1.0",
        "round a DECIMAL: ROUND(CAST(x AS DECIMAL(18, 6)), 2)",
    ),
    (
        "to_date",
        |args| args.len() > 1,
        "the pattern is one of Java, here of strftime",
        "leave the pattern out: '2026-01-02' is read by both",
    ),
    (
        "to_date",
        |args| args.first().is_some_and(|text| literal(text).is_none()),
        "a text that is no date gives NULL, here its row is rejected",
        "write TRY_CAST(x AS DATE)",
    ),
    (
        "timestampdiff",
        |args| matches!(args.first(), Some(Expr::Identifier(unit)) if is_of_months(&unit.value)),
        "from a later to an earlier time it may count one more, by their times of day: -2 for -1",
        "give the earlier time first",
    ),
    (
        "to_timestamp",
        |args| args.len() == 1,
        "it reads '2026-01-02 03:04:05', and gives NULL for other texts; here they are errors",
        "write CAST(x AS TIMESTAMP(3))",
    ),
    (
        "to_timestamp",
        |args| args.get(1).is_some_and(|pattern| literal(pattern).is_none_or(|p| p.contains('%'))),
        "the pattern is one of Java, here of strftime",
        "write a literal such as 'yyyy-MM-dd HH:mm:ss', which both read",
    ),
    (
        "to_timestamp",
        ALWAYS,
        "it cuts to milliseconds, ignores a zone, takes a day after the end of a month for its last, and reads '2026-1-2 3:4:5' by any pattern; \
         here zones count, and a text that does not fit is NULL",
        "write all texts as the pattern says, in UTC",
    ),
    (
        "unix_timestamp",
        ALWAYS,
        "it ignores what follows the pattern, and goes on after the end of a month; here such texts are not read",
        "write all texts as the pattern says",
    ),
];

const CLASSES: &str = "\\d, \\w and \\s are ASCII, here they know the letters and digits of all scripts";
const CLASSES_HINT: &str = "write [0-9], or [A-Za-z0-9_]";
const NULLS_HINT: &str = "leave rows without a value out: in WHERE, or without OVER by FILTER (WHERE x IS NOT NULL)";
const PATTERN_HINT: &str = "write the pattern as a literal";

/// Aggregates whose result has the type of their argument there, and is a DOUBLE here.
const DEVIATIONS: [&str; 6] = ["stddev", "stddev_pop", "stddev_samp", "var_pop", "var_samp", "variance"];

fn expression(expression: &Expr, scope: &Scope<'_>, report: &mut Report<'_>) {
    match expression {
        Expr::Function(function) => {
            let name = function.name.to_string().to_lowercase();
            call(&name, &arguments(function), scope.place(&function.name), scope, report);
        }
        Expr::Substring { expr, substring_from: Some(from), .. } if is_not_positive(from) => {
            report.say(
                &MEANING,
                scope.begins(expr.as_ref(), &["SUBSTRING", "SUBSTR"]),
                "SUBSTRING from 0 or from a negative place",
                "it counts a negative place from the end, and 0 is the first character; here both lie before the text",
                "count from 1; write RIGHT(x, n) for the end",
            );
        }
        Expr::Floor { expr, field: CeilFloorKind::DateTimeField(_) } | Expr::Ceil { expr, field: CeilFloorKind::DateTimeField(_) }
            if scope.kind(expr) == Some(Kind::Date) =>
        {
            let hint = "write CAST(FLOOR(day TO MONTH) AS DATE)";
            report.say(&MEANING, scope.begins(expr.as_ref(), &["FLOOR", "CEIL"]), "a rounded DATE", "it is a DATE, here a TIMESTAMP", hint);
        }
        Expr::Extract { field, expr, .. } => extract(field, scope.begins(expr.as_ref(), &["EXTRACT"]), report),
        Expr::Cast { expr, data_type, .. } => cast(expr, data_type, scope, report),
        Expr::BinaryOp { left, op: BinaryOperator::Divide, right } => {
            let kinds = [scope.kind(left), scope.kind(right)];
            let is_literal = |e: &Expr| matches!(e, Expr::Value(_));
            let mixed = matches!(kinds, [Some(Kind::Integer(_)), Some(Kind::Decimal)] | [Some(Kind::Decimal), Some(Kind::Integer(_))]);
            if mixed && (is_literal(left) || is_literal(right)) {
                report.add(&DIVISION, scope.operator(left, right), "this division");
            }
        }
        Expr::Like { pattern, escape_char: None, .. } if literal(pattern).is_some_and(|text| text.contains('\\')) => {
            report.add(&LIKE, scope.place(pattern.as_ref()), "this pattern");
        }
        _ => {}
    }
}

fn call(name: &str, args: &[&Expr], at: Location, scope: &Scope<'_>, report: &mut Report<'_>) {
    let shown = name.to_uppercase();
    if let Some((_, _, why, hint)) = MEANINGS.iter().find(|(known, applies, ..)| *known == name && applies(args)) {
        report.say(&MEANING, at, shown.clone(), *why, *hint);
    }
    if matches!(name, "substr" | "substring") && args.get(1).is_some_and(|from| is_not_positive(from)) {
        let why = "it counts a negative place from the end, and 0 is the first character; here both lie before the text";
        report.say(&MEANING, at, format!("{shown} from 0 or from a negative place"), why, "count from 1; write RIGHT(x, n) for the end");
    }
    let kind = args.first().and_then(|only| scope.kind(only));
    match kind {
        Some(Kind::Integer(_)) if DEVIATIONS.contains(&name) => {
            report.hint(&DEVIATION, at, format!("{shown} of a whole number"), format!("write {shown}(CAST({} AS DOUBLE))", args[0]));
        }
        Some(Kind::Integer(bits)) if name == "sum" && bits < 64 => {
            report.hint(&SUM, at, "SUM of a whole number of less than 64 bits", format!("write SUM(CAST({} AS BIGINT))", args[0]));
        }
        _ => {}
    }
}

fn extract(field: &DateTimeField, at: Location, report: &mut Report<'_>) {
    match field {
        DateTimeField::Dow | DateTimeField::DayOfWeek => {
            report.say(&EXTRACT, at, "EXTRACT(DOW …)", "Sunday is 1 there, here 0", "write EXTRACT(ISODOW …), where Monday is 1 in both");
        }
        DateTimeField::Epoch => {
            report.say(
                &EXTRACT,
                at,
                "EXTRACT(EPOCH …)",
                "it gives whole seconds, here with a fraction",
                "write CAST(EXTRACT(EPOCH FROM ts) AS BIGINT)",
            );
        }
        _ => {}
    }
}

fn cast(of: &Expr, to: &DataType, scope: &Scope<'_>, report: &mut Report<'_>) {
    if !matches!(to, DataType::String(_) | DataType::Varchar(_)) {
        return;
    }
    let what = match scope.kind(of) {
        Some(Kind::Boolean) => "the text of a truth value",
        Some(Kind::Timestamp) => "the text of a time",
        Some(Kind::Floating) => "the text of a floating-point number",
        _ => return,
    };
    report.add(&CAST, scope.begins(of, &["CAST", "TRY_CAST"]), what);
}

fn literal(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a pattern is a literal with classes of characters.
fn has_classes(args: &[&Expr]) -> bool {
    let pattern = args.get(1).and_then(|pattern| literal(pattern)).unwrap_or_default();
    ["\\d", "\\w", "\\s", "\\D", "\\W", "\\S"].iter().any(|class| pattern.contains(class))
}

/// Whether a pattern is no literal.
fn has_columns(args: &[&Expr]) -> bool {
    args.get(1).is_some_and(|pattern| literal(pattern).is_none())
}

fn is_of_months(unit: &str) -> bool {
    ["MONTH", "QUARTER", "YEAR"].iter().any(|known| known.eq_ignore_ascii_case(unit))
}

fn is_negative(expression: &Expr) -> bool {
    matches!(expression, Expr::UnaryOp { op: UnaryOperator::Minus, .. })
}

fn is_not_positive(expression: &Expr) -> bool {
    let is_zero = |e: &Expr| matches!(e, Expr::Value(v) if matches!(&v.value, Value::Number(text, _) if text == "0"));
    is_negative(expression) || is_zero(expression)
}
