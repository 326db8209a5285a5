//! Streams and reference tables as DataFusion sees them. Invariant: names and types only; nothing can be read through a marker.

use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::TableSource;

/// A table that exists for planning.
pub(crate) struct Marker(SchemaRef);

impl Marker {
    /// A table with these columns.
    pub(crate) fn new(schema: SchemaRef) -> Self {
        Self(schema)
    }
}

impl TableSource for Marker {
    fn schema(&self) -> SchemaRef {
        self.0.clone()
    }
}
