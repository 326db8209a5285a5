//! State of one operator as bytes: a small head and columns. Invariant: `decode(encode(x)) = x`, NULLs and all.
//!
//! ```text
//! head length u32 LE | head (JSON) | Arrow IPC stream: one record batch a pane
//! ```
//!
//! States of several operators stand together as `join_states` puts them: nothing for none, one as it is, more each behind its length
//! (u32 LE). Which it is follows from the plan, and checkpoints of jobs with one window are read as they always were.
//!
//! State of several kinds is several of these, each after its length (u64 LE).

use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// What makes state smaller, for hints.
pub const LESS_STATE: &str = "group by fewer keys, make windows shorter, let joins and groups forget ('table.exec.state.ttl')";

/// The length of one of several parts, as it stands before its bytes. Errors: `Invalid` if it is too long, since another try would meet that
/// again; `what` names the part.
pub(super) fn length_of(bytes: usize, what: impl FnOnce() -> String) -> Result<[u8; 4]> {
    match u32::try_from(bytes) {
        Ok(length) => Ok(length.to_le_bytes()),
        Err(_) => {
            Err(Error::invalid(format!("{} takes {:.1} GiB, and a checkpoint holds less than 4 GiB of it", what(), bytes as f64 / GIB))
                .hint(format!("{LESS_STATE}; then give the statement again: it goes on from its last checkpoint")))
        }
    }
}

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

/// Several states as one.
pub fn join_states(states: &[Vec<u8>]) -> Result<Vec<u8>> {
    if let [one] = states {
        return Ok(one.clone());
    }
    let mut bytes = Vec::with_capacity(states.iter().map(|s| s.len() + 4).sum());
    for state in states {
        bytes.extend_from_slice(&length_of(state.len(), || "the state of a window, a step or one of its groups of keys".to_owned())?);
        bytes.extend_from_slice(state);
    }
    Ok(bytes)
}

/// The `count` states of `join_states`. Errors: `Corrupt` if it holds another number of them.
pub fn split_states(bytes: &[u8], count: usize) -> Result<Vec<&[u8]>> {
    if count == 1 {
        return Ok(vec![bytes]);
    }
    let wrong = || Error::corrupt(format!("operator state does not hold {count} parts"));
    let (mut states, mut rest) = (Vec::with_capacity(count), bytes);
    for _ in 0..count {
        let (length, after) = rest.split_first_chunk::<4>().ok_or_else(wrong)?;
        let (state, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(wrong)?;
        states.push(state);
        rest = after;
    }
    if rest.is_empty() { Ok(states) } else { Err(wrong()) }
}

/// Parts of a state as one.
pub fn pack(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(parts.iter().map(|p| p.len() + 8).sum());
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

/// The parts of `pack`. Errors: `Corrupt`.
pub fn unpack_all(mut bytes: &[u8]) -> Result<Vec<&[u8]>> {
    let mut parts = Vec::new();
    while !bytes.is_empty() {
        let split = bytes.split_first_chunk::<8>();
        let split = split.and_then(|(length, rest)| rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?));
        let (part, rest) = split.ok_or_else(|| Error::corrupt("operator state is cut short"))?;
        parts.push(part);
        bytes = rest;
    }
    Ok(parts)
}

/// The parts of `pack`. Errors: `Corrupt` if there are not `N`.
pub fn unpack<const N: usize>(bytes: &[u8]) -> Result<[&[u8]; N]> {
    let parts = unpack_all(bytes)?;
    let count = parts.len();
    parts.try_into().map_err(|_| Error::corrupt(format!("operator state has {count} parts, not {N}")))
}

/// Columns of any types as bytes; they lose their names.
pub fn encode_columns(columns: Vec<ArrayRef>) -> Result<Vec<u8>> {
    if columns.is_empty() {
        return encode(&(), &Arc::new(Schema::empty()), &[]);
    }
    let names = (0..columns.len()).map(|i| format!("c{i}"));
    let batch = RecordBatch::try_from_iter(names.zip(columns))?;
    encode(&(), &batch.schema(), std::slice::from_ref(&batch))
}

/// The columns of `encode_columns`. Errors: `Corrupt`.
pub fn decode_columns(bytes: &[u8]) -> Result<Vec<ArrayRef>> {
    let ((), batches) = decode(bytes)?;
    Ok(batches.first().map(|b| b.columns().to_vec()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;

    use super::*;

    #[test]
    fn a_pack_gives_back_its_parts_and_no_other_number_of_them() {
        let states = |n: usize| (0..n).map(|i| vec![i as u8; i * 3]).collect::<Vec<_>>();
        for n in 0..5 {
            let bytes = join_states(&states(n)).unwrap();
            assert_eq!(split_states(&bytes, n).unwrap(), states(n));
            for other in (0..5).filter(|&o| o != n && o != 1) {
                assert_eq!(split_states(&bytes, other).is_err(), (n, other) != (1, 0), "{n} as {other}");
            }
        }
        assert_eq!(join_states(&[b"as it is".to_vec()]).unwrap(), b"as it is");
    }

    #[test]
    fn a_part_that_is_too_long_is_named_and_not_tried_again() {
        assert_eq!(length_of(u32::MAX as usize, || panic!("it fits")).unwrap(), [255; 4]);
        let error = length_of(6 << 30, || "the state of partition 3".to_owned()).unwrap_err();
        assert_eq!(error.kind(), crate::error::ErrorKind::Invalid);
        assert_eq!(error.message(), "the state of partition 3 takes 6.0 GiB, and a checkpoint holds less than 4 GiB of it");
        assert!(error.hint_text().unwrap().starts_with(LESS_STATE), "{error}");
    }

    #[test]
    fn parts_come_back() {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        let parts = [encode_columns(vec![column.clone(), column.clone()]).unwrap(), encode_columns(Vec::new()).unwrap(), Vec::new()];
        let bytes = pack(&parts);
        let [some, none, empty] = unpack::<3>(&bytes).unwrap();
        assert_eq!((decode_columns(some).unwrap(), decode_columns(none).unwrap()), (vec![column.clone(), column], Vec::new()));
        assert!(empty.is_empty());
        for bad in [&bytes[..bytes.len() - 1], &bytes[..3], b""] {
            assert_eq!(unpack::<3>(bad).unwrap_err().kind(), crate::error::ErrorKind::Corrupt);
        }
        assert_eq!(unpack::<2>(&bytes).unwrap_err().message(), "operator state has 3 parts, not 2");
    }
}
