//! Devices and operators as one object. Invariant: every change goes through its methods, which audit it first.

use std::path::Path;
use std::sync::Arc;

use thalweg_engine::contract::{Clock, Disk, Revocation};
use thalweg_engine::error::Result;
use thalweg_engine::limits::REVOCATIONS_MAX;
use tokio::sync::broadcast;

use crate::audit::Audit;
use crate::catalog::Catalog;
use crate::registry::Registry;
use crate::throttle::Throttle;
use crate::tokens::Tokens;

/// All devices, what is known about them, and the tokens of those who manage them.
#[derive(Debug)]
pub struct Devices {
    pub(crate) registry: Registry,
    pub(crate) catalog: Catalog,
    pub(crate) tokens: Tokens,
    pub(crate) audit: Audit,
    pub(crate) throttle: Throttle,
    pub(crate) revocations: broadcast::Sender<Revocation>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Devices {
    /// Reads what is stored in `dir`, or begins there. Errors: `Corrupt`, naming file and line, if stored bytes are damaged.
    pub fn open(dir: &Path, disk: Arc<dyn Disk>, clock: Arc<dyn Clock>) -> Result<Arc<Self>> {
        disk.create_dir_all(dir)?;
        Ok(Arc::new(Self {
            registry: Registry::open(disk.clone(), dir.join("registry.journal"))?,
            catalog: Catalog::open(disk.clone(), dir.join("catalog.journal"))?,
            tokens: Tokens::open(disk.clone(), dir.join("tokens.journal"))?,
            audit: Audit::open(disk, dir.join("audit.journal"), clock.clone())?,
            throttle: Throttle::default(),
            revocations: broadcast::channel(REVOCATIONS_MAX).0,
            clock,
        }))
    }

    /// Writes out when devices were last heard of. Call it every minute or so, and at the end.
    pub fn flush_seen(&self) -> Result<()> {
        self.registry.flush_seen()
    }
}
