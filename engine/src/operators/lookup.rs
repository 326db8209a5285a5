//! Reference joins. Invariant: each row meets at most one row of the reference table, that of the version valid at the row's
//! own time; which version that is does not depend on how rows were batched.
//!
//! ```text
//! keys ─► probe of each version that a row of the batch needs (mostly one) ─► row of the reference table, or a miss
//! inner: misses are dropped, counted as filtered      left: misses get NULLs
//! ```
//!
//! A row without a time, or with a NULL in its key, is a miss. A row whose version was dropped cannot be computed: it is rejected.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{cast, filter, filter_record_batch, interleave, take};
use arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};
use datafusion_physical_expr_common::physical_expr::PhysicalExpr;

use crate::batch::Batch;
use crate::contract::{Operator, Output};
use crate::error::{Error, Result};
use crate::plan;
use crate::plan::LookupKind;
use crate::reference::{ReferenceTable, Version, version_at};
use crate::time::{Micros, format};

/// Joins batches with a reference table.
pub struct LookupOperator {
    plan: plan::Lookup,
    table: Arc<ReferenceTable>,
    /// Key expressions in the order of the table's primary key, with its types.
    keys: Vec<(Arc<dyn PhysicalExpr>, DataType)>,
    /// Columns of the reference table to append.
    columns: Vec<usize>,
}

/// Rows of the reference table that the rows of a batch met.
enum Matches {
    /// All from one version.
    One { version: usize, rows: UInt32Array },
    /// Of several: for each row the version, an index into `probed`, and the row; none for a miss.
    Several { probed: Vec<usize>, rows: Vec<Option<(usize, usize)>> },
}

impl LookupOperator {
    /// An operator for `plan` over `table`. Errors: `Invalid` if the keys are not the table's primary key, or a column is not
    /// in the table.
    pub fn new(plan: plan::Lookup, table: Arc<ReferenceTable>) -> Result<Self> {
        let fields = table.schema().fields();
        let key_of = |&i: &usize| {
            let name = fields[i].name();
            let key = plan.keys.iter().find(|(_, column)| column == name);
            key.map(|(e, _)| (e.clone(), fields[i].data_type().clone())).ok_or(name)
        };
        let keys = table.key().iter().map(key_of).collect::<std::result::Result<Vec<_>, _>>();
        let keys = keys.map_err(|name| {
            Error::invalid(format!("the join with {} does not compare its primary key column {name}", table.name()))
                .hint("compare every column of the primary key with =")
        })?;
        if keys.len() != plan.keys.len() {
            return Err(Error::invalid(format!("the join with {} compares columns that are not its primary key", table.name())));
        }
        let index_of = |name: &String| {
            table.schema().index_of(name).map_err(|_| Error::invalid(format!("reference table {} has no column {name}", table.name())))
        };
        let columns = plan.columns.iter().map(index_of).collect::<Result<Vec<_>>>()?;
        Ok(Self { plan, table, keys, columns })
    }

    fn probe(&self, rows: &RecordBatch, versions: &[Version]) -> Result<Matches> {
        let keys = self.keys.iter().map(|(expression, wanted)| {
            let key = expression.evaluate(rows)?.into_array(rows.num_rows())?;
            if key.data_type() == wanted { Ok(key) } else { Ok(cast(&key, wanted)?) }
        });
        let keys: Vec<ArrayRef> = keys.collect::<Result<_>>()?;
        let newest = versions.len() - 1;
        let Some(time) = &self.plan.time else {
            return Ok(Matches::One { version: newest, rows: versions[newest].content.probe(&keys)? });
        };
        let times = cast(&time.evaluate(rows)?.into_array(rows.num_rows())?, &crate::time::timestamp_type())?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let (min, max) = (arrow::compute::min(times), arrow::compute::max(times));
        let oldest = versions.first().map_or(Micros::MIN, |v| v.valid_from);
        if let Some(time) = min.filter(|&time| time < oldest) {
            // Who pushed the rows finds those of which this is true.
            return Err(Error::invalid(format!(
                "the version of reference table {} that was valid at {} was dropped; the oldest that is kept is valid from {} on",
                self.table.name(),
                format(time),
                format(oldest)
            )));
        }
        let (first, last) = (min.map_or(newest, |t| version_at(versions, t)), max.map_or(newest, |t| version_at(versions, t)));
        if first == last {
            let rows = versions[first].content.probe(&keys)?;
            return Ok(Matches::One { version: first, rows: without_null_times(rows, times)? });
        }
        let version_of: Vec<Option<usize>> = times.iter().map(|t| t.map(|t| version_at(versions, t))).collect();
        let mut probed: Vec<usize> = version_of.iter().flatten().copied().collect();
        probed.sort_unstable();
        probed.dedup();
        let found = probed.iter().map(|&v| versions[v].content.probe(&keys)).collect::<Result<Vec<UInt32Array>>>()?;
        let met = version_of.into_iter().enumerate().map(|(i, version)| {
            let place = probed.binary_search(&version?).ok()?;
            found[place].is_valid(i).then(|| (place, found[place].value(i) as usize))
        });
        let rows = met.collect();
        Ok(Matches::Several { probed, rows })
    }
}

