//! The nodes of a plan. Invariant: a closed set; every consumer matches all of it, so that a new node is a compile error
//! where it is not handled.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion_expr_common::groups_accumulator::GroupsAccumulator;
use datafusion_physical_expr_common::physical_expr::PhysicalExpr;

use crate::error::Result;
use crate::ids::{Name, Offset, Partition};
use crate::time::Micros;

/// Attributes that the log knows of a record, beside its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metadata {
    /// `device_id`: the authenticated device, STRING.
    DeviceId,
    /// `topic`: STRING.
    Topic,
    /// `received_at`: when the log received it, TIMESTAMP.
    ReceivedAt,
    /// `partition`: BIGINT.
    Partition,
    /// `offset`: BIGINT.
    Offset,
}

impl Metadata {
    /// Key as written in `METADATA FROM '<key>'`, and its value.
    pub const KEYS: [(&'static str, Self); 5] = [
        ("device_id", Self::DeviceId),
        ("offset", Self::Offset),
        ("partition", Self::Partition),
        ("received_at", Self::ReceivedAt),
        ("topic", Self::Topic),
    ];

    /// The only type that it can be declared with.
    pub fn data_type(self) -> DataType {
        match self {
            Self::DeviceId | Self::Topic => DataType::Utf8View,
            Self::ReceivedAt => crate::time::timestamp_type(),
            Self::Partition | Self::Offset => DataType::Int64,
        }
    }
}

/// A value that a row's own columns give.
#[derive(Debug, Clone)]
pub struct Computed {
    /// Columns that it reads, indexes into `Scan::columns`; none of them is computed itself.
    pub inputs: Vec<usize>,
    /// Over a batch of exactly these columns; it depends on nothing else.
    pub expression: Arc<dyn PhysicalExpr>,
    /// As it was declared, for people.
    pub text: String,
}

impl PartialEq for Computed {
    fn eq(&self, other: &Self) -> bool {
        self.inputs == other.inputs && self.expression.eq(&other.expression) && self.text == other.text
    }
}

impl Eq for Computed {}

/// Where a column's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnSource {
    /// The attribute of the payload with the column's name.
    Payload,
    /// What the log knows.
    Metadata(Metadata),
    /// An expression over the others. It is computed only where it is read, and kept nowhere.
    Computed(Computed),
}

/// A declared column of a stream's table.
#[derive(Debug, Clone)]
pub struct Column {
    /// Name and type, nullable unless `NOT NULL`. STRING is `Utf8View`, BYTES `Binary`, TIMESTAMP `time::timestamp_type()`, TIME
    /// `Time64(Microsecond)`, DECIMAL `Decimal128`; what is nested may be NULL.
    pub field: FieldRef,
    /// Where it comes from.
    pub source: ColumnSource,
    /// For times, nested ones included: unit that values are cut down to, in microseconds (`TIMESTAMP(3)` is 1000).
    pub time_unit: Micros,
}

impl Column {
    /// Its expression, if it is computed.
    pub fn computed(&self) -> Option<&Computed> {
        match &self.source {
            ColumnSource::Computed(computed) => Some(computed),
            ColumnSource::Payload | ColumnSource::Metadata(_) => None,
        }
    }
}

/// Event time and watermark of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowTime {
    /// Index into `Scan::columns`.
    pub column: usize,
    /// The watermark is the greatest event time so far minus this, in microseconds.
    pub delay: Micros,
}

/// Where a job without a checkpoint begins to read a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartAt {
    /// The oldest record that the log keeps.
    Earliest,
    /// Records that arrive from now on.
    Latest,
    /// The first record of each partition that was received at or after this time, in microseconds.
    Time(Micros),
    /// An offset for each partition; those without one begin with their oldest record.
    Offsets(BTreeMap<Partition, Offset>),
}

