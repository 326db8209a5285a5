//! The rows of the table. Invariant: what must hold and what is aimed at stands here and nowhere else.

/// Who runs a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The engine.
    Thalweg,
    /// DuckDB, in batch.
    DuckDb,
    /// Flink SQL, in streaming mode.
    Flink,
    /// Polars, in batch.
    Polars,
}

impl Who {
    /// As in samples and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Thalweg => "Thalweg",
            Self::DuckDb => "DuckDB",
            Self::Flink => "Flink",
            Self::Polars => "Polars",
        }
    }
}

/// A ratio that must be reached, and one that is aimed at.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    /// What is compared, in the words of the table.
    pub label: &'static str,
    /// Must.
    pub must: f64,
    /// Aim.
    pub aim: f64,
}

/// How a row is measured.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// The engine's queries, by name, beside the peers that run the first of them; peers with a bound are judged.
    Rate { words: &'static [&'static str], peers: &'static [(Who, &'static str)], bounds: &'static [(Who, Bound)] },
    /// At most so many times the time of the slowest of the rows that are named.
    Together { words: &'static [&'static str], alone: &'static [&'static str], bound: Bound },
    /// The rate of the row that is named, at least so many times.
    Faster { words: &'static [&'static str], than: &'static str, bound: Bound },
    /// A command without sizes; each bound is of one ratio or figure that it prints.
    Once { words: &'static [&'static str], bounds: &'static [(Figure, Bound)] },
    /// The largest peak memory of another row's runs, in megabytes.
    Memory { of: &'static str, bound: Bound },
}

