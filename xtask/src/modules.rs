//! Files that no module names. Invariant: a Rust file is the root of a crate, or some file declares it as a module: what the compiler never
//! sees cannot fail.

use crate::tree::{File, Finding, Tree};

/// Directories whose files are roots of crates.
const ROOTS: &[&str] = &["tests", "benches", "examples", "bin", "fuzz_targets"];

/// Files that are in no crate.
pub fn declared(tree: &Tree) -> Vec<Finding> {
    let is_alone = |file: &&File| !is_root(&file.path) && !is_declared(tree, &file.path);
    tree.rust().filter(is_alone).map(|f| Finding::new(&f.path, 0, "no file has a `mod` for it: declare it or remove it")).collect()
}

fn is_root(path: &str) -> bool {
    let (name, folder) = (path.rsplit('/').next().unwrap_or(path), directory(path).rsplit('/').next().unwrap_or(""));
    let is_source = path.starts_with("src/") || path.contains("/src/");
    let is_folder = ROOTS.contains(&folder) && (folder == "bin" || !is_source);
    ["lib.rs", "main.rs", "build.rs"].contains(&name) || (is_folder && name != "mod.rs")
}

fn is_declared(tree: &Tree, path: &str) -> bool {
    // `a/b.rs` and `a/b/mod.rs` are the module `b` of what `a` is.
    let module = path.strip_suffix("/mod.rs").or_else(|| path.strip_suffix(".rs")).unwrap_or(path);
    let Some((parent, name)) = module.rsplit_once('/') else { return false };
    let files = [format!("{parent}.rs"), format!("{parent}/mod.rs"), format!("{parent}/lib.rs"), format!("{parent}/main.rs")];
    let may_declare = |file: &File| files.contains(&file.path) || (is_root(&file.path) && directory(&file.path) == parent);
    let declared = |file: &File| may_declare(file) && file.text.lines().any(|line| declares(line, name));
    tree.rust().any(|file| declared(file) || points_to(file, path))
}

fn directory(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

/// Whether a line is `mod name;`, with any visibility.
fn declares(line: &str, name: &str) -> bool {
    let Some((before, rest)) = line.split_once("mod ") else { return false };
    (before.trim().is_empty() || before.trim_start().starts_with("pub")) && rest.strip_prefix(name) == Some(";")
}

/// Whether a file has a module at `path`, by `#[path = "…"]`.
fn points_to(file: &File, path: &str) -> bool {
    let targets = file.text.lines().filter_map(|l| l.trim().strip_prefix("#[path = \"")?.strip_suffix("\"]"));
    targets.into_iter().any(|target| {
        let mut parts: Vec<&str> = directory(&file.path).split('/').collect();
        for part in target.split('/') {
            match part {
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        parts.join("/") == path
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_nothing_compiles_is_found() {
        let tree = Tree::of(&[
            ("a/src/lib.rs", "//! A.\npub(crate) mod b;\nmod d;\n"),
            ("a/src/b.rs", "mod inner;\n// mod lost;\n"),
            ("a/src/b/inner.rs", ""),
            ("a/src/b/lost.rs", ""),
            ("a/src/b/tests/lost.rs", ""),
            ("a/src/d/mod.rs", ""),
            ("a/tests/t.rs", "#[path = \"t/x.rs\"]\nmod x;\n#[path = \"../../shared/y.rs\"]\nmod y;\n"),
            ("a/tests/t/x.rs", ""),
            ("a/tests/t/z.rs", ""),
            ("a/tests/u.rs", "mod support;\n"),
            ("a/tests/support/mod.rs", ""),
            ("shared/y.rs", ""),
        ]);
        let found: Vec<String> = declared(&tree).into_iter().map(|f| f.path).collect();
        assert_eq!(found, ["a/src/b/lost.rs", "a/src/b/tests/lost.rs", "a/tests/t/z.rs"]);
    }
}
