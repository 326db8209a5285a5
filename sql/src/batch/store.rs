//! Where files are read from. Invariant: the only store is the root of the lake; every other address is refused.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use datafusion::common::{DataFusionError, plan_datafusion_err};
use datafusion::execution::object_store::ObjectStoreRegistry;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use url::Url;

use crate::tables::LAKE_URL;

/// Knows the lake and no other place. It is opened when it is first read, because it may not exist before.
#[derive(Debug)]
pub(super) struct LakeStore {
    root: PathBuf,
    store: OnceLock<Arc<dyn ObjectStore>>,
}

impl LakeStore {
    /// The lake below `root`.
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, store: OnceLock::new() }
    }
}

impl ObjectStoreRegistry for LakeStore {
    /// Nothing can be registered; the caller gets back what it offered.
    fn register_store(&self, _url: &Url, store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        Some(store)
    }

    fn get_store(&self, url: &Url) -> datafusion::error::Result<Arc<dyn ObjectStore>> {
        if url.as_str().trim_end_matches('/') != LAKE_URL {
            return Err(plan_datafusion_err!("only tables of the lake can be read, not {url}"));
        }
        if let Some(store) = self.store.get() {
            return Ok(store.clone());
        }
        let opened = LocalFileSystem::new_with_prefix(&self.root).map_err(|e| DataFusionError::ObjectStore(Box::new(e)))?;
        Ok(self.store.get_or_init(|| Arc::new(opened)).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_other_address_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let store = LakeStore::new(dir.path().to_owned());
        assert!(store.get_store(&Url::parse(LAKE_URL).unwrap()).is_ok());
        let local: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new());
        store.register_store(&Url::parse("file:///").unwrap(), local);
        for other in ["file:///", "file:///etc/passwd", "lake://other", "s3://bucket", "http://localhost"] {
            assert!(store.get_store(&Url::parse(other).unwrap()).is_err(), "{other}");
        }
    }
}
