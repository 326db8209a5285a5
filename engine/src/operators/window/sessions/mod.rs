//! Sessions. Partitions find them and keep a state each; the merge stage puts those of a key together that touch.
//!
//! ```text
//! a partition:  rows ─► fragment of each row (key, first, last) ─► state        a key:  [fragment]  gap  [fragment][fragment]
//!               session over ─► its fragments merged in their order                     one session      another
//! merged:       sessions of a key that overlap or touch, in the order of their first rows and of partitions ─► result
//! ```
//!
//! A row extends the fragment that it is near to; one that joins two leaves them as two states, which are merged when no row can come
//! between them any more. So every state is made of its rows in their order, and merging is the same wherever batches are cut.
//!
//! A partition may have passed the end of a session that an open one of another partition reaches into. So each tells of its open
//! sessions once no row can come before their first, and the merge stage waits for those that touch.
//!
//! Invariant: a session leaves when no row at or before its end can come: rows that are exactly a gap apart are always together.

mod fragments;
mod keys;
mod merge;
mod operator;
mod states;

pub use merge::SessionMerge;
pub use operator::SessionOperator;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};

use crate::plan;

/// Times of the first and the last row and the number of rows, `extra`, then keys and states.
fn schema(window: &plan::Window, extra: Option<Field>) -> SchemaRef {
    let partial = window.partial_schema();
    let lead = [
        Field::new("first", DataType::Int64, false),
        Field::new("last", DataType::Int64, true),
        Field::new("rows", DataType::UInt64, false),
    ];
    let lead = lead.into_iter().chain(extra).map(Arc::new);
    Arc::new(Schema::new(lead.chain(partial.fields().iter().cloned()).collect::<Vec<FieldRef>>()))
}
