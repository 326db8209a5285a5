//! State of one operator as bytes: a small head and columns. Invariant: `decode(encode(x)) = x`, NULLs and all.
//!
//! ```text
//! head length u32 LE | head (JSON) | Arrow IPC stream: one record batch a pane
//! ```
//!
//! States of several operators stand together as `put_state` puts them: nothing for none, one as it is, more each behind its length
//! (u32 LE). Which it is follows from the plan, and checkpoints of jobs with one window are read as they always were.
//!
//! State of several kinds is several of these, each after its length (u64 LE): see `put_part`.
//!
//! All is appended to one buffer, and a length is filled in when it is known: state may be large, and a job stands still meanwhile.

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

/// Appends head and batches (all of `schema`).
pub fn encode<H: Serialize>(bytes: &mut Vec<u8>, head: &H, schema: &SchemaRef, batches: &[RecordBatch]) -> Result<()> {
    let head = serde_json::to_vec(head).map_err(|e| Error::internal(e.to_string()))?;
    let length = u32::try_from(head.len()).map_err(|_| Error::internal("state head is too long"))?;
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&head);
    let mut writer = StreamWriter::try_new(bytes, schema)?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.finish()?;
    Ok(())
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

/// Appends one of `count` states that stand together: what `write` appends. Errors: those of `write`; `Invalid` if it is too long.
pub fn put_state(bytes: &mut Vec<u8>, count: usize, write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
    if count == 1 {
        return write(bytes);
    }
    let start = bytes.len() + size_of::<u32>();
    bytes.resize(start, 0);
    write(bytes)?;
    let length = length_of(bytes.len() - start, || "the state of a window, a step or one of its groups of keys".to_owned())?;
    bytes[start - size_of::<u32>()..start].copy_from_slice(&length);
    Ok(())
}

/// Several states as one.
pub fn join_states(states: &[&[u8]]) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(states.iter().map(|s| s.len() + size_of::<u32>()).sum());
    for state in states {
        put_state(&mut bytes, states.len(), |bytes| {
            bytes.extend_from_slice(state);
            Ok(())
        })?;
    }
    Ok(bytes)
}

/// The `count` states of `put_state`. Errors: `Corrupt` if it holds another number of them.
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

/// Appends a part of a state: what `write` appends. Errors: those of `write`.
pub fn put_part(bytes: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
    let start = bytes.len() + size_of::<u64>();
    bytes.resize(start, 0);
    write(bytes)?;
    let length = (bytes.len() - start) as u64;
    bytes[start - size_of::<u64>()..start].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// The parts of `put_part`. Errors: `Corrupt`.
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

/// The parts of `put_part`. Errors: `Corrupt` if there are not `N`.
pub fn unpack<const N: usize>(bytes: &[u8]) -> Result<[&[u8]; N]> {
    let parts = unpack_all(bytes)?;
    let count = parts.len();
    parts.try_into().map_err(|_| Error::corrupt(format!("operator state has {count} parts, not {N}")))
}

/// Appends columns of any types; they lose their names.
pub fn encode_columns(bytes: &mut Vec<u8>, columns: Vec<ArrayRef>) -> Result<()> {
    if columns.is_empty() {
        return encode(bytes, &(), &Arc::new(Schema::empty()), &[]);
    }
    let names = (0..columns.len()).map(|i| format!("c{i}"));
    let batch = RecordBatch::try_from_iter(names.zip(columns))?;
    encode(bytes, &(), &batch.schema(), std::slice::from_ref(&batch))
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
        let joined = |states: &[Vec<u8>]| join_states(&states.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
        for n in 0..5 {
            let bytes = joined(&states(n));
            assert_eq!(split_states(&bytes, n).unwrap(), states(n));
            for other in (0..5).filter(|&o| o != n && o != 1) {
                assert_eq!(split_states(&bytes, other).is_err(), (n, other) != (1, 0), "{n} as {other}");
            }
        }
        assert_eq!(joined(&[b"as it is".to_vec()]), b"as it is");
        assert_eq!(joined(&[b"a".to_vec(), b"bc".to_vec()]), b"\x01\0\0\0a\x02\0\0\0bc");
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
        let mut bytes = Vec::new();
        put_part(&mut bytes, |bytes| encode_columns(bytes, vec![column.clone(), column.clone()])).unwrap();
        put_part(&mut bytes, |bytes| encode_columns(bytes, Vec::new())).unwrap();
        let before = bytes.len();
        put_part(&mut bytes, |_| Ok(())).unwrap();
        assert_eq!(bytes[before..], [0_u8; 8]);
        let [some, none, empty] = unpack::<3>(&bytes).unwrap();
        assert_eq!((decode_columns(some).unwrap(), decode_columns(none).unwrap()), (vec![column.clone(), column], Vec::new()));
        assert!(empty.is_empty());
        for bad in [&bytes[..bytes.len() - 1], &bytes[..3], b""] {
            assert_eq!(unpack::<3>(bad).unwrap_err().kind(), crate::error::ErrorKind::Corrupt);
        }
        assert_eq!(unpack::<2>(&bytes).unwrap_err().message(), "operator state has 3 parts, not 2");
    }
}