/// Reading a stream.
#[derive(Debug, Clone)]
pub struct Scan {
    /// Stream of the log.
    pub stream: Name,
    /// Table that it was declared as.
    pub table: Name,
    /// Name of the format, a key of `decode::FORMATS`.
    pub format: String,
    /// Options of the format, as declared.
    pub format_options: BTreeMap<String, String>,
    /// Every declared column: a record is checked against all of them, whatever is wanted.
    pub columns: Vec<Column>,
    /// Columns that the next stage gets, indexes into `columns`, ascending.
    pub projection: Vec<usize>,
    /// `WATERMARK FOR`; without it, event time is the receive time.
    pub row_time: Option<RowTime>,
    /// The watermark is the greatest value of this so far, instead of what the delay of `row_time` gives.
    pub watermark: Option<Computed>,
    /// Rows ahead of their receive time by more than this are rejected, in microseconds.
    pub future_tolerance: Micros,
    /// A partition without records that have an event time for this long no longer holds the watermark back, in microseconds.
    pub idle_timeout: Micros,
    /// Where it begins; `None` leaves that to the kind of job.
    pub start: Option<StartAt>,
}

impl Scan {
    /// Smallest step of its event time in microseconds.
    pub fn time_unit(&self) -> Micros {
        self.row_time.map_or(1, |t| self.columns[t.column].time_unit.max(1))
    }

    /// The expression of its event time, if that is computed.
    pub fn computed_time(&self) -> Option<&Computed> {
        self.row_time.and_then(|t| self.columns.get(t.column)?.computed())
    }

    /// Columns that have to be decoded for what is projected, for event time and for the watermark: indexes into `columns`, ascending.
    pub fn decoded(&self) -> Vec<usize> {
        let read = |&i: &usize| match self.columns[i].computed() {
            Some(computed) => computed.inputs.clone(),
            None => vec![i],
        };
        let time = self.row_time.map(|t| t.column);
        let all = self.projection.iter().chain(&time).flat_map(read).chain(self.watermark.iter().flat_map(|w| w.inputs.clone()));
        all.collect::<BTreeSet<usize>>().into_iter().collect()
    }

    /// Schema of what the next stage gets.
    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.projection.iter().map(|&i| self.columns[i].field.clone()).collect::<Vec<FieldRef>>()))
    }
}

/// A reference join's treatment of rows without a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookupKind {
    /// They are dropped, and counted as filtered.
    Inner,
    /// They go on with NULLs.
    Left,
}

/// Joining each row with at most one row of a reference table, the version valid at the row's time.
#[derive(Debug, Clone)]
pub struct Lookup {
    /// Reference table.
    pub table: Name,
    /// Inner or left.
    pub kind: LookupKind,
    /// Pairs of an expression over the row and a column of the reference table; together the table's primary key.
    pub keys: Vec<(Arc<dyn PhysicalExpr>, String)>,
    /// Time as of which the version is chosen; `None` is the newest version (processing time).
    pub time: Option<Arc<dyn PhysicalExpr>>,
    /// Columns of the reference table that are appended to the row, by name.
    pub columns: Vec<String>,
    /// Row and appended columns.
    pub schema: SchemaRef,
}

/// Computing columns.
#[derive(Debug, Clone)]
pub struct Project {
    /// One expression a column.
    pub expressions: Vec<Arc<dyn PhysicalExpr>>,
    /// Their names and types.
    pub schema: SchemaRef,
}

/// Putting rows into windows without aggregating them: a row leaves once for each window that it lies in and that is open.
#[derive(Debug, Clone)]
pub struct Assign {
    /// Which windows; not sessions, whose ends are not known from one row.
    pub parameters: WindowParameters,
    /// Index of the event time in the input.
    pub time: usize,
    /// Smallest step of event time in microseconds.
    pub unit: Micros,
    /// Early results: a column with the last event time before the row counts in one. They are told so often, in microseconds, counted
    /// from the start of the window, and at its end.
    pub early: Option<Micros>,
    /// Input columns, then `window_start`, `window_end` and `window_time`, which is a millisecond before the end; then that of early
    /// results.
    pub schema: SchemaRef,
}

