//! `docs/sql.md` out of the SQL files that are its chapters. Invariant: whatever the document shows was run by a test: prose is a comment
//! of an SQL file, an example is a statement of it, and what follows is what the test expects.
//!
//! ```text
//! # Title              ## Title      the first chapter's is that of the document
//! # ## Part            ### Part
//! # text               text          Markdown; {{name}} on a line of its own is made from source text
//! # hide … # show                    setup that a reader does not need
//! statement ok         ```sql        also FEED (records of a stream) and FILE (a file)
//! statement error      ```sql, and what is said
//! query                ```sql, and its rows in columns
//! ```

use crate::links::anchor;
use crate::tree::{Finding, Tree};

/// Where chapters are: those that run in memory, and those that run in a server. They are ordered by the names of their files.
const FOLDERS: [&str; 2] = ["tests/sql/reference/", "tests/sql/server/reference/"];

/// What the tests put before a query to see its changes one by one.
const CHANGES: &str = "CHANGES ";

/// What may differ each time; the text shows `…`.
const IGNORED: &str = "<slt:ignore>";

/// The document, with `note` below its title; `generated` gives the text of a placeholder. `None` without chapters.
pub fn document(tree: &Tree, note: &str, generated: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let mut chapters: Vec<(&str, Chapter<'_>)> = Vec::new();
    for file in &tree.files {
        let name = FOLDERS.iter().find_map(|folder| file.path.strip_prefix(folder));
        if let Some(name) = name.filter(|name| name.ends_with(".slt")) {
            chapters.push((name, Chapter::new(&file.text)));
        }
    }
    chapters.sort_by_key(|(name, _)| *name);
    let titles: Vec<&str> = chapters.iter().skip(1).map(|(_, chapter)| chapter.title).collect();
    let made = |name: &str| if name == "contents" { Some(contents(&titles)) } else { generated(name) };
    let (_, first) = chapters.first()?;
    let mut out = format!("# {}\n\n{note}", first.title);
    first.write(&mut out, &made);
    for (_, chapter) in &chapters[1..] {
        out += &format!("\n## {}\n", chapter.title);
        chapter.write(&mut out, &made);
    }
    Some(out)
}

/// Statements of chapters that are refused without words: the document would show an error that says nothing.
pub fn unsaid(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in tree.files.iter().filter(|f| f.path.ends_with(".slt") && FOLDERS.iter().any(|folder| f.path.starts_with(folder))) {
        let lines: Vec<&str> = file.text.lines().collect();
        for (i, _) in lines.iter().enumerate().filter(|(_, line)| line.trim_end() == "statement error") {
            if lines[i..].iter().take_while(|line| !line.is_empty()).all(|line| *line != "----") {
                found.push(Finding::new(&file.path, i + 1, "an error of which nothing is expected: write what is said behind it"));
            }
        }
    }
    found
}

/// A line of links.
fn contents(titles: &[&str]) -> String {
    titles.iter().map(|title| format!("[{title}](#{})", anchor(title))).collect::<Vec<_>>().join(" ·\n")
}

/// One SQL file.
struct Chapter<'a> {
    title: &'a str,
    parts: Vec<Part<'a>>,
}

