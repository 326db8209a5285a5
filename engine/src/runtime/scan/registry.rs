//! Which streams are being read, and how. Invariant: two readers share if and only if they read the same log with the same
//! declaration; which of its columns they want may differ.

use std::sync::{Arc, Mutex, Weak};

use super::reader::ScanReader;
use super::ring::{Company, Ring};
use crate::contract::{Clock, LogStore};
use crate::decode::DecodeSchema;
use crate::error::{Error, Result};
use crate::ids::{Offset, Partition};
use crate::limits::SHARED_BYTES_MAX;
use crate::locks::lock;
use crate::plan::Scan;
use crate::runtime::query::decode_schema;

/// Everything that is being read in this process.
#[derive(Default)]
pub struct SharedScans {
    scans: Mutex<Vec<Weak<SharedScan>>>,
}

/// A stream as one declaration reads it.
pub(super) struct SharedScan {
    pub(super) log: Arc<dyn LogStore>,
    pub(super) format: String,
    /// Without a projection.
    declared: DecodeSchema,
    rings: Vec<Ring>,
}

impl SharedScans {
    /// Begins to read a partition at an offset. Errors: `Invalid` if the format does not fit the columns.
    pub fn reader(
        &self,
        log: &Arc<dyn LogStore>,
        scan: &Scan,
        place: (Partition, Offset),
        company: Company,
        clock: &Arc<dyn Clock>,
    ) -> Result<ScanReader> {
        let schema = decode_schema(scan);
        let shared = self.find(log, &scan.format, &schema);
        ScanReader::new(shared, place, company, schema, clock.clone())
    }

    fn find(&self, log: &Arc<dyn LogStore>, format: &str, schema: &DecodeSchema) -> Arc<SharedScan> {
        let declared = DecodeSchema { projection: Vec::new(), ..schema.clone() };
        let mut scans = lock(&self.scans);
        scans.retain(|s| s.strong_count() > 0);
        let same = |s: &SharedScan| Arc::ptr_eq(&s.log, log) && s.format == format && s.declared == declared;
        if let Some(found) = scans.iter().filter_map(Weak::upgrade).find(|s| same(s)) {
            return found;
        }
        let partitions = log.partitions();
        let bytes_max = SHARED_BYTES_MAX / partitions.max(1) as usize;
        let rings = (0..partitions).map(|_| Ring::new(bytes_max)).collect();
        let scan = Arc::new(SharedScan { log: log.clone(), format: format.to_owned(), declared, rings });
        scans.push(Arc::downgrade(&scan));
        scan
    }
}

impl SharedScan {
    pub(super) fn ring(&self, partition: Partition) -> Result<&Ring> {
        self.rings.get(partition as usize).ok_or_else(|| Error::internal(format!("a log has no partition {partition}")))
    }

    /// What the decoder of these columns has to do.
    pub(super) fn schema(&self, columns: &[usize]) -> DecodeSchema {
        DecodeSchema { projection: columns.to_vec(), ..self.declared.clone() }
    }
}
