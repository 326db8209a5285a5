//! Every file says what it owns, and stays small. Invariant: a limit is lifted only by a line of `xtask/tidy.allow` with a
//! reason, and a line that is no longer needed is itself a finding, so that sizes only go down.

use std::collections::HashMap;

use crate::rust::{Source, closing, words};
use crate::tree::{Finding, Tree};

/// Lines of production code in a file.
const FILE_LINES_MAX: usize = 400;
/// Lines of a function.
const FUNCTION_LINES_MAX: usize = 70;
/// Lines of an example.
const EXAMPLE_LINES_MAX: usize = 80;
/// Where exceptions stand.
const ALLOW: &str = "xtask/tidy.allow";

/// Every Rust file opens with its documentation, every Python file with its docstring.
pub fn documented(tree: &Tree) -> Vec<Finding> {
    let opens = |path: &str, text: &str| match path.rsplit('.').next() {
        Some("rs") => text.starts_with("//! "),
        Some("py") => text.starts_with("\"\"\"") || text.starts_with("#!") && text.contains("\n\"\"\""),
        _ => true,
    };
    let bad = tree.files.iter().filter(|f| !opens(&f.path, &f.text));
    bad.map(|f| Finding::new(&f.path, 1, "begin the file with its documentation: what it owns and its one invariant")).collect()
}

/// Files and functions stay below their limits.
pub fn small(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut allowed = allowances(tree, &mut findings);
    let mut check = |findings: &mut Vec<Finding>, path: &str, function: Option<&str>, line: usize, lines: usize, max: usize| {
        let key = function.map_or_else(|| path.to_owned(), |f| format!("{path}::{f}"));
        let allowed = if lines > max { allowed.remove(&key).map_or(max, |(limit, _)| limit) } else { max };
        if lines > allowed {
            let what = function.map_or_else(|| "the file".to_owned(), |f| format!("fn {f}"));
            findings.push(Finding::new(path, line, format!("{what} has {lines} lines, at most {allowed}: split it where a reader would")));
        }
    };
    for file in tree.rust() {
        let source = Source::new(file);
        if file.path.starts_with("examples/") {
            check(&mut findings, &file.path, None, 0, file.text.lines().count(), EXAMPLE_LINES_MAX);
        }
        check(&mut findings, &file.path, None, 0, source.production().lines().count(), FILE_LINES_MAX);
        for (name, line, lines) in functions(&source) {
            check(&mut findings, &file.path, Some(name), line, lines, FUNCTION_LINES_MAX);
        }
    }
    for (key, (_, line)) in allowed {
        findings.push(Finding::new(ALLOW, line, format!("{key} needs no exception any more: remove the line")));
    }
    findings
}

/// `path[::function] limit reason` a line.
fn allowances(tree: &Tree, findings: &mut Vec<Finding>) -> HashMap<String, (usize, usize)> {
    let mut allowed = HashMap::new();
    for (index, line) in tree.get(ALLOW).unwrap_or_default().lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let mut parts = line.splitn(3, ' ');
        match (parts.next(), parts.next().and_then(|n| n.parse().ok()), parts.next()) {
            (Some(key), Some(limit), Some(reason)) if !reason.trim().is_empty() => {
                allowed.insert(key.to_owned(), (limit, index + 1));
            }
            _ => findings.push(Finding::new(ALLOW, index + 1, "write `path[::function] limit reason`")),
        }
    }
    allowed
}

/// Name, first line and number of lines of each production function with a body.
fn functions<'a>(source: &'a Source<'_>) -> Vec<(&'a str, usize, usize)> {
    let code = source.production();
    let mut found = Vec::new();
    let mut tokens = words(code).peekable();
    while let Some((at, word)) = tokens.next() {
        let Some(&(start, name)) = tokens.peek() else { break };
        if word != "fn" || !code[at + 2..start].bytes().all(|b| b.is_ascii_whitespace()) {
            continue;
        }
        let Some(open) = body(code, start) else { continue };
        let (first, last) = (source.line(at), source.line(closing(code, open) - 1));
        found.push((name, first, last - first + 1));
    }
    found
}

/// Where the body of the function named at `start` opens; `None` if it has none.
fn body(code: &str, start: usize) -> Option<usize> {
    let mut i = start;
    loop {
        match code.as_bytes().get(i)? {
            b'{' => return Some(i),
            b';' => return None,
            b'(' | b'[' => i = closing(code, i),
            _ => i += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_documentation_is_found() {
        let tree = Tree::of(&[("a.rs", "use x;\n"), ("b.rs", "//! B.\n"), ("c.py", "import os\n"), ("d.py", "\"\"\"D.\"\"\"\n")]);
        let found: Vec<String> = documented(&tree).into_iter().map(|f| f.path).collect();
        assert_eq!(found, ["a.rs", "c.py"]);
    }

    #[test]
    fn long_files_and_functions_are_found() {
        let long_file = "//! A.\n".repeat(FILE_LINES_MAX + 1);
        let long_function = format!("//! B.\nfn b(x: [u8; 2]) -> u8 {{\n{}}}\n", "    x;\n".repeat(FUNCTION_LINES_MAX));
        let tests = format!("//! C.\n#[cfg(test)]\nmod tests {{\n{}}}\n", "// x\n".repeat(FILE_LINES_MAX));
        let example = "//! D.\n".repeat(EXAMPLE_LINES_MAX + 1);
        let tree = Tree::of(&[("a.rs", &long_file), ("b.rs", &long_function), ("c.rs", &tests), ("examples/d.rs", &example)]);
        let found: Vec<(String, usize)> = small(&tree).into_iter().map(|f| (f.path, f.line)).collect();
        assert_eq!(found, [("a.rs".to_owned(), 0), ("b.rs".to_owned(), 2), ("examples/d.rs".to_owned(), 0)]);
    }

    #[test]
    fn an_exception_needs_a_reason_and_a_use() {
        let long_file = "//! A.\n".repeat(FILE_LINES_MAX + 1);
        let tree = Tree::of(&[("a.rs", &long_file), (ALLOW, "a.rs 450 one table\nb.rs 450 gone\nc.rs 450\n")]);
        let found: Vec<(String, usize)> = small(&tree).into_iter().map(|f| (f.path, f.line)).collect();
        assert_eq!(found, [(ALLOW.to_owned(), 3), (ALLOW.to_owned(), 2)]);
    }
}
