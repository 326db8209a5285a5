//! What the steps behind the exchange do. Invariant: plain data; column indexes and expressions refer to the schema of the input
//! that they stand for.

use std::fmt;
use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion_expr_common::accumulator::Accumulator;
use datafusion_physical_expr_common::physical_expr::PhysicalExpr;

use crate::error::Result;
use crate::time::Micros;

/// Which rows of a join leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinKind {
    /// Pairs.
    Inner,
    /// Pairs, and left rows without one.
    Left,
    /// Pairs, and right rows without one.
    Right,
    /// Pairs, and rows of both sides without one.
    Full,
    /// Left rows that have a pair, once; their columns alone.
    LeftSemi,
    /// Left rows without a pair; their columns alone.
    LeftAnti,
}

/// One input of a join.
#[derive(Debug, Clone)]
pub struct JoinSide {
    /// Its rows.
    pub schema: SchemaRef,
    /// Equal to the other side's of the same place, with the same types; a NULL equals nothing.
    pub keys: Vec<Arc<dyn PhysicalExpr>>,
    /// Index of its event time; for a window join, of its `window_end`. Unused by a regular join, which has `times`.
    pub time: usize,
    /// Smallest step of that time in microseconds.
    pub unit: Micros,
}

/// Pairs of rows with equal keys and event times that are near.
#[derive(Debug, Clone)]
pub struct IntervalJoin {
    /// All but semi and anti.
    pub kind: JoinKind,
    /// Left input.
    pub left: JoinSide,
    /// Right input.
    pub right: JoinSide,
    /// `right.time - left.time` is at least this, in microseconds; may be negative.
    pub lower: Micros,
    /// And at most this.
    pub upper: Micros,
    /// What else must be true of a pair, over left columns then right columns.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
    /// Left columns, then right columns.
    pub schema: SchemaRef,
}

/// Pairs of rows of the same window, which is among the keys.
#[derive(Debug, Clone)]
pub struct WindowJoin {
    /// Any.
    pub kind: JoinKind,
    /// Left input; `time` is its `window_end`.
    pub left: JoinSide,
    /// Right input.
    pub right: JoinSide,
    /// What else must be true of a pair, over left columns then right columns.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
    /// Left columns, then right columns unless the kind is semi or anti.
    pub schema: SchemaRef,
}

/// Each left row with the newest right row of its key that is not newer.
#[derive(Debug, Clone)]
pub struct AsofJoin {
    /// Inner or left.
    pub kind: JoinKind,
    /// Left input.
    pub left: JoinSide,
    /// Right input.
    pub right: JoinSide,
    /// Whether equal times match: `>=` does, `>` does not.
    pub or_equal: bool,
    /// A right row that is older than this, in microseconds, does not match; `None` keeps the newest for ever.
    pub within: Option<Micros>,
    /// Left columns, then right columns.
    pub schema: SchemaRef,
}

/// Pairs of rows whenever they come, as a changelog.
#[derive(Debug, Clone)]
pub struct RegularJoin {
    /// Any.
    pub kind: JoinKind,
    /// Left input.
    pub left: JoinSide,
    /// Right input.
    pub right: JoinSide,
    /// What else must be true of a pair, over left columns then right columns.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
    /// Event times of the left and the right, by index, if both have one and neither changes. Then rows are a pair only if these are at most
    /// `ttl` apart.
    pub times: Option<[usize; 2]>,
    /// A row is forgotten when event time has gone on by this since its own, in microseconds; without `times`, since it came.
    pub ttl: Micros,
    /// Left columns, then right columns unless the kind is semi or anti.
    pub schema: SchemaRef,
}

/// A column to sort by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SortKey {
    /// Index in the input.
    pub column: usize,
    /// Direction and place of NULLs.
    pub options: SortOptions,
}

/// The first rows of each group in an order: top-N, and deduplication when one row is kept.
#[derive(Debug, Clone)]
pub struct Rank {
    /// The input.
    pub input: SchemaRef,
    /// Columns whose equal values make a group; NULLs are equal.
    pub partition: Vec<usize>,
    /// Order within a group; rows that tie are ordered by their columns from left to right.
    pub order: Vec<SortKey>,
    /// Places to skip: `rn > 2` is 2.
    pub offset: u64,
    /// Places to keep after those.
    pub limit: u64,
    /// Whether the place is a column, the last one of the output: BIGINT, from 1.
    pub place: bool,
    /// Event time of the input; `None` if the input is updating.
    pub time: Option<usize>,
    /// Index of `window_end` in the input, one of the columns of `partition`: then groups are complete when the watermark has passed it, and leave
    /// once, as inserts, in the order of window end, partition and place.
    pub window_end: Option<usize>,
    /// Smallest step of the window's end in microseconds.
    pub unit: Micros,
    /// A group is forgotten when event time has gone on by this since it last changed; `None` keeps it.
    pub ttl: Option<Micros>,
    /// Input columns, then the place if it is asked for.
    pub schema: SchemaRef,
}

