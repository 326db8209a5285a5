//! Rust source as the checks read it. Invariant: blanking keeps every byte position and every line, so that a place found in
//! the blanked text is the same place in the file.
//!
//! ```text
//! text  let url = "a//b"; // see c      fn f<'a>() { 'x' }
//! code  let url = "    ";               fn f<'a>() { ' ' }
//! ```

use crate::tree::File;

/// A Rust file with its comments and literals blanked.
pub struct Source<'a> {
    /// The file itself.
    pub file: &'a File,
    /// Its text, with comments and the inside of literals replaced by spaces.
    pub code: String,
    /// Where production code ends: the first `#[cfg(test)]` before a module's body, or 0 in a file that is only tests.
    pub production_end: usize,
}

impl<'a> Source<'a> {
    /// Reads a file.
    pub fn new(file: &'a File) -> Self {
        let code = blank(&file.text);
        let production_end = if file.test { 0 } else { production_end(&code) };
        Self { file, code, production_end }
    }

    /// Code without the test module.
    pub fn production(&self) -> &str {
        &self.code[..self.production_end]
    }

    /// Line of a position, from 1.
    pub fn line(&self, position: usize) -> usize {
        line_of(&self.code, position)
    }
}

/// Line of a position, from 1.
pub fn line_of(text: &str, position: usize) -> usize {
    text.as_bytes()[..position].iter().filter(|&&b| b == b'\n').count() + 1
}

