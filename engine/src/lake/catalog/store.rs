//! Where the manifests are written. Invariant: the only writer of them; each file is replaced whole, durably, and only if it
//! would change.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::ids::Name;
use crate::lake::about::Namespace;
use crate::lake::catalog::entry::{Entry, Reference};
use crate::lake::catalog::manifest;
use crate::lake::durable::Place;
use crate::lake::environment::Environment;
use crate::lake::table::LakeTable;

/// Writes manifests, and remembers reference data sets.
#[derive(Debug)]
pub(in crate::lake) struct CatalogStore {
    environment: Arc<Environment>,
    references: BTreeMap<Name, Reference>,
    /// Checksum of each file as it was last written.
    written: HashMap<PathBuf, u32>,
}

impl CatalogStore {
    /// Reads back the reference data sets. Errors: `Corrupt` if their file is damaged.
    pub(in crate::lake) fn open(environment: &Arc<Environment>) -> Result<Self> {
        let path = references_path(&environment.root);
        let mut references = BTreeMap::new();
        if path.exists() {
            let list: Vec<Reference> = serde_json::from_slice(&std::fs::read(&path)?)
                .map_err(|e| Error::corrupt(format!("{}: {e}", path.display())).hint("remove the file; references register again"))?;
            references.extend(list.into_iter().map(|r| (r.name.clone(), r)));
        }
        Ok(Self { environment: environment.clone(), references, written: HashMap::new() })
    }

    /// Remembers a reference data set; an older one of that name is replaced.
    pub(in crate::lake) fn register(&mut self, reference: Reference) -> Result<()> {
        self.references.insert(reference.name.clone(), reference);
        self.put_references()
    }

    /// Forgets the reference data sets whose names `keep` refuses.
    pub(in crate::lake) fn retain(&mut self, keep: impl Fn(&Name) -> bool) -> Result<()> {
        let before = self.references.len();
        self.references.retain(|name, _| keep(name));
        if self.references.len() == before { Ok(()) } else { self.put_references() }
    }

    fn put_references(&mut self) -> Result<()> {
        let list: Vec<&Reference> = self.references.values().collect();
        let bytes = serde_json::to_vec_pretty(&list)?;
        self.put(references_path(&self.environment.root), &bytes)
    }

    /// Writes every manifest that changed.
    pub(in crate::lake) fn write(&mut self, tables: &[Arc<LakeTable>]) -> Result<()> {
        let mut entries = tables.iter().map(|t| Entry::of_table(t)).collect::<Result<Vec<_>>>()?;
        for (table, entry) in tables.iter().zip(&entries) {
            self.put_json(table_path(table), entry)?;
        }
        let used: BTreeSet<Namespace> = tables.iter().map(|t| t.namespace()).collect();
        for namespace in Namespace::ALL {
            let path = package_path(&self.environment.root, namespace);
            if used.contains(&namespace) {
                self.put_json(path, &manifest::data_package(namespace.as_str(), &entries)?)?;
            } else if path.exists() {
                // A package has a resource at least; this one's last was removed by hand.
                std::fs::remove_file(path)?;
            }
        }
        entries.extend(self.references.values().map(Entry::of_reference));
        self.put_json(catalog_path(&self.environment.root), &manifest::catalog(&entries))
    }

    /// The manifests that speak of a table.
    pub(in crate::lake) fn manifests(&self, table: &LakeTable) -> Vec<PathBuf> {
        let root = &self.environment.root;
        vec![table_path(table), package_path(root, table.namespace()), catalog_path(root)]
    }

    fn put_json(&mut self, path: PathBuf, document: &impl Serialize) -> Result<()> {
        self.put(path, &serde_json::to_vec_pretty(document)?)
    }

    fn put(&mut self, path: PathBuf, bytes: &[u8]) -> Result<()> {
        let checksum = crc32c::crc32c(bytes);
        if self.written.get(&path) == Some(&checksum) && path.exists() {
            return Ok(());
        }
        let durable = &self.environment.durable;
        path.parent().map_or(Ok(()), |parent| durable.create_dir_all(parent))?;
        durable.write(&path, std::iter::once(bytes), Place::Any)?;
        self.written.insert(path, checksum);
        Ok(())
    }
}

fn table_path(table: &LakeTable) -> PathBuf {
    table.path().join("_meta").join("table.json")
}

fn package_path(root: &Path, namespace: Namespace) -> PathBuf {
    root.join(namespace.as_str()).join("datapackage.json")
}

fn catalog_path(root: &Path) -> PathBuf {
    root.join("_catalog").join("catalog.json")
}

fn references_path(root: &Path) -> PathBuf {
    root.join("_catalog").join("references.json")
}