/// What is judged in the output of a command.
#[derive(Debug, Clone, Copy)]
pub enum Figure {
    /// At least: one value by another.
    Ratio(&'static str, &'static str),
    /// At most.
    AtMost(&'static str),
    /// At least.
    AtLeast(&'static str),
}

/// A row.
#[derive(Debug)]
pub struct Row {
    /// For `--only`.
    pub name: &'static str,
    /// As in the table.
    pub title: &'static str,
    /// How.
    pub kind: Kind,
}

const fn bound(label: &'static str, must: f64, aim: f64) -> Bound {
    Bound { label, must, aim }
}

/// Every row, in the order of the table.
pub static ROWS: &[Row] = &[
    Row {
        name: "tumbling",
        title: "tumbling 10 s by site after reference join and filter; 4 aggregates",
        kind: Kind::Rate {
            words: &["tumbling"],
            peers: &[(Who::DuckDb, "tumbling"), (Who::Polars, "tumbling"), (Who::Flink, "tumbling")],
            bounds: &[(Who::Flink, bound("× Flink SQL", 10.0, 20.0)), (Who::DuckDb, bound("× DuckDB batch", 1.0, 1.5))],
        },
    },
    Row {
        name: "hopping",
        title: "hopping 60 s by 10 s, by device (10,000 keys); 3 aggregates",
        kind: Kind::Rate {
            words: &["hopping"],
            peers: &[(Who::DuckDb, "hopping"), (Who::Flink, "hopping")],
            bounds: &[(Who::Flink, bound("× Flink SQL", 8.0, 12.0)), (Who::DuckDb, bound("× DuckDB batch", 1.0, 1.5))],
        },
    },
    Row {
        name: "filter",
        title: "filter on reference threshold; 5 columns out",
        kind: Kind::Rate {
            words: &["filter"],
            peers: &[(Who::DuckDb, "filter"), (Who::Polars, "filter"), (Who::Flink, "filter")],
            bounds: &[(Who::Flink, bound("× Flink SQL", 10.0, 20.0)), (Who::DuckDb, bound("× DuckDB batch", 0.8, 1.5))],
        },
    },
    Row {
        name: "session",
        title: "session, gap 5 s, by device; 3 aggregates",
        kind: Kind::Rate {
            words: &["session"],
            peers: &[(Who::DuckDb, "session"), (Who::Flink, "session")],
            bounds: &[(Who::Flink, bound("× Flink SQL", 8.0, 12.0)), (Who::DuckDb, bound("× DuckDB batch", 1.5, 2.5))],
        },
    },
    Row {
        name: "copy",
        title: "JSON to Parquet, zstd: the same seven columns",
        kind: Kind::Rate {
            words: &["copy"],
            peers: &[(Who::DuckDb, "archive"), (Who::Polars, "archive")],
            bounds: &[(Who::DuckDb, bound("× DuckDB COPY", 1.0, 1.5))],
        },
    },
    Row {
        name: "archive",
        title: "JSON to Parquet, zstd: the archive of a stream, with payloads and places of the records (cold path)",
        kind: Kind::Rate {
            words: &["archive"],
            peers: &[(Who::DuckDb, "archive"), (Who::Polars, "archive")],
            bounds: &[(Who::DuckDb, bound("× DuckDB COPY", 1.0, 1.5))],
        },
    },
    Row {
        name: "four-jobs",
        title: "the first four at once on one stream, as four jobs",
        kind: Kind::Together {
            words: &["tumbling", "hopping", "filter", "session"],
            alone: &["tumbling", "hopping", "filter", "session"],
            bound: bound("× the time of the slowest alone, at most", 1.6, 1.3),
        },
    },
    Row {
        name: "four-set",
        title: "the same as one statement set",
        kind: Kind::Together {
            words: &["tumbling", "hopping", "filter", "session", "set"],
            alone: &["tumbling", "hopping", "filter", "session"],
            bound: bound("× the time of the slowest alone, at most", 1.6, 1.3),
        },
    },
    Row {
        name: "avro",
        title: "the tumbling query from Avro payloads",
        kind: Kind::Faster { words: &["tumbling", "avro"], than: "tumbling", bound: bound("× the JSON rate", 2.0, 4.0) },
    },
    Row {
        name: "decode",
        title: "JSON decode alone, one core",
        kind: Kind::Once {
            words: &["decode"],
            bounds: &[
                (Figure::Ratio("all", "arrow_all"), bound("× arrow-json, 7 of 7 columns", 1.5, 2.5)),
                (Figure::Ratio("three", "arrow_three"), bound("× arrow-json, 3 of 7 columns", 3.0, 5.0)),
            ],
        },
    },
    Row {
        name: "latency",
        title: "end-to-end latency at 50,000 events/s over MQTT: device send to result at a client, beyond the window's own wait",
        kind: Kind::Once {
            words: &["latency", "30"],
            bounds: &[
                (Figure::AtMost("row_p99"), bound("ms p99 of rows, at most", 250.0, 100.0)),
                (Figure::AtMost("window_p99"), bound("ms p99 of windows, at most", 250.0, 100.0)),
                (Figure::AtLeast("rate"), bound("events/s acknowledged, at least", 49_500.0, 49_900.0)),
            ],
        },
    },
    Row {
        name: "memory",
        title: "peak memory of the tumbling query over all events",
        kind: Kind::Memory { of: "tumbling", bound: bound("MB, at most", 300.0, 150.0) },
    },
    Row {
        name: "jobs",
        title: "100 small jobs on one stream at 20,000 events/s, whole server",
        kind: Kind::Once {
            words: &["jobs", "100", "20"],
            bounds: &[
                (Figure::AtMost("cores"), bound("cores, at most", 1.0, 0.5)),
                (Figure::AtMost("lag"), bound("records of lag at the end, at most", 20_000.0, 5_000.0)),
                (Figure::AtLeast("rate"), bound("events/s acknowledged, at least", 19_800.0, 19_950.0)),
            ],
        },
    },
    Row { name: "no-jobs", title: "the same without jobs, for comparison", kind: Kind::Once { words: &["jobs", "0", "20"], bounds: &[] } },
];
