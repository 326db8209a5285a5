//! Benchmarks by name. Invariant: it measures nothing itself; what is measured stands in `benches/`.

use crate::cargo::{cargo, succeed};
use crate::tree::{Tree, root};

/// Without arguments lists the benchmarks with the first sentence of their documentation, else runs those that are named.
pub fn run(names: &[String]) -> Result<(), String> {
    let tree = Tree::load(&root())?;
    let known: Vec<(&str, &str)> = tree
        .rust()
        .filter_map(|f| Some((f.path.strip_prefix("benches/")?.strip_suffix(".rs")?, f.text.lines().next()?.trim_start_matches("//! "))))
        .filter(|(name, _)| !name.contains('/'))
        .collect();
    if names.is_empty() {
        known.iter().for_each(|(name, about)| println!("{name:24} {about}"));
        return Ok(());
    }
    for name in names {
        if !known.iter().any(|(k, _)| k == name) {
            return Err(format!("there is no benches/{name}.rs; without a name all are listed"));
        }
        succeed(cargo(&["bench", "--bench", name]))?;
    }
    Ok(())
}
