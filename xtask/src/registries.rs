//! A feature is a value in a visible list. Invariant: each list is sorted and names every file of its folder that exports
//! such a value, so that nothing is written and then forgotten.

use std::ops::Range;

use crate::rust::{Source, closing, split_list, words};
use crate::tree::{File, Finding, Tree};

/// One list.
struct Registry {
    /// Name of the static.
    list: &'static str,
    /// File that holds it.
    file: &'static str,
    /// What the other files of the folder, or the `mod.rs` of its folders, export.
    export: &'static str,
}

/// Every list, sorted by name.
const REGISTRIES: &[Registry] = &[
    Registry { list: "COMMANDS", file: "xtask/src/main.rs", export: "COMMAND" },
    Registry { list: "CONNECTORS", file: "connectors/src/lib.rs", export: "SPEC" },
    Registry { list: "FAMILIES", file: "sql/src/lint/mod.rs", export: "FAMILY" },
    Registry { list: "FORMATS", file: "engine/src/decode/mod.rs", export: "FORMAT" },
    Registry { list: "ROUTES", file: "src/server/routes.rs", export: "ROUTE" },
    Registry { list: "TESTS", file: "tests/torture/src/lib.rs", export: "TEST" },
    Registry { list: "WINDOWS", file: "engine/src/operators/window/mod.rs", export: "KIND" },
];

/// Lists whose file is not there, or has no modules, yet: there is nothing to list.
pub fn missing(tree: &Tree) -> Vec<String> {
    let absent = REGISTRIES.iter().filter(|r| home(tree, r).is_none());
    absent.map(|r| format!("{} is not checked until {} has modules", r.list, r.file)).collect()
}

fn home<'a>(tree: &'a Tree, registry: &Registry) -> Option<&'a File> {
    tree.files.iter().find(|f| f.path == registry.file && (f.text.contains("mod ") || f.text.contains(registry.list)))
}

/// Lists are sorted and complete.
pub fn complete(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for registry in REGISTRIES {
        let Some(file) = home(tree, registry) else { continue };
        let source = Source::new(file);
        let Some(entries) = entries(&source, registry.list) else {
            findings.push(Finding::new(registry.file, 0, format!("the list {} is missing", registry.list)));
            continue;
        };
        for pair in entries.windows(2) {
            let (before, after) = (key(&source, &pair[0]), key(&source, &pair[1]));
            if before >= after {
                let message = format!("{}: {} must stand before {}, once", registry.list, after.0, before.0);
                findings.push(Finding::new(registry.file, source.line(pair[1].start), message));
            }
        }
        let listed: Vec<&str> = entries.iter().map(|e| source.code[e.clone()].trim_start_matches('&')).collect();
        for module in exporters(tree, registry) {
            let entry = format!("{module}::{}", registry.export);
            if !listed.contains(&entry.as_str()) {
                findings.push(Finding::new(registry.file, 0, format!("{entry} is not in {}", registry.list)));
            }
        }
    }
    findings
}

/// Where the entries of `NAME: &[…] = &[…]` stand.
fn entries(source: &Source<'_>, list: &str) -> Option<Vec<Range<usize>>> {
    let code = &source.code;
    let (at, _) = words(code).find(|(at, word)| *word == list && code[at + word.len()..].trim_start().starts_with(':'))?;
    let equals = at + code[at..].find('=')?;
    let open = equals + code[equals..].find('[')?;
    Some(split_list(code, open + 1, closing(code, open) - 1))
}

/// What an entry is sorted by: its first literal if it is written in place, else its path; then all of it.
fn key<'a>(source: &Source<'a>, entry: &Range<usize>) -> (&'a str, &'a str) {
    let text = source.file.text[entry.clone()].trim_start_matches('&');
    (text.split('"').nth(1).unwrap_or(text), text)
}

/// Modules beside the list that export such a value.
fn exporters<'a>(tree: &'a Tree, registry: &Registry) -> Vec<&'a str> {
    let folder = registry.file.rsplit_once('/').map_or("", |(folder, _)| folder);
    let exports = |file: &File| {
        let source = Source::new(file);
        // The torture tests are programs below `tests/`: what they export is no test module.
        let production = if file.path.starts_with("tests/") { source.code.as_str() } else { source.production() };
        let declares = |word: &str| word == "static" || word == "const";
        words(production).zip(words(production).skip(1)).any(|((_, first), (_, second))| declares(first) && second == registry.export)
    };
    let module = |path: &'a str| {
        let rest = path.strip_prefix(folder)?.strip_prefix('/')?;
        let name = rest.strip_suffix("/mod.rs").or_else(|| rest.strip_suffix(".rs"))?;
        (!name.contains('/') && !["lib", "mod"].contains(&name)).then_some(name)
    };
    tree.rust().filter_map(|file| module(&file.path).filter(|_| exports(file))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: &str = "//! S.\npub(super) static SPEC: ConnectorSpec = ConnectorSpec { name: \"x\" };\n";

    fn messages(files: &[(&str, &str)]) -> Vec<String> {
        complete(&Tree::of(files)).into_iter().map(|f| f.message).collect()
    }

    #[test]
    fn a_complete_and_sorted_list_passes() {
        let list = "mod file;\npub static CONNECTORS: &[&ConnectorSpec] = &[&file::SPEC, &mqtt::SPEC];\n";
        let helper = "//! No connector: it uses SPEC.\nfn f() { file::SPEC; }\n";
        let files = [
            ("connectors/src/lib.rs", list),
            ("connectors/src/file.rs", SPEC),
            ("connectors/src/mqtt/mod.rs", SPEC),
            ("connectors/src/mqtt/helper.rs", SPEC),
            ("connectors/src/helper.rs", helper),
        ];
        assert!(messages(&files).is_empty(), "{:?}", messages(&files));
    }

    #[test]
    fn forgotten_and_unsorted_entries_are_found() {
        let list = "mod file;\npub static CONNECTORS: &[&ConnectorSpec] = &[&mqtt::SPEC, &http::SPEC];\n";
        let found = messages(&[("connectors/src/lib.rs", list), ("connectors/src/file.rs", SPEC)]);
        assert_eq!(found, ["CONNECTORS: http::SPEC must stand before mqtt::SPEC, once", "file::SPEC is not in CONNECTORS"]);
        assert_eq!(messages(&[("connectors/src/lib.rs", "mod file;\n")]), ["the list CONNECTORS is missing"]);
    }

    #[test]
    fn a_forgotten_torture_test_is_found() {
        let list = "mod kill;\nmod full;\npub static TESTS: &[&Test] = &[&kill::TEST];\n";
        let test = "//! T.\npub static TEST: Test = Test { name: \"x\" };\n";
        let files = [("tests/torture/src/lib.rs", list), ("tests/torture/src/kill.rs", test), ("tests/torture/src/full.rs", test)];
        assert_eq!(messages(&files), ["full::TEST is not in TESTS"]);
    }

    #[test]
    fn entries_in_place_are_sorted_by_their_first_literal_and_then_by_the_rest() {
        let list = "pub static ROUTES: &[Route] = &[\n    Route::new(GET, \"/v1/b\", a),\n    // then a\n    Route::new(POST, \"/v1/a\", b),\n    Route::new(PUT, \"/v1/a\", b),\n];\n";
        assert_eq!(messages(&[("src/server/routes.rs", list)]), ["ROUTES: /v1/a must stand before /v1/b, once"]);
    }
}
