//! Reading a stream. Invariant: a table is scanned once however often it is named; the event time is always read.

use std::collections::BTreeSet;

use datafusion::logical_expr::logical_plan::TableScan;
use thalweg_engine::error::Error;

use super::lowering::Lowering;
use super::reject::Unsupported;
use super::rel::{At, Physical, Rel, Slot, Visible};
use crate::bind::RelationKind;
use crate::diagnostics::Result;

/// The rows of a stream.
pub(super) fn scan<'a>(lowering: &mut Lowering<'a>, node: &TableScan) -> Result<Rel<'a>> {
    let relation = lowering.relation(node)?;
    let definition = match &relation.kind {
        RelationKind::Stream { definition } => definition,
        RelationKind::Reference { .. } => return Err(Unsupported::REFERENCE_FIRST.at(relation.at)),
        RelationKind::Lake(_) => return Err(Unsupported::STREAM_WITH_LAKE.at(relation.at)),
        RelationKind::Elements(_) => return Err(Unsupported::UNNEST_FIRST.at(relation.at)),
    };
    let time = definition.event_time();
    let index = match lowering.scans.iter().position(|s| s.table == definition.name) {
        Some(index) => index,
        None => {
            let Some(mut scan) = definition.scan() else {
                return Err(Error::internal(format!("table '{}' is no stream", definition.name)).into());
            };
            let mut columns: BTreeSet<usize> = lowering.wanted.get(&definition.name).cloned().unwrap_or_default();
            columns.extend(time);
            if columns.is_empty() {
                columns.insert(0);
            }
            scan.projection = columns.into_iter().collect();
            lowering.scans.push(scan);
            lowering.scans.len() - 1
        }
    };
    let scan = &lowering.scans[index];
    let physical: Vec<Physical> = scan
        .projection
        .iter()
        .map(|&i| Physical { field: scan.columns[i].field.clone(), unit: scan.columns[i].time_unit.max(1) })
        .collect();
    let place_of = |column: usize| scan.projection.iter().position(|&p| p == column);
    let all: Vec<usize> = (0..scan.columns.len()).collect();
    let columns = node.projection.as_ref().unwrap_or(&all).iter().zip(node.projected_schema.iter());
    let columns = columns.map(|(&column, (table, field))| {
        let slot = place_of(column).ok_or_else(|| Error::internal(format!("column {} is not read", field.name())))?;
        Ok(Visible { table: table.cloned(), name: field.name().clone(), planned: field.data_type().clone(), slot: Slot::Physical(slot) })
    });
    let columns = columns.collect::<Result<Vec<Visible>>>()?;
    let time = time.and_then(place_of);
    Ok(Rel {
        state: lowering.planner.state(),
        at: At::Chain { scan: index, stages: Vec::new() },
        unit: time.map_or(1, |t| physical[t].unit),
        physical,
        columns,
        times: time.into_iter().collect(),
        pending: None,
        deferred: Vec::new(),
        attached: None,
        updating: false,
        key: None,
    })
}
