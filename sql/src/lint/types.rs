//! Types, in declarations and in casts. Invariant: a type that Flink spells as this engine does is not found.

use sqlparser::ast::{DataType, ExactNumberInfo, Expr, TimezoneInfo};
use sqlparser::tokenizer::Location;

use super::finding::{Effect, Rule};
use super::report::Report;
use super::scope::Scope;
use super::script::{Script, Stated, back};
use super::walk::Family;
use crate::parser::{ColumnKind, Parsed, TypeName};

pub(super) static FAMILY: Family = Family { statement, expression, ..Family::BLIND };

pub(super) static LENGTH: Rule = Rule {
    name: "type-length",
    finds: "VARCHAR and VARBINARY without a length",
    effect: Effect::Differs,
    why: "its documentation says that a length that is not given is 1",
    hint: "write STRING, or BYTES",
};
pub(super) static SPELLING: Rule = Rule {
    name: "type",
    finds: "types that Flink does not know",
    effect: Effect::Refuses,
    why: "it has no such type",
    hint: "types of both are STRING, BOOLEAN, TINYINT to BIGINT, FLOAT, DOUBLE, DECIMAL(p, s), DATE, TIME, TIMESTAMP(p), BYTES, ARRAY<t>, …",
};
pub(super) static TIME_DIGITS: Rule = Rule {
    name: "time-digits",
    finds: "TIME with more than three digits",
    effect: Effect::Differs,
    why: "it keeps milliseconds",
    hint: "write TIME(3), or TIMESTAMP(6)",
};
pub(super) static WATERMARK_DIGITS: Rule = Rule {
    name: "watermark-digits",
    finds: "a WATERMARK for a time with more than three digits",
    effect: Effect::Refuses,
    why: "an event time has at most milliseconds",
    hint: "declare it as TIMESTAMP(3)",
};

fn statement(stated: &Stated, _script: &Script<'_>, report: &mut Report<'_>) {
    let Parsed::CreateTable(table) = &stated.parsed else { return };
    for column in &table.columns {
        let ColumnKind::Typed { data_type, .. } = &column.kind else { continue };
        nested(data_type, column.at, report);
        let is_event_time = table.watermark.as_ref().is_some_and(|w| w.column.value.eq_ignore_ascii_case(&column.name.value));
        if let (true, TypeName::Plain(plain)) = (is_event_time, data_type)
            && digits(plain).is_some_and(|digits| digits > 3)
        {
            report.add(&WATERMARK_DIGITS, column.at, format!("WATERMARK FOR {}, which is {data_type}", column.name));
        }
    }
}

fn nested(data_type: &TypeName, at: Location, report: &mut Report<'_>) {
    match data_type {
        TypeName::Plain(plain) => plainly(plain, at, report),
        TypeName::Array(item) => nested(item, at, report),
        TypeName::Map(key, value) => [key, value].into_iter().for_each(|t| nested(t, at, report)),
        TypeName::Row(fields) => fields.iter().for_each(|(_, t)| nested(t, at, report)),
    }
}

fn expression(expression: &Expr, scope: &Scope<'_>, report: &mut Report<'_>) {
    if let Expr::Cast { expr, data_type, .. } = expression {
        // The type stands behind what is cast: AS, or a double colon.
        let at = back(scope.tokens, scope.place(expr.as_ref()), &["CAST", "TRY_CAST", "SAFE_CAST"]);
        plainly(data_type, at, report);
    }
}

fn plainly(data_type: &DataType, at: Location, report: &mut Report<'_>) {
    match data_type {
        DataType::Varchar(None) => report.hint(&LENGTH, at, "VARCHAR", "write STRING"),
        DataType::Varbinary(None) => report.hint(&LENGTH, at, "VARBINARY", "write BYTES"),
        DataType::Time(Some(digits), TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) if *digits > 3 => {
            report.add(&TIME_DIGITS, at, data_type.to_string());
        }
        known if is_known(known) => {}
        other => match instead(other) {
            Some(hint) => report.hint(&SPELLING, at, format!("type {other}"), hint),
            None => report.add(&SPELLING, at, format!("type {other}")),
        },
    }
}

/// Digits after the second of a TIMESTAMP.
fn digits(data_type: &DataType) -> Option<u64> {
    crate::types::timestamp_precision(data_type)?.ok()
}

fn is_known(data_type: &DataType) -> bool {
    match data_type {
        DataType::Char(_) | DataType::Character(_) | DataType::Varchar(_) | DataType::String(None) | DataType::Boolean => true,
        DataType::Binary(_) | DataType::Varbinary(_) | DataType::Bytes(None) | DataType::Date => true,
        DataType::Decimal(_) | DataType::Dec(_) | DataType::Numeric(_) => true,
        DataType::TinyInt(None) | DataType::SmallInt(None) | DataType::Int(None) | DataType::Integer(None) | DataType::BigInt(None) => true,
        DataType::Float(ExactNumberInfo::None) | DataType::Double(ExactNumberInfo::None) | DataType::DoublePrecision => true,
        DataType::Time(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => true,
        DataType::Timestamp(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => true,
        DataType::Interval { .. } | DataType::Array(_) | DataType::Map(..) => true,
        other => digits(other).is_some(),
    }
}

fn instead(data_type: &DataType) -> Option<&'static str> {
    Some(match data_type {
        DataType::Text | DataType::String(Some(_)) | DataType::Nvarchar(_) | DataType::Uuid | DataType::JSON | DataType::JSONB => {
            "write STRING"
        }
        DataType::Bool => "write BOOLEAN",
        DataType::Blob(_) | DataType::Bytea | DataType::Bytes(Some(_)) => "write BYTES",
        DataType::Real | DataType::Float4 | DataType::Float32 | DataType::Float(_) => "write FLOAT",
        DataType::Float8 | DataType::Float64 | DataType::Double(_) => "write DOUBLE",
        DataType::Int2(_) | DataType::Int16 => "write SMALLINT",
        DataType::Int4(_) | DataType::Int32 => "write INT",
        DataType::Int8(_) | DataType::Int64 => "write BIGINT",
        DataType::Datetime(_) | DataType::TimestampNtz(_) => "write TIMESTAMP(3)",
        DataType::Timestamp(..) => "write TIMESTAMP_LTZ(3): it counts from 1970 in UTC",
        _ => return None,
    })
}
