//! Marks that must not stay behind. Invariant: what is searched for is put together from parts, so that this file passes its
//! own check.

use crate::rust::{Source, words};
use crate::tree::{Finding, Tree};

/// Macros of unfinished or debugging code.
const MACROS: &[&str] = &["dbg", "todo", "unimplemented"];

/// What no text file may contain, and why.
const TEXTS: &[(&str, &str)] = &[
    (concat!("/wo", "rk/"), "is a path of one machine"),
    (concat!("/tm", "p/bash"), "is a path of one machine"),
    (concat!("/ro", "ot/"), "is a path of one machine"),
    (concat!("crates", ".io"), "is the host of a package registry"),
    (concat!("pypi", ".org"), "is the host of a package registry"),
    (concat!("registry.npm", "js"), "is the host of a package registry"),
    (concat!("debian", ".org"), "is the host of a package registry"),
    (concat!("TO", "DO"), "is unfinished: do it, or write it down as planned"),
    (concat!("FIX", "ME"), "is unfinished: do it, or write it down as planned"),
];

/// Endings of files written by hand.
const TEXT_ENDINGS: &[&str] = &["allow", "ci/run", "md", "py", "rs", "sh", "slt", "sql", "toml", "txt", "yaml", "yml"];

/// No unfinished code, no skipped test, no `unwrap` in production, no path of one machine.
pub fn absent(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        let source = Source::new(file);
        for (at, word) in words(&source.code) {
            let rest = &source.code[at + word.len()..];
            let before = &source.code[..at];
            let message = if MACROS.contains(&word) && rest.starts_with("!(") {
                format!("{word}! must not stay")
            } else if word == "ignore" && before.ends_with("#[") {
                "a test that is skipped proves nothing: run it or remove it".to_owned()
            } else if word == "unwrap" && before.ends_with('.') && rest.starts_with("()") && at < source.production_end {
                "handle it, or state the invariant with expect".to_owned()
            } else {
                continue;
            };
            findings.push(Finding::new(&file.path, source.line(at), message));
        }
    }
    for file in tree.files.iter().filter(|f| f.path != "Cargo.lock") {
        for (index, line) in file.text.lines().enumerate() {
            for (text, why) in TEXTS.iter().filter(|(text, _)| line.contains(text)) {
                findings.push(Finding::new(&file.path, index + 1, format!("{text} {why}")));
            }
        }
    }
    findings
}

/// No tab, no blank at the end of a line, one newline at the end of the file.
pub fn whitespace(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    // Fixtures are compared byte for byte with what the program says.
    let is_text = |path: &str| !path.contains("/fixtures/") && TEXT_ENDINGS.iter().any(|e| path.ends_with(e));
    for file in tree.files.iter().filter(|f| is_text(&f.path)) {
        for (index, line) in file.text.lines().enumerate() {
            if line.ends_with([' ', '\t', '\r']) || line.contains('\t') {
                findings.push(Finding::new(&file.path, index + 1, "a tab, or a blank at the end of the line"));
            }
        }
        if !file.text.is_empty() && (!file.text.ends_with('\n') || file.text.ends_with("\n\n")) {
            findings.push(Finding::new(&file.path, 0, "end the file with one newline"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_in_code_and_not_in_literals() {
        let text = "//! todo!( in prose\nfn a() {\n    todo!();\n    x.unwrap();\n    \"x.unwrap()\";\n    x.unwrap_or(1);\n}\n#[cfg(test)]\nmod tests {\n    #[ignore = \"slow\"]\n    fn b() { x.unwrap(); }\n}\n";
        let lines: Vec<usize> = absent(&Tree::of(&[("a.rs", text)])).into_iter().map(|f| f.line).collect();
        assert_eq!(lines, [3, 4, 10]);
    }

    #[test]
    fn texts_are_found_in_every_file_but_the_lock() {
        for (text, _) in TEXTS {
            let line = format!("see {text}x\n");
            assert_eq!(absent(&Tree::of(&[("docs/a.md", &line), ("Cargo.lock", &line)])).len(), 1, "{text}");
        }
    }

    #[test]
    fn stray_whitespace_is_found() {
        let tree = Tree::of(&[("a.md", "a\tb\nc \nd"), ("b.toml", "x\n\n"), ("c.csv", "a\tb"), ("d.rs", "x\n")]);
        let found: Vec<(String, usize)> = whitespace(&tree).into_iter().map(|f| (f.path, f.line)).collect();
        assert_eq!(found, [("a.md".to_owned(), 1), ("a.md".to_owned(), 2), ("a.md".to_owned(), 0), ("b.toml".to_owned(), 0)]);
    }
}