/// What is shown, in order.
enum Part<'a> {
    Prose(&'a str),
    Placeholder(&'a str),
    Sql(String),
    Text { head: Option<String>, lines: Vec<String> },
}

impl<'a> Chapter<'a> {
    fn new(text: &'a str) -> Self {
        let lines: Vec<&str> = text.lines().collect();
        let title = lines.first().and_then(|line| line.strip_prefix("# ")).unwrap_or("untitled");
        let (mut parts, mut shown) = (Vec::new(), true);
        for chunk in lines.get(1..).unwrap_or_default().split(|line| line.is_empty()) {
            let comments = chunk.iter().take_while(|line| line.starts_with('#')).count();
            for line in &chunk[..comments] {
                match line.strip_prefix("# ").unwrap_or_default() {
                    "hide" => shown = false,
                    "show" => shown = true,
                    _ if !shown => {}
                    text => parts.push(match text.strip_prefix("{{").and_then(|t| t.strip_suffix("}}")) {
                        Some(name) => Part::Placeholder(name),
                        None => Part::Prose(text),
                    }),
                }
            }
            if shown {
                parts.extend(record(&chunk[comments..]));
            }
            if comments > 0 && shown {
                parts.push(Part::Prose(""));
            }
        }
        Self { title, parts }
    }

    fn write(&self, out: &mut String, generated: &dyn Fn(&str) -> Option<String>) {
        let mut parts = self.parts.iter().peekable();
        while let Some(part) = parts.next() {
            match part {
                Part::Prose(line) => prose(out, line),
                Part::Placeholder(name) => {
                    gap(out);
                    *out += &generated(name).map_or_else(|| format!("{{{{{name}}}}}\n"), |text| format!("{}\n", text.trim_end()));
                    gap(out);
                }
                Part::Sql(sql) => {
                    let mut statements = vec![sql.as_str()];
                    while let Some(Part::Sql(next)) = parts.next_if(|p| matches!(p, Part::Sql(_))) {
                        statements.push(next);
                    }
                    block(out, "sql", statements.join("\n\n").lines());
                }
                Part::Text { head, lines } => {
                    if let Some(head) = head {
                        gap(out);
                        *out += &format!("{head}\n");
                    }
                    block(out, "text", lines.iter().map(String::as_str));
                }
            }
        }
        *out = format!("{}\n", out.trim_end());
    }
}

/// One blank line, and no second one.
fn gap(out: &mut String) {
    if !out.ends_with("\n\n") {
        out.push('\n');
    }
}

fn prose(out: &mut String, line: &str) {
    match line {
        "" => gap(out),
        line => {
            let is_part = line.starts_with("## ");
            if is_part || out.ends_with("```\n") || out.trim_end().lines().last().is_some_and(|l| l.starts_with('#')) {
                gap(out);
            }
            *out += &format!("{}{line}\n", if is_part { "#" } else { "" });
        }
    }
}

fn block<'a>(out: &mut String, language: &str, lines: impl Iterator<Item = &'a str>) {
    gap(out);
    *out += &format!("```{language}\n");
    for line in lines {
        *out += &format!("{}\n", line.trim_end());
    }
    *out += "```\n";
}

/// What one record of an SQL file shows.
fn record<'a>(lines: &[&str]) -> Vec<Part<'a>> {
    let Some((head, body)) = lines.split_first() else { return Vec::new() };
    let rows = body.iter().position(|line| *line == "----");
    let (sql, said) = body.split_at(rows.unwrap_or(body.len()));
    let said = said.get(1..).unwrap_or_default();
    let first = sql.first().copied().unwrap_or_default();
    if let Some(expected) = head.strip_prefix("statement error") {
        // In one line it is a pattern.
        let said = if said.is_empty() { expected.trim().replace(".*", "…").replace('\\', "") } else { said.join("\n") };
        return vec![statement(sql), text(None, refusal(&said).lines())];
    }
    match head.split(' ').next() {
        Some("statement") => match first.split_once(' ') {
            Some(("FEED", stream)) => vec![text(Some(format!("Records of `{stream}`, each behind its device:")), sql[1..].iter().copied())],
            Some(("FILE", path)) => vec![text(Some(format!("`{path}`:")), sql[1..].iter().copied())],
            Some(("WAYS", _)) => Vec::new(),
            _ => vec![statement(sql)],
        },
        Some("query") if first.starts_with("EXPLAIN") => vec![statement(sql), text(None, said.iter().copied())],
        Some("query") => vec![statement(sql), Part::Text { head: None, lines: columns(said) }],
        _ => Vec::new(),
    }
}

fn statement<'a>(lines: &[&str]) -> Part<'a> {
    let sql = lines.join("\n");
    Part::Sql(format!("{};", sql.strip_prefix(CHANGES).unwrap_or(&sql).trim_end_matches(';')))
}

/// A message with its hint on a line of its own, as the command line shows it.
fn refusal(said: &str) -> String {
    match said.strip_suffix(')').and_then(|said| said.rsplit_once("(hint: ")) {
        Some((message, hint)) => format!("error: {}\nhint: {hint}", message.trim_end()),
        None => format!("error: {said}"),
    }
}

