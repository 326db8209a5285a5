//! Rows as text. Invariant: a changelog and the rows that it ends with look the same.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use thalweg_engine::changes::Changes;
use thalweg_engine::error::{Error, Result};

/// Rows that a difference shows of each kind.
const TOLD: usize = 5;

/// Each row of a batch, each value as text.
pub fn shown(rows: &RecordBatch) -> Result<Vec<Vec<String>>> {
    let options = FormatOptions::new().with_null("NULL");
    let columns = rows.columns().iter().map(|c| ArrayFormatter::try_new(c.as_ref(), &options));
    let columns = columns.collect::<std::result::Result<Vec<_>, _>>()?;
    Ok((0..rows.num_rows()).map(|row| columns.iter().map(|c| c.value(row).to_string()).collect()).collect())
}

/// What is left of all changes, sorted. Errors: `Internal` if a row is taken back that is not there.
pub fn folded(changes: &[Changes]) -> Result<Vec<Vec<String>>> {
    let mut counts: BTreeMap<Vec<String>, i64> = BTreeMap::new();
    for batch in changes {
        for (i, row) in shown(&batch.rows)?.into_iter().enumerate() {
            let count = counts.entry(row.clone()).or_default();
            *count += if batch.kind(i).adds() { 1 } else { -1 };
            if *count < 0 {
                return Err(Error::internal(format!("{row:?} is taken back and was not there")));
            }
        }
    }
    let times = |(row, count): (Vec<String>, i64)| std::iter::repeat_n(row, usize::try_from(count).unwrap_or(0));
    Ok(counts.into_iter().flat_map(times).collect())
}

/// What a table with the primary key `key` holds after all changes, sorted: of each key the newest row, as long as it is not taken back.
pub fn stored(changes: &[Changes], key: &[usize]) -> Result<Vec<Vec<String>>> {
    let mut table: BTreeMap<Vec<String>, Vec<String>> = BTreeMap::new();
    for batch in changes {
        for (i, row) in shown(&batch.rows)?.into_iter().enumerate() {
            let key = key.iter().filter_map(|&k| row.get(k).cloned()).collect();
            if batch.kind(i).adds() {
                table.insert(key, row);
            } else {
                table.remove(&key);
            }
        }
    }
    let mut rows: Vec<Vec<String>> = table.into_values().collect();
    rows.sort();
    Ok(rows)
}

/// What tells two lists of sorted rows apart: how many rows only one of them has, and the first of these. `None` if nothing does.
pub fn difference(want: &[Vec<String>], got: &[Vec<String>]) -> Option<String> {
    let mut counts: BTreeMap<&[String], i64> = BTreeMap::new();
    want.iter().for_each(|row| *counts.entry(row).or_default() -= 1);
    got.iter().for_each(|row| *counts.entry(row).or_default() += 1);
    let told = |sign: i64| {
        let rows: Vec<_> = counts.iter().filter(|(_, count)| **count * sign > 0).map(|(row, _)| row.join(" | ")).collect();
        (rows.len(), rows.into_iter().take(TOLD).collect::<Vec<_>>().join("\n  "))
    };
    let ((missing, first_missing), (extra, first_extra)) = (told(-1), told(1));
    (missing + extra > 0).then(|| format!("{missing} missing:\n  {first_missing}\n{extra} too many:\n  {first_extra}"))
}
