//! Everything that is not supported, with what to do instead. Invariant: a refusal names the construct, its place and a way
//! out.

use std::borrow::Cow;
use std::fmt::Display;

use sqlparser::tokenizer::Location;

use crate::diagnostics::Problem;

/// A construct that is refused: what it is, and a way out.
#[derive(Debug, Clone)]
pub(crate) struct Unsupported {
    what: Cow<'static, str>,
    hint: &'static str,
}

impl Unsupported {
    pub(crate) const STREAM_WITH_LAKE: Self = Self::new(
        "a stream and a table of the lake cannot be mixed in one query",
        "join a stream with a reference table; query the lake by itself",
    );
    pub(crate) const REFERENCE_ALONE: Self = Self::new(
        "a reference table can only be joined to a stream",
        "write FROM stream AS t JOIN reference FOR SYSTEM_TIME AS OF t.ts AS r ON t.key = r.key",
    );
    pub(crate) const RECURSIVE_WITH: Self = Self::new("WITH RECURSIVE is not supported", "write the steps one by one");
    pub(crate) const TABLE_FUNCTION: Self = Self::new(
        "this table function is not supported",
        "the one window function is TUMBLE(TABLE stream, DESCRIPTOR(column), INTERVAL '10' SECOND)",
    );
    pub(crate) const MATCH_RECOGNIZE: Self = Self::new("MATCH_RECOGNIZE is not supported yet", "leave it out");
    pub(crate) const WINDOW_KIND: Self =
        Self::new("this window is not supported yet", "supported is TUMBLE(TABLE stream, DESCRIPTOR(column), INTERVAL '10' SECOND)");
    pub(crate) const WINDOW_OFFSET: Self =
        Self::new("an offset of windows is not supported yet", "leave it out: windows are aligned to 1970-01-01T00:00:00Z");
    pub(crate) const WINDOW_OVER_TABLE: Self =
        Self::new("TUMBLE needs a stream", "over tables of the lake, group by date_bin(INTERVAL '10 seconds', column)");
    pub(crate) const WINDOW_UNGROUPED: Self =
        Self::new("TUMBLE without GROUP BY is not supported yet", "group by window_start, window_end");
    pub(crate) const WINDOW_GROUP: Self = Self::new(
        "GROUP BY must contain both window_start and window_end",
        "write GROUP BY window_start, window_end, …: a group without its window would grow for ever",
    );
    pub(crate) const WINDOW_COLUMN: Self = Self::new(
        "window_start, window_end and window_time exist only after grouping",
        "group by them as they are, select them, or filter them in HAVING",
    );
    pub(crate) const LEGACY_WINDOW: Self = Self::new(
        "group window functions are not supported",
        "write FROM TABLE(TUMBLE(TABLE stream, DESCRIPTOR(column), INTERVAL '10' SECOND))",
    );
    pub(crate) const VERSION: Self = Self::new("this version of a table is not supported", "write FOR SYSTEM_TIME AS OF t.ts");
    pub(crate) const VERSION_OF_OTHER: Self = Self::new("FOR SYSTEM_TIME AS OF applies to reference tables only", "leave it out");
    pub(crate) const VERSION_MISSING: Self = Self::new(
        "a join with a reference table must say which version it sees",
        "write JOIN reference FOR SYSTEM_TIME AS OF t.ts AS r, with the event time of the stream",
    );
    pub(crate) const VERSION_TIME: Self = Self::new(
        "FOR SYSTEM_TIME AS OF takes the event time of the stream",
        "write FOR SYSTEM_TIME AS OF t.ts; processing time is not supported",
    );
    pub(crate) const JOIN_KIND: Self =
        Self::new("this join is not supported on a stream", "write JOIN or LEFT JOIN with ON and all key columns");
    pub(crate) const JOIN_STREAMS: Self = Self::new("joining two streams is not supported yet", "join a stream with reference tables");
    pub(crate) const JOIN_CONDITION: Self = Self::new(
        "a join with a reference table compares exactly its PRIMARY KEY",
        "write ON t.key = r.key for each key column, joined by AND; put other conditions into WHERE",
    );
    pub(crate) const GROUP_WITHOUT_WINDOW: Self = Self::new(
        "an aggregate over a stream needs a window",
        "write FROM TABLE(TUMBLE(TABLE stream, DESCRIPTOR(ts), INTERVAL '10' SECOND)) … GROUP BY window_start, window_end",
    );
    pub(crate) const DISTINCT: Self = Self::new("DISTINCT in an aggregate is not supported yet", "leave it out, or aggregate in two steps");
    pub(crate) const AGGREGATE_DETAIL: Self =
        Self::new("ORDER BY, WITHIN GROUP and NULL treatment are not supported in aggregates on streams", "leave them out");
    pub(crate) const AVERAGE_OF_INTEGERS: Self =
        Self::new("AVG over whole numbers is not supported: engines disagree on whether it truncates", "write AVG(CAST(x AS DOUBLE))");
    pub(crate) const NUMBER_AS_TIME: Self = Self::new(
        "a number cannot be taken as a time, nor a time as a number",
        "use to_timestamp_millis(x), to_timestamp_seconds(x) or date_part('epoch', x)",
    );
    pub(crate) const VOLATILE: Self = Self::new(
        "a job must give the same result when it is repeated, so this function is not supported on a stream",
        "use the event time or a METADATA column such as received_at",
    );
    pub(crate) const TABLE_ARGUMENT: Self = Self::new("TABLE is only allowed in TUMBLE", "leave it out");
    pub(crate) const PLACEHOLDER: Self = Self::new("parameters are not supported", "write the value itself");
    pub(crate) const INTERVAL_FORM: Self =
        Self::new("intervals with two units or a precision are not supported", "write INTERVAL '10' SECOND");

    const fn new(what: &'static str, hint: &'static str) -> Self {
        Self { what: Cow::Borrowed(what), hint }
    }

    /// A clause that no kind of query supports.
    pub(crate) fn clause(what: &str) -> Self {
        Self { what: Cow::Owned(format!("{what} is not supported")), hint: "leave it out" }
    }

    /// A clause that a stream does not support, and what to do instead.
    pub(crate) fn on_stream(what: &str, hint: &'static str) -> Self {
        Self { what: Cow::Owned(format!("{what} is not supported on a stream")), hint }
    }

    /// The refusal at a place.
    pub(crate) fn at(self, at: Location) -> Problem {
        Problem::new(at, self.what).hint(self.hint)
    }

    /// The refusal at a place, naming what it is about.
    pub(crate) fn named(self, name: impl Display, at: Location) -> Problem {
        Problem::new(at, format!("{name}: {}", self.what)).hint(self.hint)
    }
}
