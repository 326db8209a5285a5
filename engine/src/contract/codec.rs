//! Law of `Decoder`: it is total. Every record is either one row or more of the batch, or one reject; whether a record is
//! good does not depend on which columns are wanted. The tests of each format in `decode/` check it.

use arrow::array::{Int64Array, RecordBatch, UInt64Array};

use crate::batch::{Records, Reject};
use crate::error::Result;

/// What became of records.
#[derive(Debug)]
pub struct Decoded {
    /// Good rows, in offset order, with the wanted columns.
    pub rows: RecordBatch,
    /// Offset of each row.
    pub offsets: UInt64Array,
    /// Receive time of each row in microseconds.
    pub received: Int64Array,
    /// Records that are not in `rows`, in offset order.
    pub rejects: Vec<Reject>,
}

/// Turns payloads into columns.
pub trait Decoder: Send {
    /// Decodes all records. Errors are bugs or exhausted memory, never bad input: that is a reject.
    fn decode(&mut self, records: &Records) -> Result<Decoded>;
}
