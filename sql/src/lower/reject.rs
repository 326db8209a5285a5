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
    pub(crate) const DISTINCT_ON: Self =
        Self::new("DISTINCT ON is not supported on a stream", "write QUALIFY ROW_NUMBER() OVER (PARTITION BY key ORDER BY ts) = 1");
    pub(crate) const RECURSIVE_WITH: Self = Self::new("WITH RECURSIVE is not supported", "write the steps one by one");
    pub(crate) const TABLE_FUNCTION: Self =
        Self::new("this table function is not supported", "write TUMBLE(TABLE stream, DESCRIPTOR(column), INTERVAL '10' SECOND)");
    pub(crate) const MATCH_RECOGNIZE: Self = Self::new("MATCH_RECOGNIZE is not supported yet", "leave it out");
    pub(crate) const WINDOW_GROUP: Self = Self::new(
        "GROUP BY must contain both window_start and window_end",
        "write GROUP BY window_start, window_end, …: a group without its window would grow for ever",
    );
    pub(crate) const WINDOW_COLUMN: Self = Self::new(
        "window_start, window_end and window_time exist only after grouping",
        "group by them as they are, select them, or filter them in HAVING",
    );
    pub(crate) const WINDOW_OVER_TABLE: Self =
        Self::new("a window function needs a stream", "over tables of the lake, group by date_bin(INTERVAL '10 seconds', column)");
    pub(crate) const REFERENCE_FIRST: Self =
        Self::new("the stream comes first", "write FROM stream AS t JOIN reference FOR SYSTEM_TIME AS OF t.ts AS r");
    pub(crate) const SESSION_UNGROUPED: Self =
        Self::new("a session is known only when it has ended", "group by window_start, window_end and the columns of its PARTITION BY");
    pub(crate) const WINDOW_UPDATING: Self =
        Self::new("windows need rows that do not change", "cut the stream into windows first, and group the windows");
    pub(crate) const EARLY_SESSION: Self = Self::new(
        "early results are told of TUMBLE, HOP and CUMULATE: sessions grow together",
        "RESET 'table.exec.emit.early-fire.enabled', or write TUMBLE",
    );
    pub(crate) const EARLY_ATTACHED: Self = Self::new(
        "early results are told of windows over a stream, not of those over other windows or joins of them",
        "RESET 'table.exec.emit.early-fire.enabled', or group the stream itself",
    );
    pub(crate) const EARLY_MANY: Self = Self::new(
        "early results are told of windows of which a row lies in few",
        "choose a longer slide or step, or RESET 'table.exec.emit.early-fire.enabled'",
    );
    pub(crate) const OVER_UPDATING: Self =
        Self::new("OVER needs rows that do not change", "use OVER before grouping, or number rows: ROW_NUMBER() OVER (…) <= n");
    pub(crate) const LOOKUP_UPDATING: Self =
        Self::new("a join with a reference table needs rows that do not change", "join before grouping");
    pub(crate) const UNNEST_FIRST: Self =
        Self::new("UNNEST needs a table whose lists it takes", "write FROM stream AS t CROSS JOIN UNNEST(t.list) AS u (element)");
    pub(crate) const UNNEST_EARLIER: Self = Self::new(
        "behind a comma UNNEST takes lists of the table right before it",
        "write FROM b, a, UNNEST(a.list) AS u (element), or a JOIN b ON … CROSS JOIN UNNEST(a.list) AS u (element)",
    );
    pub(crate) const UNNEST_ONE: Self =
        Self::new("UNNEST takes one list", "write CROSS JOIN UNNEST(t.a) AS u (x) CROSS JOIN UNNEST(t.b) AS v (y)");
    pub(crate) const UNNEST_NAMES: Self = Self::new(
        "UNNEST needs names for its columns",
        "write UNNEST(t.list) AS u (element): one name, two for a MAP, one for each field of a ROW, one more WITH ORDINALITY",
    );
    pub(crate) const UNNEST_KIND: Self =
        Self::new("this join with UNNEST is not supported", "write CROSS JOIN UNNEST(…), or LEFT JOIN UNNEST(…) AS u (element) ON TRUE");
    pub(crate) const UNNEST_OF_LAKE: Self = Self::new(
        "over tables of the lake a column is not unnested in FROM",
        "unnest it in SELECT: SELECT id, UNNEST(list) AS element FROM t",
    );
    pub(crate) const LOOKUP_KIND: Self =
        Self::new("a join with a reference table is inner or left", "write JOIN or LEFT JOIN reference FOR SYSTEM_TIME AS OF t.ts");
    pub(crate) const NULL_AWARE: Self = Self::new(
        "NOT IN over values that may be NULL is not supported on a stream",
        "write NOT EXISTS (SELECT 1 FROM b WHERE b.key = a.key)",
    );
    pub(crate) const NULL_EQUAL: Self = Self::new(
        "INTERSECT, EXCEPT and a join by IS NOT DISTINCT FROM are not supported on a stream",
        "write EXISTS or NOT EXISTS, or a join that compares with =",
    );
    pub(crate) const ASOF: Self = Self::new(
        "an ASOF join compares keys with = and the two event times with >= or >",
        "write FROM a ASOF JOIN b MATCH_CONDITION (a.ts >= b.ts) ON a.key = b.key",
    );
    pub(crate) const JOIN_WITHOUT_TTL: Self = Self::new(
        "this join of two streams would keep every row for ever",
        "bound the distance in time (b.ts BETWEEN a.ts AND a.ts + INTERVAL '5' MINUTE), join windows, or SET 'table.exec.state.ttl' = '1 h'",
    );
    pub(crate) const SEMI_WITHOUT_TTL: Self = Self::new(
        "EXISTS or IN over another stream would keep every row for ever",
        "cut both sides into windows and compare window_start and window_end, or SET 'table.exec.state.ttl' = '1 h'",
    );
    pub(crate) const COMPUTED: Self = Self::new(
        "a computed column or a watermark is computed from the columns of one row",
        "leave aggregates and OVER out; write them in the SELECT",
    );
    pub(crate) const ROW_OFFSET: Self =
        Self::new("the second argument of LAG and LEAD is a whole number", "write LAG(x, 1), or LEAD(x, 1) for the other direction");
    pub(crate) const LEAD_ROWS: Self =
        Self::new("LEAD would hold back too many rows of each partition", "look fewer rows ahead, or write LAG and look back");
    pub(crate) const ONE_ROW: Self = Self::new(
        "FILTER and DISTINCT are not supported where one row of OVER is taken",
        "leave the other rows out in a subquery: FROM (SELECT * FROM t WHERE …)",
    );
    pub(crate) const NAMED_WINDOW: Self = Self::new(
        "only the items of SELECT and QUALIFY know the windows of WINDOW",
        "write the window out: OVER (PARTITION BY … ORDER BY …)",
    );
    pub(crate) const FRAME: Self = Self::new(
        "a frame ends at the current row and begins before it",
        "write ROWS BETWEEN 9 PRECEDING AND CURRENT ROW, or RANGE BETWEEN INTERVAL '10' SECOND PRECEDING AND CURRENT ROW",
    );
    pub(crate) const RANK_ORDER: Self = Self::new("ROW_NUMBER needs an order", "write OVER (PARTITION BY key ORDER BY column DESC)");
    pub(crate) const SHARED_NUMBER: Self = Self::new(
        "rows of equal order would share a number on a stream, and nothing bounds how many",
        "write ROW_NUMBER() OVER (PARTITION BY key ORDER BY column DESC) <= 3, as for Flink",
    );
    pub(crate) const SUBQUERY: Self = Self::new(
        "this subquery gives a value that would change with every row",
        "write AVG(x) OVER (ORDER BY ts) for a value so far, join windows for one of each window, or EXISTS or IN in WHERE",
    );
    pub(crate) const CUBE_SIZE: Self = Self::new("CUBE has too many columns", "write the GROUPING SETS that you need");
    pub(crate) const UPDATES: Self = Self::new(
        "the query changes rows that it gave before, and the table has no key to find them by",
        "declare PRIMARY KEY (column, …) NOT ENFORCED in the table, or group by windows",
    );
    pub(crate) const LEGACY_WINDOW: Self = Self::new(
        "a window function stands in GROUP BY or in FROM",
        "write GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), or FROM TABLE(TUMBLE(TABLE stream, DESCRIPTOR(ts), INTERVAL '10' SECOND))",
    );
    pub(crate) const VERSION: Self = Self::new("this version of a table is not supported", "write FOR SYSTEM_TIME AS OF t.ts");
    pub(crate) const VERSION_OF_OTHER: Self = Self::new(
        "FOR SYSTEM_TIME AS OF applies to reference tables only",
        "for the newest row of a stream write ASOF JOIN b MATCH_CONDITION (a.ts >= b.ts) ON a.key = b.key; elsewhere leave it out",
    );
    pub(crate) const VERSION_MISSING: Self = Self::new(
        "a join with a reference table must say which version it sees",
        "write JOIN reference FOR SYSTEM_TIME AS OF t.ts AS r, with the event time of the stream",
    );
    pub(crate) const VERSION_TIME: Self = Self::new(
        "FOR SYSTEM_TIME AS OF takes the event time of the stream",
        "write FOR SYSTEM_TIME AS OF t.ts with the column of WATERMARK FOR, or a column AS PROCTIME() for the newest version",
    );
    pub(crate) const JOIN_KIND: Self =
        Self::new("this join is not supported on a stream", "write JOIN or LEFT JOIN with ON and all key columns");
    pub(crate) const SEMI_BY_TIME: Self = Self::new(
        "EXISTS and IN cannot be bounded by the distance in time",
        "write a JOIN with the bound, or cut both sides into windows and compare window_start and window_end, or SET 'table.exec.state.ttl' = '1 h'",
    );
    pub(crate) const JOIN_CONDITION: Self = Self::new(
        "a join with a reference table compares exactly its PRIMARY KEY",
        "write ON t.key = r.key for each key column, joined by AND; put other conditions into WHERE",
    );
    pub(crate) const AGGREGATE_DETAIL: Self =
        Self::new("ORDER BY, WITHIN GROUP and NULL treatment are not supported in aggregates on streams", "leave them out");
    pub(crate) const NUMBER_AS_TIME: Self = Self::new(
        "a number cannot be taken as a time, nor a time as a number",
        "use to_timestamp_millis(x), to_timestamp_seconds(x) or date_part('epoch', x)",
    );
    pub(crate) const VOLATILE: Self = Self::new(
        "a job must give the same result when it is repeated, so this function is not supported on a stream",
        "use the event time or a METADATA column such as received_at",
    );
    pub(crate) const CLOCK: Self = Self::new(
        "without arguments it reads the clock, and what is computed again must give the same result",
        "write UNIX_TIMESTAMP(text), or use the event time; batch queries know TO_UNIXTIME(NOW())",
    );
    pub(crate) const PROCESSING_TIME: Self = Self::new(
        "a processing time has no value: it only says that FOR SYSTEM_TIME AS OF means the newest version",
        "use the event time, or a METADATA column such as received_at",
    );
    pub(crate) const TABLE_ARGUMENT: Self = Self::new("TABLE is only allowed in TUMBLE", "leave it out");
    pub(crate) const ALIAS_TYPE: Self =
        Self::new("names of columns have no types here", "write AS t (a, b), and CAST(a AS INT) where the column is read");
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
