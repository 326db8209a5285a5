//! Who may import whom inside the engine. Invariant: an import goes to a lower rank; modules of one rank never see each
//! other, except the words of rank 0, which must not form a circle.

use std::collections::BTreeSet;

use crate::rust::{Source, closing, split_list, words};
use crate::tree::{Finding, Tree};

/// Modules of the engine with their ranks. A new module needs a line, and that line is a decision.
const RANKS: &[(&str, u8)] = &[
    ("batch", 0),
    ("changes", 0),
    ("decimal", 0),
    ("error", 0),
    ("ids", 0),
    ("json", 0),
    ("limits", 0),
    ("locks", 0),
    ("metrics", 0),
    ("parallel", 0),
    ("time", 0),
    ("topic", 0),
    ("contract", 1),
    ("decode", 2),
    ("log", 2),
    ("plan", 2),
    ("reference", 2),
    ("room", 2),
    ("state", 2),
    ("system", 2),
    ("operators", 3),
    ("lake", 4),
    ("runtime", 5),
];

/// Crates that only some modules of the engine may use.
const CRATE_HOMES: &[(&str, &str)] = &[("deltalake_core", "lake"), ("object_store", "lake"), ("parquet", "lake")];

const LIB: &str = "engine/src/lib.rs";

fn rank(module: &str) -> Option<u8> {
    RANKS.iter().find(|(name, _)| *name == module).map(|(_, rank)| *rank)
}

/// Imports go down, every module has a rank, and the lake's crates stay in the lake.
pub fn ordered(tree: &Tree) -> Vec<Finding> {
    let mut findings = unranked(tree);
    let mut words_edges: BTreeSet<(String, String)> = BTreeSet::new();
    for file in tree.rust() {
        let Some(module) = module_of(&file.path) else { continue };
        let source = Source::new(file);
        findings.extend(strangers(&source, module));
        let Some(own) = rank(module) else { continue };
        for (at, target) in imports(source.production()) {
            let Some(other) = rank(target).filter(|_| target != module) else { continue };
            if other == 0 && own == 0 {
                words_edges.insert((module.to_owned(), target.to_owned()));
            } else if other >= own {
                let message = format!("{module} (rank {own}) imports {target} (rank {other}): imports go to a lower rank only");
                findings.push(Finding::new(&file.path, source.line(at), message));
            }
        }
    }
    findings.extend(circle(words_edges));
    findings
}

/// Module that a file of the engine belongs to; `None` for `lib.rs` and files elsewhere.
fn module_of(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("engine/src/").filter(|_| path != LIB)?;
    rest.split(['/', '.']).next()
}

fn unranked(tree: &Tree) -> Vec<Finding> {
    let Some(file) = tree.files.iter().find(|f| f.path == LIB) else { return Vec::new() };
    let source = Source::new(file);
    let code = source.production();
    let mut tokens = words(code).peekable();
    let mut findings = Vec::new();
    while let Some((at, word)) = tokens.next() {
        let Some(&(_, name)) = tokens.peek() else { break };
        if word == "mod" && rank(name).is_none() {
            let message = format!("module {name} has no rank: give it one in xtask/src/layers.rs");
            findings.push(Finding::new(LIB, source.line(at), message));
        }
    }
    findings
}

/// Crates used outside their home.
fn strangers(source: &Source<'_>, module: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, word) in words(&source.code) {
        let Some((_, home)) = CRATE_HOMES.iter().find(|(name, _)| *name == word) else { continue };
        let (before, after) = (source.code[..at].trim_end(), &source.code[at + word.len()..]);
        if *home != module && after.starts_with("::") && !before.ends_with("::") {
            findings.push(Finding::new(&source.file.path, source.line(at), format!("only engine::{home} may use {word}")));
        }
    }
    findings
}

/// Modules named after `crate::`, also in groups, with positions.
fn imports(code: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (at, _) in words(code).filter(|(_, word)| *word == "crate") {
        let Some(rest) = code[at + 5..].strip_prefix("::") else { continue };
        let start = code.len() - rest.len();
        if rest.starts_with('{') {
            let parts = split_list(code, start + 1, closing(code, start) - 1);
            found.extend(parts.into_iter().filter_map(|part| words(&code[part.clone()]).next().map(|(_, word)| (at, word))));
        } else {
            found.extend(words(rest).next().map(|(_, word)| (at, word)));
        }
    }
    found
}

/// Takes away modules that import none of the others, until nothing is left or the rest is a circle.
fn circle(mut edges: BTreeSet<(String, String)>) -> Option<Finding> {
    loop {
        let sources: BTreeSet<String> = edges.iter().map(|(from, _)| from.clone()).collect();
        let before = edges.len();
        edges.retain(|(_, to)| sources.contains(to));
        if edges.is_empty() {
            return None;
        }
        if edges.len() == before {
            let names: Vec<String> = edges.into_iter().map(|(from, to)| format!("{from} → {to}")).collect();
            return Some(Finding::new(LIB, 0, format!("modules of rank 0 import each other in a circle: {}", names.join(", "))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(files: &[(&str, &str)]) -> Vec<String> {
        ordered(&Tree::of(files)).into_iter().map(|f| f.to_string()).collect()
    }

    #[test]
    fn imports_upwards_and_sideways_are_found() {
        let found = messages(&[
            ("engine/src/log/mod.rs", "use crate::{error::Error, decode::{self, Format}};\n"),
            ("engine/src/decode/json.rs", "fn f() {\n    crate::operators::filter();\n    crate::contract::x();\n}\n"),
            ("engine/src/operators/a.rs", "use crate::operators::b;\n#[cfg(test)]\nmod tests {\n    use crate::runtime::x;\n}\n"),
        ]);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("engine/src/log/mod.rs:1: log (rank 2) imports decode (rank 2)"), "{found:?}");
        assert!(found[1].starts_with("engine/src/decode/json.rs:2: decode (rank 2) imports operators"), "{found:?}");
    }

    #[test]
    fn a_module_without_a_rank_is_found() {
        let found = messages(&[(LIB, "//! Map.\npub mod log;\nmod helpers;\n")]);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("engine/src/lib.rs:3: module helpers has no rank"), "{found:?}");
    }

    #[test]
    fn a_circle_of_words_is_found() {
        let line = messages(&[("engine/src/ids.rs", "use crate::error::E;\n"), ("engine/src/topic.rs", "use crate::ids::I;\n")]);
        assert!(line.is_empty(), "{line:?}");
        let ring = messages(&[("engine/src/ids.rs", "use crate::error::E;\n"), ("engine/src/error.rs", "use crate::ids::I;\n")]);
        assert!(ring[0].contains("error → ids, ids → error"), "{ring:?}");
    }

    #[test]
    fn parquet_outside_the_lake_is_found() {
        let found = messages(&[
            ("engine/src/lake/file.rs", "use parquet::arrow::ArrowWriter;\n"),
            ("engine/src/state/mod.rs", "use parquet::arrow::ArrowWriter;\nuse self::object_store::X;\n"),
        ]);
        assert_eq!(found, ["engine/src/state/mod.rs:1: only engine::lake may use parquet"]);
    }
}