fn text<'a, 'b>(head: Option<String>, lines: impl Iterator<Item = &'b str>) -> Part<'a> {
    Part::Text { head, lines: lines.map(|line| line.replace(IGNORED, "…")).collect() }
}

/// Rows below each other, the names of the columns first. In the file at least two blanks are between cells.
fn columns(rows: &[&str]) -> Vec<String> {
    let cell = |cell: &str| cell.trim().replace("(empty)", "").replace(IGNORED, "…");
    let count = rows.first().map_or(0, |names| names.split_whitespace().count());
    // Where something is ignored the rest is compared letter by letter, with single blanks; no text but the last has blanks inside.
    let is_exact = rows.iter().any(|row| row.contains(IGNORED));
    let split = |row: &&str| -> Vec<String> {
        match is_exact {
            true => row.splitn(count, ' ').map(cell).collect(),
            false => row.split("  ").filter(|c| !c.trim().is_empty()).map(cell).collect(),
        }
    };
    let cells: Vec<Vec<String>> = rows.iter().map(split).collect();
    if cells.iter().any(|row| row.len() != count) {
        return rows.iter().map(|row| cell(row)).collect();
    }
    let width = |i: usize| cells.iter().map(|row| row[i].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(width).collect();
    let padded = |row: &Vec<String>| row.iter().zip(&widths).map(|(c, &w)| format!("{c:<w$}")).collect::<Vec<_>>().join("  ");
    cells.iter().map(padded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTRO: &str = "# SQL\n#\n# What it is.\n# {{contents}}\n";
    const CHAPTER: &str = "# Windows, and more
# First line
# and second.
#
# | a | b |
# |---|---|

# hide
include ../setup.inc

# not this
statement ok
CREATE TABLE noise (a INT)

# show

statement ok
CREATE TABLE t (a INT)

statement ok
SET 'a' = 'b';

statement ok
FEED t
dev {\"a\":1}

# ## Part
# A result:
query TT
CHANGES SELECT a, b
FROM t
----
op  a_long_name  b
+I  1  (empty)
+I  12345678901234  two words

query TT
SHOW t
----
name value
long_name two words
age <slt:ignore>

statement error
SELECT x
----
1:8: no x
   1 | SELECT x
              ^ (hint: y (or z))


statement error number .* is \\(very\\) wrong
STOP

query T
EXPLAIN SELECT a
----
show
  scan t

# {{things}}
# {{nothing}}
";

    fn made() -> String {
        let files =
            [("tests/sql/server/reference/10-w.slt", CHAPTER), ("tests/sql/reference/00-intro.slt", INTRO), ("tests/sql/a.slt", "# A\n")];
        document(&Tree::of(&files), "note\n", &|name| (name == "things").then(|| "one, two\n".to_owned())).expect("there are chapters")
    }

    #[test]
    fn a_refusal_without_words_is_found() {
        let text = "# A\n\nstatement error\nSELECT x\n\nstatement error\nSELECT y\n----\nno y\n\n\nstatement error no z\nSELECT z\n";
        let lines = |path: &str| unsaid(&Tree::of(&[(path, text)])).iter().map(|f| f.line).collect::<Vec<_>>();
        assert_eq!((lines("tests/sql/reference/00-a.slt"), lines("tests/sql/a.slt")), (vec![3], vec![]));
    }

    #[test]
    fn chapters_come_in_the_order_of_their_names_behind_a_contents() {
        let want = "# SQL\n\nnote\n\nWhat it is.\n\n[Windows, and more](#windows-and-more)\n\n## Windows, and more\n\nFirst line\nand second.\n\n\
            | a | b |\n|---|---|\n\n";
        assert!(made().starts_with(want), "{}", made());
        assert!(document(&Tree::of(&[("tests/sql/a.slt", "# A\n")]), "", &|_| None).is_none());
    }

    #[test]
    fn what_is_hidden_is_not_shown_and_statements_in_a_row_are_one_block() {
        let made = made();
        assert!(made.contains("```sql\nCREATE TABLE t (a INT);\n\nSET 'a' = 'b';\n```\n"), "{made}");
        assert!(!made.contains("noise") && !made.contains("not this") && !made.contains("include"), "{made}");
    }

    #[test]
    fn records_rows_and_refusals_are_shown_behind_their_statement() {
        let made = made();
        for want in [
            "Records of `t`, each behind its device:\n\n```text\ndev {\"a\":1}\n```\n",
            "\n### Part\n\nA result:\n\n```sql\nSELECT a, b\nFROM t;\n```\n",
            "```text\nop  a_long_name     b\n+I  1\n+I  12345678901234  two words\n```\n",
            "```text\nname       value\nlong_name  two words\nage        …\n```\n",
            "```sql\nSELECT x;\n```\n\n```text\nerror: 1:8: no x\n   1 | SELECT x\n              ^\nhint: y (or z)\n```\n",
            "```text\nerror: number … is (very) wrong\n```\n",
            "```sql\nEXPLAIN SELECT a;\n```\n\n```text\nshow\n  scan t\n```\n\none, two\n\n{{nothing}}\n",
        ] {
            assert!(made.contains(want), "{want}\nin\n{made}");
        }
    }
}