/// Makes an accumulator of one aggregate call for one group; it takes rows back if the function can.
pub type RetractableFactory = Arc<dyn Fn() -> Result<Box<dyn Accumulator>> + Send + Sync>;

/// One aggregate call over rows that may be taken back.
#[derive(Clone)]
pub struct RetractableAggregate {
    /// As shown by EXPLAIN: `avg(temperature)`.
    pub name: String,
    /// Arguments over the input.
    pub arguments: Vec<Arc<dyn PhysicalExpr>>,
    /// Whether equal arguments count once; the accumulator gets each value once.
    pub distinct: bool,
    /// `FILTER (WHERE …)`.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
    /// Makes its accumulator.
    pub accumulator: RetractableFactory,
    /// Its result.
    pub result: FieldRef,
}

impl fmt::Debug for RetractableAggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// When a group says how its row has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Once for all rows that have come.
    Together,
    /// Once for each event time, whatever comes together; rows of one time are taken in the order of this column.
    EachTime {
        /// Its index in the input.
        order: usize,
    },
}

/// GROUP BY without a window, or with early results of one: a row a group, changed by the rows that come.
#[derive(Debug, Clone)]
pub struct Group {
    /// The input.
    pub input: SchemaRef,
    /// Group keys, with their names; NULLs are equal. Without any there is one group, which exists when the first row comes.
    pub keys: Vec<(Arc<dyn PhysicalExpr>, FieldRef)>,
    /// Aggregate calls; without any this is DISTINCT.
    pub aggregates: Vec<RetractableAggregate>,
    /// Event time of the input; `None` if the input is updating.
    pub time: Option<usize>,
    /// When changes are told.
    pub told: Told,
    /// A group is forgotten when event time has gone on by this since it last changed; `None` keeps it.
    pub ttl: Option<Micros>,
    /// Keys, then results.
    pub schema: SchemaRef,
}

/// Rows before the current one that an OVER call sees, all of its partition; the current one is always among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// So many rows before it; `None` is all.
    Rows(Option<u64>),
    /// Rows at most so many microseconds older, and all of the same time; `None` is all.
    Range(Option<Micros>),
}

/// What an OVER call computes.
#[derive(Debug, Clone)]
pub enum OverFunction {
    /// An aggregate over the frame.
    Aggregate(RetractableAggregate),
    /// Place in the partition, from 1.
    RowNumber,
    /// The value so many rows before.
    Lag {
        /// The value.
        argument: Arc<dyn PhysicalExpr>,
        /// Rows before the current one; 0 is the current one.
        offset: u64,
        /// Instead of NULL where there is no such row; over the current row.
        default: Option<Arc<dyn PhysicalExpr>>,
    },
    /// The value so many rows after; the row waits for that one.
    Lead {
        /// The value.
        argument: Arc<dyn PhysicalExpr>,
        /// Rows after the current one; 0 is the current one.
        offset: u64,
        /// Instead of NULL where the partition is forgotten before there is such a row; over the current row.
        default: Option<Arc<dyn PhysicalExpr>>,
    },
    /// The first value of the frame.
    FirstValue {
        /// The value.
        argument: Arc<dyn PhysicalExpr>,
        /// Whether NULLs are passed over.
        ignore_nulls: bool,
    },
    /// The last value of the frame.
    LastValue {
        /// The value.
        argument: Arc<dyn PhysicalExpr>,
        /// Whether NULLs are passed over.
        ignore_nulls: bool,
    },
}

/// One OVER call.
#[derive(Debug, Clone)]
pub struct OverCall {
    /// What it computes.
    pub function: OverFunction,
    /// Over which rows.
    pub frame: Frame,
    /// Name and type of its result.
    pub result: FieldRef,
}

/// OVER (PARTITION BY … ORDER BY event time).
#[derive(Debug, Clone)]
pub struct Over {
    /// The input.
    pub input: SchemaRef,
    /// Makes the partitions; NULLs are equal.
    pub partition: Vec<Arc<dyn PhysicalExpr>>,
    /// Event time of the input. Rows of the same time are ordered by their columns from left to right.
    pub time: usize,
    /// The calls.
    pub calls: Vec<OverCall>,
    /// State of a partition is forgotten when event time has gone on by this since its last row; `None` keeps it.
    pub ttl: Option<Micros>,
    /// Input columns, then the results of the calls.
    pub schema: SchemaRef,
}

/// Of the rows with the same key, the newest that is left: what a sink with that primary key can take, whatever tells the rows apart.
#[derive(Debug, Clone)]
pub struct Upsert {
    /// The columns that tell the results apart, by index; NULLs are equal.
    pub key: Vec<usize>,
    /// A key is forgotten when event time has gone on by this since it last changed; `None` keeps it.
    pub ttl: Option<Micros>,
    /// The columns of input and output.
    pub schema: SchemaRef,
}
