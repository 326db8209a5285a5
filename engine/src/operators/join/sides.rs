//! State of both sides of a join as bytes. Invariant: `decode(encode(x)) = x`; a batch whose columns are not those of its side is
//! corrupt, never taken over.
//!
//! ```text
//! length of the left u64 LE | left: see `state::snapshot` | right        columns of a batch: the side's, then those of the state
//! ```

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::operators::compact::compact;
use crate::state::snapshot;

/// Rows of one side, each batch with its columns of the state.
pub type Batches = Vec<(RecordBatch, Vec<ArrayRef>)>;

/// Columns of the state, by name and type.
pub type Beside<'a> = &'a [(&'a str, DataType)];

/// Appends a head and both sides.
pub fn encode<H: Serialize>(
    bytes: &mut Vec<u8>,
    head: &H,
    schemas: [&SchemaRef; 2],
    beside: Beside<'_>,
    [left, right]: [Batches; 2],
) -> Result<()> {
    snapshot::put_part(bytes, |bytes| encode_side(bytes, head, schemas[0], beside, left))?;
    encode_side(bytes, &(), schemas[1], beside, right)
}

/// Bytes back to head and sides. Errors: `Corrupt`.
pub fn decode<H: DeserializeOwned>(bytes: &[u8], schemas: [&SchemaRef; 2], beside: Beside<'_>) -> Result<(H, [Batches; 2])> {
    let short = || Error::corrupt("the state of a join is cut short");
    let (length, rest) = bytes.split_first_chunk::<8>().ok_or_else(short)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| short())?;
    let (left, right) = rest.split_at_checked(length).ok_or_else(short)?;
    let (head, left) = snapshot::decode::<H>(left)?;
    let ((), right) = snapshot::decode::<()>(right)?;
    Ok((head, [split(left, schemas[0], beside)?, split(right, schemas[1], beside)?]))
}

fn encode_side<H: Serialize>(bytes: &mut Vec<u8>, head: &H, schema: &SchemaRef, beside: Beside<'_>, batches: Batches) -> Result<()> {
    let mut fields = schema.fields().to_vec();
    fields.extend(beside.iter().map(|(name, of)| Arc::new(Field::new(*name, of.clone(), false))));
    let schema = Arc::new(Schema::new(fields));
    let whole = batches.into_iter().map(|(rows, beside)| {
        let columns = compact(&rows)?.columns().iter().cloned().chain(beside).collect();
        Ok(RecordBatch::try_new(schema.clone(), columns)?)
    });
    snapshot::encode(bytes, head, &schema, &whole.collect::<Result<Vec<_>>>()?)
}

fn split(batches: Vec<RecordBatch>, schema: &SchemaRef, beside: Beside<'_>) -> Result<Batches> {
    let types: Vec<&DataType> = schema.fields().iter().map(|f| f.data_type()).chain(beside.iter().map(|(_, of)| of)).collect();
    let split = batches.into_iter().map(|batch| {
        if !batch.columns().iter().map(|c| c.data_type()).eq(types.iter().copied()) {
            return Err(Error::corrupt("the state of a join has other columns than its input"));
        }
        let (rows, beside) = batch.columns().split_at(schema.fields().len());
        let rows = RecordBatch::try_new(schema.clone(), rows.to_vec()).map_err(|e| Error::corrupt(e.to_string()))?;
        Ok((rows, beside.to_vec()))
    });
    split.collect()
}
