//! State of one operator as bytes: a small head and columns. Invariant: `decode(encode(x)) = x`, NULLs and all.
//!
//! ```text
//! head length u32 LE | head (JSON) | Arrow IPC stream: one record batch a pane
//! ```

use std::io::Cursor;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// Head and batches (all of `schema`) as bytes.
pub fn encode<H: Serialize>(head: &H, schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Vec<u8>> {
    let head = serde_json::to_vec(head).map_err(|e| Error::internal(e.to_string()))?;
    let mut bytes = u32::try_from(head.len()).map_err(|_| Error::internal("state head is too long"))?.to_le_bytes().to_vec();
    bytes.extend_from_slice(&head);
    let mut writer = StreamWriter::try_new(&mut bytes, schema)?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.finish()?;
    drop(writer);
    Ok(bytes)
}

/// Bytes back to head and batches. Errors: `Corrupt`.
pub fn decode<H: DeserializeOwned>(bytes: &[u8]) -> Result<(H, Vec<RecordBatch>)> {
    let short = || Error::corrupt("operator state is cut short");
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(short)?;
    let (head, columns) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(short)?;
    let head = serde_json::from_slice(head)?;
    let reader = StreamReader::try_new(Cursor::new(columns), None).map_err(|e| Error::corrupt(e.to_string()))?;
    let batches = reader.collect::<Result<Vec<_>, _>>().map_err(|e| Error::corrupt(e.to_string()))?;
    Ok((head, batches))
}