/// Making a row of each element of a list.
#[derive(Debug, Clone)]
pub struct Unnest {
    /// Index of the list in the input: a list, or a MAP as the list of its keys with values.
    pub column: usize,
    /// Whether the place of the element in its list, from 1, is a column.
    pub ordinality: bool,
    /// Whether a row whose list is empty or NULL stays, with NULLs for the element and its place.
    pub outer: bool,
    /// Input columns; then the element, or its fields if it is a struct, or key and value of a MAP; then the place.
    pub schema: SchemaRef,
}

/// A stateless step.
#[derive(Debug, Clone)]
pub enum Stage {
    /// Puts rows into windows.
    Assign(Assign),
    /// Keeps rows for which the expression is true.
    Filter(Arc<dyn PhysicalExpr>),
    /// Reference join.
    Lookup(Lookup),
    /// Computes columns.
    Project(Project),
    /// A row for each element of a list.
    Unnest(Unnest),
}

impl Stage {
    /// Columns after it; `None` if they are those before it.
    pub fn schema(&self) -> Option<&SchemaRef> {
        match self {
            Self::Assign(a) => Some(&a.schema),
            Self::Filter(_) => None,
            Self::Lookup(l) => Some(&l.schema),
            Self::Project(p) => Some(&p.schema),
            Self::Unnest(u) => Some(&u.schema),
        }
    }
}

/// Makes accumulators of one aggregate call.
pub type AccumulatorFactory = Arc<dyn Fn() -> Result<Box<dyn GroupsAccumulator>> + Send + Sync>;

/// One aggregate call.
#[derive(Clone)]
pub struct Aggregate {
    /// As shown by EXPLAIN: `avg(temperature)`.
    pub name: String,
    /// Arguments over the window's input.
    pub arguments: Vec<Arc<dyn PhysicalExpr>>,
    /// Whether equal arguments count once; the accumulator sees to it, and tells them apart by their bits.
    pub distinct: bool,
    /// `FILTER (WHERE …)`.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
    /// Makes its accumulator.
    pub accumulator: AccumulatorFactory,
    /// Types of the accumulator's state.
    pub state: Vec<FieldRef>,
    /// Type of its result.
    pub result: FieldRef,
}

impl fmt::Debug for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Kind and sizes of a window; the kind is a key of `operators::window::WINDOWS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowParameters {
    /// `tumble`, `hop`, `cumulate` or `session`.
    pub kind: String,
    /// Sizes in microseconds, in the order of the kind's arguments.
    pub sizes: Vec<Micros>,
    /// Windows are aligned to this many microseconds after the epoch, or before it if negative; 0 for sessions.
    pub offset: Micros,
}

/// Aggregation over windows. Output columns: `window_start`, `window_end`, keys, results of the aggregates.
#[derive(Debug, Clone)]
pub struct Window {
    /// Which windows.
    pub parameters: WindowParameters,
    /// Index of the event time in the input.
    pub time: usize,
    /// Group keys beside the window, with their names.
    pub keys: Vec<(Arc<dyn PhysicalExpr>, FieldRef)>,
    /// Aggregate calls.
    pub aggregates: Vec<Aggregate>,
}

impl Window {
    /// Schema of the final result.
    pub fn schema(&self) -> SchemaRef {
        let time = |name: &str| Arc::new(Field::new(name, crate::time::timestamp_type(), false));
        let mut fields: Vec<FieldRef> = vec![time("window_start"), time("window_end")];
        fields.extend(self.keys.iter().map(|(_, f)| f.clone()));
        fields.extend(self.aggregates.iter().map(|a| a.result.clone()));
        Arc::new(Schema::new(fields))
    }

    /// Schema of a partial result: keys, then the states of all aggregates.
    pub fn partial_schema(&self) -> SchemaRef {
        let mut fields: Vec<FieldRef> = self.keys.iter().map(|(_, f)| f.clone()).collect();
        for (a, aggregate) in self.aggregates.iter().enumerate() {
            for (s, field) in aggregate.state.iter().enumerate() {
                fields.push(Arc::new(field.as_ref().clone().with_name(format!("a{a}s{s}")).with_nullable(true)));
            }
        }
        Arc::new(Schema::new(fields))
    }
}