impl Operator for LookupOperator {
    fn push(&mut self, mut batch: Batch, out: &mut Output) -> Result<Option<Batch>> {
        let versions = self.table.versions();
        let mut matches = self.probe(&batch.rows, &versions)?;
        if self.plan.kind == LookupKind::Inner
            && let Some(hits) = matches.hits()
        {
            out.counters.filtered += (hits.len() - hits.true_count()) as u64;
            if hits.true_count() == 0 {
                return Ok(None);
            }
            matches = matches.filter(&hits)?;
            batch = filter_batch(&batch, &hits)?;
        }
        let mut columns = batch.rows.columns().to_vec();
        for &column in &self.columns {
            columns.push(matches.column(&versions, column)?);
        }
        let rows = RecordBatch::try_new(self.plan.schema.clone(), columns)?;
        Ok(Some(Batch { rows, ..batch }))
    }
}

impl Matches {
    /// Which rows met one; none if all did.
    fn hits(&self) -> Option<BooleanArray> {
        let hits = match self {
            Self::One { rows, .. } => BooleanArray::new(rows.nulls()?.inner().clone(), None),
            Self::Several { rows, .. } => rows.iter().map(|r| Some(r.is_some())).collect(),
        };
        (hits.true_count() < hits.len()).then_some(hits)
    }

    /// Only those of the rows that `hits` names.
    fn filter(self, hits: &BooleanArray) -> Result<Self> {
        Ok(match self {
            Self::One { version, rows } => Self::One { version, rows: filter(&rows, hits)?.as_primitive().clone() },
            Self::Several { probed, rows } => Self::Several { probed, rows: rows.into_iter().filter(Option::is_some).collect() },
        })
    }

    /// A column of the reference table, one value a row; NULL for a miss.
    fn column(&self, versions: &[Version], column: usize) -> Result<ArrayRef> {
        match self {
            Self::One { version, rows } => Ok(take(versions[*version].content.rows.column(column), rows, None)?),
            Self::Several { probed, rows } => {
                let mut sources: Vec<ArrayRef> = probed.iter().map(|&v| versions[v].content.rows.column(column).clone()).collect();
                let miss = (sources.len(), 0);
                sources.push(new_null_array(sources[0].data_type(), 1));
                let sources: Vec<&dyn Array> = sources.iter().map(AsRef::as_ref).collect();
                let places: Vec<(usize, usize)> = rows.iter().map(|r| r.unwrap_or(miss)).collect();
                Ok(interleave(&sources, &places)?)
            }
        }
    }
}

/// Makes rows without a time misses.
fn without_null_times(rows: UInt32Array, times: &dyn Array) -> Result<UInt32Array> {
    let Some(nulls) = times.nulls().filter(|n| n.null_count() > 0) else { return Ok(rows) };
    let missing = BooleanArray::new(!nulls.inner(), None);
    Ok(arrow::compute::nullif(&rows, &missing)?.as_primitive().clone())
}

/// The rows that `mask` names, with their offsets and watermarks.
fn filter_batch(batch: &Batch, mask: &BooleanArray) -> Result<Batch> {
    let watermarks = batch.watermarks.as_ref().map(|w| filter(w, mask)).transpose()?;
    Ok(Batch {
        rows: filter_record_batch(&batch.rows, mask)?,
        offsets: filter(&batch.offsets, mask)?.as_primitive().clone(),
        watermarks: watermarks.map(|w| w.as_primitive::<Int64Type>().clone()),
    })
}

#[cfg(test)]
mod tests;
