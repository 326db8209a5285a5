//! Edges between crates. Invariant: our crates depend on each other only as listed here; a crate with a home is a dependency
//! of its home alone; what the workspace names is used; and the columnar crates exist once.

use std::collections::BTreeSet;

use crate::tree::{Finding, Tree};

/// Our crates with the ones of ours they may depend on. `Cargo.toml` in the root is the composition: it may see all.
const OURS: &[(&str, &[&str])] = &[
    ("Cargo.toml", &["thalweg-engine", "thalweg-connectors", "thalweg-devices", "thalweg-replay", "thalweg-sql"]),
    ("connectors/Cargo.toml", &["thalweg-engine"]),
    ("devices/Cargo.toml", &["thalweg-engine"]),
    ("engine/Cargo.toml", &[]),
    ("sql/Cargo.toml", &["thalweg-engine"]),
    ("engine/loom/Cargo.toml", &[]),
    ("fuzz/Cargo.toml", &["thalweg-replay"]),
    ("tests/differ/Cargo.toml", &["thalweg-engine", "thalweg-replay"]),
    ("tests/replay/Cargo.toml", &["thalweg-connectors", "thalweg-engine", "thalweg-sql"]),
    ("tests/torture/Cargo.toml", &["thalweg", "thalweg-devices", "thalweg-differ", "thalweg-engine", "thalweg-replay"]),
    ("xtask/Cargo.toml", &[]),
];

/// Crates that only some members may depend on. Tests may use more: development dependencies are free.
const HOMES: &[(&str, &[&str])] = &[
    ("axum", &["Cargo.toml"]),
    ("clap", &["Cargo.toml", "tests/torture/Cargo.toml"]),
    ("datafusion", &["sql/Cargo.toml", "tests/differ/Cargo.toml"]),
    ("deltalake-core", &["engine/Cargo.toml"]),
    ("mqtt-protocol-core", &["connectors/Cargo.toml"]),
    ("object_store", &["engine/Cargo.toml", "sql/Cargo.toml"]),
    ("parquet", &["engine/Cargo.toml", "tests/torture/Cargo.toml"]),
    ("rumqttc", &["connectors/Cargo.toml"]),
    ("sqlparser", &["sql/Cargo.toml"]),
];

/// Crates of which two versions would mean two kinds of the same column or file.
const SINGLE: &[&str] = &["arrow", "datafusion", "object_store", "parquet"];

/// One key of a dependency table.
struct Dependency<'a> {
    table: &'a str,
    name: &'a str,
    line: usize,
}

/// Dependencies point one way, and the heavy crates stay at home.
pub fn directed(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|f| f.path == "Cargo.toml" || f.path.ends_with("/Cargo.toml")) {
        let Some((_, allowed)) = OURS.iter().find(|(path, _)| *path == file.path) else {
            findings.push(Finding::new(&file.path, 0, "a new crate: say in xtask/src/dependencies.rs what it may depend on"));
            continue;
        };
        for dependency in dependencies(&file.text).filter(|d| d.table != "workspace.dependencies") {
            let name = dependency.name;
            if name.starts_with("thalweg") && !allowed.contains(&name) {
                findings.push(Finding::new(&file.path, dependency.line, format!("this crate may not depend on {name}")));
            }
            if file.path == "xtask/Cargo.toml" {
                findings.push(Finding::new(&file.path, dependency.line, format!("xtask has no dependencies, not even {name}")));
            }
            let home = HOMES.iter().find(|(crate_name, _)| *crate_name == name).filter(|_| dependency.table == "dependencies");
            if let Some((_, homes)) = home.filter(|(_, homes)| !homes.contains(&file.path.as_str())) {
                findings.push(Finding::new(&file.path, dependency.line, format!("only {} may depend on {name}", homes.join(" and "))));
            }
        }
    }
    findings
}

/// What the workspace names is used by a member.
pub fn used(tree: &Tree) -> Vec<Finding> {
    let members = tree.files.iter().filter(|f| f.path == "Cargo.toml" || f.path.ends_with("/Cargo.toml"));
    let taken: BTreeSet<&str> =
        members.flat_map(|f| dependencies(&f.text)).filter(|d| d.table != "workspace.dependencies").map(|d| d.name).collect();
    let named = dependencies(tree.get("Cargo.toml").unwrap_or_default()).filter(|d| d.table == "workspace.dependencies");
    named
        .filter(|d| !taken.contains(d.name))
        .map(|d| Finding::new("Cargo.toml", d.line, format!("no member depends on {}: remove it", d.name)))
        .collect()
}

/// The lock file holds one version of each columnar crate.
pub fn single(tree: &Tree) -> Vec<Finding> {
    let lock = tree.get("Cargo.lock").unwrap_or_default();
    let count = |name: &str| lock.lines().filter(|line| *line == format!("name = \"{name}\"")).count();
    SINGLE
        .iter()
        .filter(|name| count(name) > 1)
        .map(|name| Finding::new("Cargo.lock", 0, format!("{} versions of {name}: only one may be", count(name))))
        .collect()
}

fn dependencies(text: &str) -> impl Iterator<Item = Dependency<'_>> {
    let mut table = "";
    text.lines().enumerate().filter_map(move |(index, line)| {
        if let Some(header) = line.strip_prefix('[') {
            table = header.trim_end_matches(']');
            return None;
        }
        if !table.ends_with("dependencies") || line.starts_with([' ', '#', ']']) {
            return None;
        }
        let name = line.split(['.', '=', ' ']).next().filter(|name| !name.is_empty())?;
        Some(Dependency { table, name, line: index + 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(findings: Vec<Finding>) -> Vec<(String, usize)> {
        findings.into_iter().map(|f| (f.path, f.line)).collect()
    }

    #[test]
    fn forbidden_edges_are_found() {
        let tree = Tree::of(&[
            ("sql/Cargo.toml", "[dependencies]\nthalweg-engine.workspace = true\nthalweg-devices.workspace = true\nparquet = \"1\"\n"),
            ("connectors/Cargo.toml", "[dependencies]\nclap.workspace = true\n[dev-dependencies]\naxum.workspace = true\n"),
            ("xtask/Cargo.toml", "[dev-dependencies]\ntempfile = \"3\"\n"),
            ("extra/Cargo.toml", "[package]\n"),
        ]);
        let want =
            [("sql/Cargo.toml", 3), ("sql/Cargo.toml", 4), ("connectors/Cargo.toml", 2), ("xtask/Cargo.toml", 2), ("extra/Cargo.toml", 0)];
        assert_eq!(lines(directed(&tree)), want.map(|(path, line)| (path.to_owned(), line)));
    }

    #[test]
    fn an_unused_dependency_is_found() {
        let root = "[workspace.dependencies]\nbytes = \"1\"\ndatafusion = { features = [\n    \"sql\",\n] }\nurl = \"2\"\n[dependencies]\nbytes.workspace = true\n";
        let tree = Tree::of(&[("Cargo.toml", root), ("sql/Cargo.toml", "[dependencies]\ndatafusion.workspace = true\n")]);
        assert_eq!(lines(used(&tree)), [("Cargo.toml".to_owned(), 6)]);
    }

    #[test]
    fn a_second_version_is_found() {
        let lock = "[[package]]\nname = \"arrow\"\nversion = \"1\"\n[[package]]\nname = \"arrow\"\nversion = \"2\"\n[[package]]\nname = \"parquet\"\n";
        assert_eq!(single(&Tree::of(&[("Cargo.lock", lock)])).len(), 1);
    }
}