/// Paths without ending of the modules that a file declares for tests only: `#[cfg(test)]` and `mod x;` in `a/mod.rs`
/// make `a/x`.
pub fn test_modules(file: &File) -> Vec<String> {
    let (folder, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
    let folder = match name {
        "lib.rs" | "main.rs" | "mod.rs" => folder,
        _ => file.path.trim_end_matches(".rs"),
    };
    let code = blank(&file.text);
    let lines: Vec<&str> = code.lines().map(str::trim).collect();
    let declared = |pair: &[&str]| {
        let (_, module) = pair[1].strip_suffix(';').filter(|_| pair[0] == "#[cfg(test)]")?.split_once("mod ")?;
        Some(format!("{folder}/{module}"))
    };
    lines.windows(2).filter_map(declared).collect()
}

fn production_end(code: &str) -> usize {
    let mut position = 0;
    let mut marked = None;
    for line in code.split_inclusive('\n') {
        let text = line.trim();
        if let Some(start) = marked
            && text.starts_with("mod ")
            && text.contains('{')
        {
            return start;
        }
        marked = (text == "#[cfg(test)]").then_some(position);
        position += line.len();
    }
    code.len()
}

/// Replaces comments and the inside of literals by spaces.
pub fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut i = 0;
    while i < bytes.len() {
        let end = match bytes[i] {
            b'/' if bytes[i..].starts_with(b"//") => {
                let end = find(bytes, i, b"\n").unwrap_or(bytes.len());
                fill(&mut out, i, end);
                end
            }
            b'/' if bytes[i..].starts_with(b"/*") => {
                let end = comment_end(bytes, i);
                fill(&mut out, i, end);
                end
            }
            b'r' if !is_word(bytes, i.wrapping_sub(1)) || bytes[i - 1] == b'b' => match raw_string_end(bytes, i) {
                Some((start, end)) => {
                    fill(&mut out, start, end);
                    end + 1
                }
                None => i + 1,
            },
            b'"' => {
                let end = quoted_end(bytes, i, b'"');
                fill(&mut out, i + 1, end);
                end + 1
            }
            b'\'' if is_char_literal(text, i) => {
                let end = quoted_end(bytes, i, b'\'');
                fill(&mut out, i + 1, end);
                end + 1
            }
            _ => i + 1,
        };
        i = end;
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn fill(out: &mut [u8], start: usize, end: usize) {
    let end = end.min(out.len());
    for byte in &mut out[start.min(end)..end] {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

fn find(bytes: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    bytes[from..].windows(what.len()).position(|w| w == what).map(|p| from + p)
}

fn comment_end(bytes: &[u8], start: usize) -> usize {
    let (mut depth, mut i) = (0, start);
    while i < bytes.len() {
        if bytes[i..].starts_with(b"/*") {
            depth += 1;
            i += 2;
        } else if bytes[i..].starts_with(b"*/") {
            depth -= 1;
            i += 2;
            if depth == 0 {
                return i;
            }
        } else {
            i += 1;
        }
    }
    bytes.len()
}

/// Position of the closing quote of the literal that opens at `start`.
fn quoted_end(bytes: &[u8], start: usize, quote: u8) -> usize {
    let mut i = start + 1;
    while i < bytes.len() && bytes[i] != quote {
        i += if bytes[i] == b'\\' { 2 } else { 1 };
    }
    i.min(bytes.len())
}

/// Inside of the raw string whose `r` is at `start`, up to its closing quote and hashes.
fn raw_string_end(bytes: &[u8], start: usize) -> Option<(usize, usize)> {
    let hashes = bytes[start + 1..].iter().take_while(|&&b| b == b'#').count();
    let open = start + 1 + hashes;
    if bytes.get(open) != Some(&b'"') {
        return None;
    }
    let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let end = find(bytes, open + 1, &close).unwrap_or(bytes.len());
    Some((open + 1, end))
}

/// Whether the quote at `i` opens a character and not a lifetime.
fn is_char_literal(text: &str, i: usize) -> bool {
    let mut rest = text[i + 1..].chars();
    match rest.next() {
        Some('\\') => true,
        Some(_) => rest.next() == Some('\''),
        None => false,
    }
}

fn is_word(bytes: &[u8], i: usize) -> bool {
    bytes.get(i).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_')
}

/// Identifiers and keywords with their positions.
pub fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let bytes = code.as_bytes();
    let mut i = 0;
    std::iter::from_fn(move || {
        while i < bytes.len() && !is_word(bytes, i) {
            i += 1;
        }
        let start = i;
        while is_word(bytes, i) {
            i += 1;
        }
        (start < i).then(|| (start, &code[start..i]))
    })
}

/// Position after the bracket that closes the one at `open`; the end of the text if it is not closed.
pub fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0;
    for (i, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => {
                depth -= 1;
                if depth == 0 {
                    return i + 1;
                }
            }
            _ => {}
        }
    }
    code.len()
}

/// Ranges between the commas at the top level of `code[start..end]`, without blanks around and without empty ones.
pub fn split_list(code: &str, start: usize, end: usize) -> Vec<std::ops::Range<usize>> {
    let (mut parts, mut from, mut i) = (Vec::new(), start, start);
    while i <= end {
        if i == end || code.as_bytes()[i] == b',' {
            let text = &code[from..i];
            let lead = text.len() - text.trim_start().len();
            if !text.trim().is_empty() {
                parts.push(from + lead..from + lead + text.trim().len());
            }
            from = i + 1;
            i += 1;
        } else if matches!(code.as_bytes()[i], b'(' | b'[' | b'{') {
            i = closing(code, i).min(end);
        } else {
            i += 1;
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Tree;

    #[test]
    fn literals_and_comments_are_blanked_in_place() {
        let text =
            "let a = \"x // {\\\"\"; // {\nlet b = r#\"}\"\"#; /* { /* } */ */ let c = '{'; fn f<'a>(x: &'a u8) { b'\\''; br\"{\" }\n";
        let code = blank(text);
        assert_eq!(code.len(), text.len());
        assert_eq!(code.matches(['{', '}']).collect::<String>(), "{}");
        assert!(code.contains("fn f<'a>(x: &'a u8)"), "{code}");
        assert_eq!(line_of(&code, code.find("fn f").unwrap()), 2);
    }

    #[test]
    fn production_code_ends_at_the_test_module() {
        let text = "#[cfg(test)]\nuse x;\nfn a() {}\n#[cfg(test)]\nmod tests {}\n";
        let tree = Tree::of(&[("engine/src/a.rs", text), ("engine/tests/a.rs", text)]);
        assert_eq!(Source::new(&tree.files[0]).production(), "#[cfg(test)]\nuse x;\nfn a() {}\n");
        assert_eq!(Source::new(&tree.files[1]).production(), "");
    }

    #[test]
    fn files_declared_for_tests_are_tests_with_all_below_them() {
        let map = "mod a;\n#[cfg(test)]\nmod check;\n#[cfg(test)]\npub(crate) mod laws;\n";
        let names = ["engine/src/log/a.rs", "engine/src/log/check.rs", "engine/src/log/laws/b.rs", "engine/src/check.rs"];
        let mut files: Vec<(&str, &str)> = names.iter().map(|name| (*name, "fn f() {}\n")).collect();
        files.extend([
            ("engine/src/log/mod.rs", map),
            ("engine/src/log/a/deep.rs", "x"),
            ("engine/src/log/a.rs", "#[cfg(test)]\nmod deep;\n"),
        ]);
        let tests: Vec<String> = Tree::of(&files).files.into_iter().filter(|f| f.test).map(|f| f.path).collect();
        assert_eq!(tests, ["engine/src/log/check.rs", "engine/src/log/laws/b.rs", "engine/src/log/a/deep.rs"]);
    }

    #[test]
    fn a_list_is_split_at_its_own_commas() {
        let code = "[a, f(b, c), D { e, f },\n]";
        let parts: Vec<&str> = split_list(code, 1, code.len() - 1).into_iter().map(|r| &code[r]).collect();
        assert_eq!(parts, ["a", "f(b, c)", "D { e, f }"]);
    }
}
