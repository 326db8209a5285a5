//! The streams and the reference table of all cases. Invariant: what both sides know of a table stands here once: the engine gets it as
//! CREATE TABLE, the oracle as a schema.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use thalweg_engine::time::{MILLISECOND, Micros, SECOND};

use crate::columns::{Column, Kind, Precision};

/// What values a column gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// A number that no other row of the table has.
    Id,
    /// Event time.
    Time,
    /// The device that sends.
    Device,
    /// A few texts, some of them often, some NULL.
    Key,
    /// Texts of all kinds.
    Word,
    /// Whole numbers around 0, some NULL.
    Number,
    /// Quarters around 0, some NULL: their sums are exact.
    Quarter,
    /// True, false or NULL.
    Truth,
}

/// A column of a table.
#[derive(Debug)]
pub struct Declared {
    /// Name.
    pub name: &'static str,
    /// SQL type.
    pub sql: &'static str,
    /// Values.
    pub fill: Fill,
}

/// A stream.
#[derive(Debug)]
pub struct Table {
    /// Name.
    pub name: &'static str,
    /// How far the watermark is behind.
    pub delay: Micros,
    /// Smallest step of its event time.
    pub unit: Micros,
    /// Columns.
    pub columns: &'static [Declared],
}

/// Name of the reference table, whose key is `k`.
pub const REFERENCE: &str = "sites";
/// Its rows: key, site and threshold. Some keys of the streams are missing.
pub const REFERENCE_ROWS: [(&str, &str, Option<f64>); 4] =
    [("a", "north", Some(1.5)), ("b", "south", None), ("c", "north", Some(-2.25)), ("long key", "west", Some(0.0))];

/// Every stream. In the first one the column that tells rows apart comes first: there rows of one time have a known order.
pub static TABLES: &[Table] = &[
    Table {
        name: "readings",
        delay: 5 * SECOND,
        unit: MILLISECOND,
        columns: &[
            Declared { name: "id", sql: "BIGINT", fill: Fill::Id },
            Declared { name: "device_id", sql: "STRING", fill: Fill::Device },
            Declared { name: "k", sql: "STRING", fill: Fill::Key },
            Declared { name: "g", sql: "INT", fill: Fill::Number },
            Declared { name: "v", sql: "DOUBLE", fill: Fill::Quarter },
            Declared { name: "n", sql: "BIGINT", fill: Fill::Number },
            Declared { name: "ok", sql: "BOOLEAN", fill: Fill::Truth },
            Declared { name: "s", sql: "STRING", fill: Fill::Word },
            Declared { name: "ts", sql: "TIMESTAMP(3)", fill: Fill::Time },
        ],
    },
    Table {
        name: "orders",
        delay: SECOND,
        unit: MILLISECOND,
        columns: &[
            Declared { name: "ts", sql: "TIMESTAMP(3)", fill: Fill::Time },
            Declared { name: "k", sql: "STRING", fill: Fill::Key },
            Declared { name: "id", sql: "BIGINT", fill: Fill::Id },
            Declared { name: "v", sql: "DOUBLE", fill: Fill::Quarter },
            Declared { name: "n", sql: "INT", fill: Fill::Number },
            Declared { name: "s", sql: "STRING", fill: Fill::Word },
            Declared { name: "ok", sql: "BOOLEAN", fill: Fill::Truth },
        ],
    },
    Table {
        name: "ticks",
        delay: 20 * SECOND,
        unit: 1,
        columns: &[
            Declared { name: "id", sql: "BIGINT", fill: Fill::Id },
            Declared { name: "k", sql: "STRING", fill: Fill::Key },
            Declared { name: "ts", sql: "TIMESTAMP(6)", fill: Fill::Time },
            Declared { name: "v", sql: "DOUBLE", fill: Fill::Quarter },
            Declared { name: "n", sql: "BIGINT", fill: Fill::Number },
        ],
    },
];

impl Fill {
    /// What the grammar knows of such a column.
    pub fn kind(self) -> (Kind, Precision) {
        match self {
            Self::Id | Self::Number => (Kind::Whole, Precision::Sums),
            Self::Time => (Kind::Time, Precision::Sums),
            Self::Device | Self::Key | Self::Word => (Kind::Text, Precision::Sums),
            Self::Quarter => (Kind::Double, Precision::Sums),
            Self::Truth => (Kind::Truth, Precision::Sums),
        }
    }
}

impl Table {
    /// The statement that declares it.
    pub fn create(&self) -> String {
        let columns: Vec<String> = self.columns.iter().map(|c| format!("{} {}", c.name, c.sql)).collect();
        format!(
            "CREATE TABLE {0} ({1}, WATERMARK FOR ts AS ts - INTERVAL '{2}' SECOND) WITH ('connector' = 'log', 'stream' = '{0}', 'format' = 'json')",
            self.name,
            columns.join(", "),
            self.delay / SECOND
        )
    }

    /// Its columns in the grammar.
    pub fn columns(&self) -> Vec<Column> {
        let column = |c: &Declared| {
            let (kind, precision) = c.fill.kind();
            Column { name: c.name.to_owned(), kind, precision }
        };
        self.columns.iter().map(column).collect()
    }

    /// Its schema for the oracle.
    pub fn schema(&self) -> SchemaRef {
        let data_type = |c: &Declared| match c.fill.kind().0 {
            Kind::Whole if c.sql == "INT" => DataType::Int32,
            Kind::Whole => DataType::Int64,
            Kind::Double => DataType::Float64,
            Kind::Text => DataType::Utf8,
            Kind::Truth => DataType::Boolean,
            Kind::Time => DataType::Timestamp(TimeUnit::Microsecond, None),
        };
        Arc::new(Schema::new(self.columns.iter().map(|c| Field::new(c.name, data_type(c), true)).collect::<Vec<_>>()))
    }
}

/// The statement that declares the reference table, and its file.
pub fn create_reference() -> (String, String) {
    let create = format!(
        "CREATE TABLE {REFERENCE} (k STRING, site STRING, threshold DOUBLE, PRIMARY KEY (k) NOT ENFORCED) \
         WITH ('connector' = 'reference', 'path' = '{REFERENCE}.csv', 'format' = 'csv', 'refresh' = '30s')"
    );
    let row = |(k, site, threshold): &(&str, &str, Option<f64>)| {
        format!("{k},{site},{}\n", threshold.map_or_else(String::new, |t| t.to_string()))
    };
    (create, format!("{REFERENCE}.csv\nk,site,threshold\n{}", REFERENCE_ROWS.iter().map(row).collect::<String>()))
}
