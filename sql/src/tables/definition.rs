//! What a declared table is. Invariant: a definition is complete and checked; its SQL text makes the same definition again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use thalweg_engine::contract::ConnectorSpec;
use thalweg_engine::ids::Name;
use thalweg_engine::plan::{Column, ColumnSource, Computed, Metadata, RowTime, Scan, StartAt};
use thalweg_engine::time::Micros;

/// A declared table.
#[derive(Debug, Clone)]
pub struct TableDefinition {
    /// Its name.
    pub name: Name,
    /// The statement that declared it, as written.
    pub sql: String,
    /// Its columns in the order of declaration; empty if it is a view.
    pub columns: Vec<Column>,
    /// Names of the columns that are `PROCTIME()`: they are no values, and only tell `FOR SYSTEM_TIME AS OF` which version is meant.
    pub processing_time: Vec<String>,
    /// Names of the key columns; empty if none was declared.
    pub primary_key: Vec<String>,
    /// Names of the columns that rows of the lake lie by, `PARTITIONED BY`; empty if none was declared.
    pub partitioned_by: Vec<String>,
    /// `WATERMARK FOR`, if declared.
    pub watermark: Option<RowTime>,
    /// The expression of the watermark, if it is not the event time minus a delay.
    pub watermark_expression: Option<Computed>,
    /// What it reads or writes.
    pub kind: TableKind,
}

/// What a table reads or writes.
#[derive(Debug, Clone)]
pub enum TableKind {
    /// A stream of the log.
    Log {
        /// How it is read.
        input: StreamInput,
    },
    /// A stream of the log that a connector fills from outside.
    Source {
        /// The connector.
        connector: &'static ConnectorSpec,
        /// The connector's own options, each known to its spec.
        options: BTreeMap<String, String>,
        /// How the stream is read.
        input: StreamInput,
    },
    /// Reference data, joined by key.
    Reference {
        /// Where the data are, as the option says.
        path: String,
        /// Name of their format.
        format: String,
        /// How often they are looked at again.
        refresh: Duration,
        /// Who answers for them.
        owner: String,
        /// What they are, for the catalog; may be empty.
        about: String,
    },
    /// A table of the lake.
    Lake {
        /// Warm or cold.
        tier: Tier,
        /// Who answers for it.
        owner: String,
        /// What it holds.
        description: String,
        /// Who may see it.
        classification: Classification,
        /// How long rows are kept; for ever if none.
        retention: Option<Duration>,
    },
    /// A query with a name.
    View {
        /// The query as written.
        query: String,
        /// Names for its columns; empty if it names them itself.
        columns: Vec<String>,
    },
}

/// How a stream of the log becomes rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamInput {
    /// Stream of the log.
    pub stream: Name,
    /// Name of the format.
    pub format: String,
    /// The format's own options.
    pub format_options: BTreeMap<String, String>,
    /// A partition without records that have an event time for this long no longer holds the watermark back, in microseconds.
    pub idle_timeout: Micros,
    /// Rows ahead of their receive time by more than this are rejected, in microseconds.
    pub future_tolerance: Micros,
    /// Where jobs that have no checkpoint begin to read it, if the table says so.
    pub start: Option<StartAt>,
}

/// A tier of the lake, which is also the namespace of its tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// Results of jobs.
    Warm,
    /// Complete history.
    Cold,
}

impl Tier {
    /// As in `WITH ('tier' = '…')` and before the table's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warm => "warm",
            Self::Cold => "cold",
        }
    }
}

/// Who may see a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Classification {
    /// Everybody.
    Public,
    /// Everybody inside.
    Internal,
    /// Those who need it.
    Confidential,
    /// It is about people.
    Personal,
}

impl Classification {
    /// Every value, as written in options.
    pub const ALL: [(&'static str, Self); 4] =
        [("confidential", Self::Confidential), ("internal", Self::Internal), ("personal", Self::Personal), ("public", Self::Public)];

    /// As written in options.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, c)| *c == self).map_or("internal", |(name, _)| name)
    }
}

impl TableDefinition {
    /// Nothing but these columns: what expressions can be planned over.
    pub(crate) fn of_columns(name: Name, columns: Vec<Column>) -> Self {
        let kind = TableKind::View { query: String::new(), columns: Vec::new() };
        let (processing_time, primary_key, partitioned_by, sql) = (Vec::new(), Vec::new(), Vec::new(), String::new());
        Self { name, sql, columns, processing_time, primary_key, partitioned_by, watermark: None, watermark_expression: None, kind }
    }

    /// Its columns as an Arrow schema.
    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.iter().map(|c| c.field.clone()).collect::<Vec<FieldRef>>()))
    }

    /// How its stream is read; `None` if it is not a stream.
    pub fn input(&self) -> Option<&StreamInput> {
        match &self.kind {
            TableKind::Log { input } | TableKind::Source { input, .. } => Some(input),
            TableKind::Reference { .. } | TableKind::Lake { .. } | TableKind::View { .. } => None,
        }
    }

    /// Whether it is a query with a name.
    pub fn is_view(&self) -> bool {
        matches!(self.kind, TableKind::View { .. })
    }

    /// Columns that are not computed, as an Arrow schema: those that the archive of a stream keeps.
    pub fn stored_schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.iter().filter(|c| c.computed().is_none()).map(|c| c.field.clone()).collect::<Vec<FieldRef>>()))
    }

    /// A scan of all its columns that are not computed; `None` if it is not a stream.
    pub fn scan(&self) -> Option<Scan> {
        let input = self.input()?;
        Some(Scan {
            stream: input.stream.clone(),
            table: self.name.clone(),
            format: input.format.clone(),
            format_options: input.format_options.clone(),
            columns: self.columns.clone(),
            projection: (0..self.columns.len()).filter(|&i| self.columns[i].computed().is_none()).collect(),
            row_time: self.watermark,
            watermark: self.watermark_expression.clone(),
            future_tolerance: input.future_tolerance,
            idle_timeout: input.idle_timeout,
            start: input.start.clone(),
        })
    }

    /// The column that holds event time: that of the watermark, or without one the receive time, if it is a column.
    pub fn event_time(&self) -> Option<usize> {
        let received = |c: &Column| c.source == ColumnSource::Metadata(Metadata::ReceivedAt);
        self.watermark.map(|w| w.column).or_else(|| self.columns.iter().position(received))
    }
}
