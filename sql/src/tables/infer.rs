//! `CREATE TABLE` without columns: they are taken from the schema in its options, or else from records of the stream. Invariant: what was
//! chosen is written into the table's text, and does not change with later records.

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use sqlparser::ast::Ident;
use sqlparser::tokenizer::Span;
use thalweg_engine::batch::type_name;
use thalweg_engine::contract::Role;
use thalweg_engine::decode;
use thalweg_engine::error::Result as EngineResult;
use thalweg_engine::ids::Name;

use super::columns::check_name;
use crate::diagnostics::{Problem, Result};
use crate::parser::{ColumnDeclaration, ColumnKind, CreateTable, Parsed, parse_at};

/// Looks at the newest records of a stream; implemented where the log and the formats are known.
pub trait StreamSampler: Send + Sync {
    /// What the newest records of a stream hold. Errors: `Invalid` if nothing can be told of this format, `NotFound` if there is no such
    /// stream.
    fn sample(&self, stream: &Name, format: &SampleFormat) -> EngineResult<Sample>;
}

/// How the records of a stream are to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleFormat {
    /// Name of the format.
    pub name: String,
    /// Those options of the table that belong to it.
    pub options: BTreeMap<String, String>,
}

/// Precision of an event time: the finest that Flink takes.
const EVENT_TIME_TYPE: &str = "TIMESTAMP(3)";

/// What records hold, or what a schema says that they do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sample {
    /// Names and SQL types (`DOUBLE`), in the order in which they are to be declared; none if there are no records or fields.
    pub columns: Vec<(String, String)>,
    /// The column that looks like the time of the event.
    pub event_time: Option<String>,
}

impl From<decode::Inferred> for Sample {
    fn from(inferred: decode::Inferred) -> Self {
        let decode::Inferred { columns, event_time } = inferred;
        let event_time = event_time.and_then(|i| columns.get(i)).map(|(name, _)| name.clone());
        let sql_type = |(name, data_type): (String, DataType)| {
            let is_event_time = event_time.as_ref() == Some(&name);
            (name, if is_event_time { EVENT_TIME_TYPE.to_owned() } else { type_name(&data_type) })
        };
        Self { columns: columns.into_iter().map(sql_type).collect(), event_time: event_time.clone() }
    }
}

/// What the schema in the options says; `None` if the format has none. Errors: `Invalid` if no columns can be made of it.
pub(crate) fn of_schema(format: &SampleFormat) -> EngineResult<Option<Sample>> {
    Ok(decode::declared(&format.name, &format.options)?.map(Sample::from))
}

/// Where columns are taken from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Origin<'a> {
    /// The newest records of this stream.
    Records(&'a Name),
    /// The schema in the options.
    Schema,
}

/// A table with columns from somewhere; `notices` gets what was chosen and what was left out.
pub(crate) fn inferred(table: CreateTable, origin: Origin<'_>, sample: Sample, notices: &mut Vec<String>) -> Result<CreateTable> {
    let at = table.name.span.start;
    let mut columns: Vec<ColumnDeclaration> = Vec::new();
    for (name, sql_type) in sample.columns {
        let same = |c: &ColumnDeclaration| c.name.value.to_lowercase() == name.to_lowercase();
        let why = match check_name(&name, Role::Log) {
            Err((why, _)) => Some(why),
            Ok(()) if columns.iter().any(same) => Some("another one differs only in upper and lower case".to_owned()),
            Ok(()) => None,
        };
        match why {
            Some(why) => notices.push(format!("attribute '{}' is left out: {why}", name.chars().take(60).collect::<String>())),
            None => columns.push(column(name, sql_type, &table)?),
        }
    }
    let from = match origin {
        Origin::Records(stream) if columns.is_empty() => {
            return Err(Problem::new(at, format!("stream {stream} has no records that columns could be taken from"))
                .hint("declare the columns, or send records first"));
        }
        Origin::Schema if columns.is_empty() => {
            return Err(Problem::new(at, "the schema has no fields that columns could be taken from").hint("declare the columns"));
        }
        Origin::Records(_) => "the newest records",
        Origin::Schema => "the schema",
    };
    let chosen: Vec<String> = columns.iter().map(ToString::to_string).collect();
    notices.insert(0, format!("columns taken from {from}: {}", chosen.join(", ")));
    let looks_like_time = |c: &&ColumnDeclaration| sample.event_time.as_ref() == Some(&c.name.value);
    if let (None, Some(time)) = (&table.watermark, columns.iter().find(looks_like_time)) {
        let time = &time.name;
        notices.push(format!(
            "no WATERMARK: the event time is that of receipt. If it is {time}, drop the table and write CREATE TABLE {} \
             (WATERMARK FOR {time} AS {time} - INTERVAL '5' SECOND) WITH (…)",
            table.name
        ));
    }
    Ok(CreateTable { columns, ..table })
}

/// A column as if it had been written.
fn column(name: String, sql_type: String, table: &CreateTable) -> Result<ColumnDeclaration> {
    let at = table.name.span.start;
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    // Keywords could be taken for something else; quoted, a name is a name.
    let is_word = plain && sqlparser::keywords::ALL_KEYWORDS.binary_search(&name.to_uppercase().as_str()).is_err();
    let quote_style = if is_word { None } else { Some('"') };
    let ident = Ident { value: name, quote_style, span: Span::new(at, at) };
    let text = format!("CREATE TABLE x ({ident} {sql_type}) WITH ('connector' = 'log')");
    match parse_at(&text, at)? {
        Parsed::CreateTable(mut parsed) if parsed.columns.len() == 1 => match parsed.columns.remove(0) {
            column @ ColumnDeclaration { kind: ColumnKind::Typed { .. }, .. } => Ok(column),
            _ => Err(Problem::new(at, format!("'{sql_type}' is no type"))),
        },
        _ => Err(Problem::new(at, format!("'{sql_type}' is no type"))),
    }
}
