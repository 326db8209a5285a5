//! Documents made from source text. Invariant: the same sources give the same bytes, and tidy refuses a document that
//! differs from what would be written.

use crate::reference;
use crate::rust::{Source, closing, split_list};
use crate::tree::{File, Finding, Tree, root};

const NOTE: &str = "<!-- written by `cargo xtask codegen`: change the source, not this file -->\n";

/// Characters of a line of names.
const NAMES_WIDTH: usize = 120;

/// Writes every generated document that is not up to date.
pub fn run(_: &[String]) -> Result<(), String> {
    let tree = Tree::load(&root())?;
    for (path, text) in documents(&tree) {
        if tree.get(path) != Some(text.as_str()) {
            std::fs::write(root().join(path), text).map_err(|e| format!("{path}: {e}"))?;
            println!("wrote {path}");
        }
    }
    Ok(())
}

/// Generated documents are up to date, and their examples say something.
pub fn fresh(tree: &Tree) -> Vec<Finding> {
    let stale = documents(tree).into_iter().filter(|(path, text)| tree.get(path) != Some(text.as_str()));
    let stale = stale.map(|(path, _)| Finding::new(path, 0, "not up to date: run cargo xtask codegen"));
    stale.chain(reference::unsaid(tree)).collect()
}

/// Path and text of each document whose sources exist.
fn documents(tree: &Tree) -> Vec<(&'static str, String)> {
    let limits = tree.get("engine/src/limits.rs").map(|text| ("docs/limits.md", limits(text)));
    let connectors = connectors(tree).map(|text| ("docs/connectors.md", text));
    let formats = formats(tree).map(|text| ("docs/formats.md", text));
    let sql = reference::document(tree, NOTE, &|name| list(tree, name)).map(|text| ("docs/sql.md", text));
    let metrics = metrics(tree).map(|text| ("docs/metrics.md", text));
    limits.into_iter().chain(connectors).chain(formats).chain(sql).chain(metrics).collect()
}

/// What stands for a placeholder of the SQL reference.
fn list(tree: &Tree, name: &str) -> Option<String> {
    let source = |path: &str| tree.files.iter().find(|f| f.path == path).map(Source::new);
    match name {
        "scalars" | "aggregates" => {
            let source = source("sql/src/functions.rs")?;
            let opening = format!(" {}: &[&str] = &[", name.to_uppercase());
            let start = source.code.find(&opening)? + opening.len();
            let items = split_list(&source.code, start, closing(&source.code, start - 1) - 1).into_iter();
            Some(wrapped(items.filter_map(|item| literal_text(&source.file.text[item]))))
        }
        "settings" => {
            let source = source("sql/src/settings.rs")?;
            let rows = literals(&source, "Setting", 0, source.production_end).into_iter().filter(|l| !l.text("name").is_empty());
            Some(rows.fold("| setting | default | meaning |\n|---|---|---|\n".to_owned(), |out, setting| {
                let default = Some(setting.text("default")).filter(|d| !d.is_empty()).map(|d| format!("`{d}`"));
                out + &format!("| `{}` | {} | {} |\n", setting.text("name"), default.unwrap_or_default(), setting.text("about"))
            }))
        }
        "counters" => tree.get("engine/src/metrics.rs").and_then(counters),
        _ => None,
    }
}

/// One row a counter of a job.
fn counters(text: &str) -> Option<String> {
    let (_, fields) = text.split_once("pub struct JobCounters {")?;
    let mut out = "| counter | counts |\n|---|---|\n".to_owned();
    let mut about: Vec<&str> = Vec::new();
    for line in fields.lines().map(str::trim).take_while(|line| *line != "}") {
        match (line.strip_prefix("/// "), line.strip_prefix("pub ").and_then(|l| l.split_once(':'))) {
            (Some(doc), _) => about.push(doc),
            (_, Some((name, _))) => out += &format!("| `{name}` | {} |\n", std::mem::take(&mut about).join(" ")),
            _ => {}
        }
    }
    Some(out)
}

/// Names in a block, several a line.
fn wrapped(names: impl Iterator<Item = String>) -> String {
    let mut lines = vec![String::new()];
    for name in names {
        let line = lines.last_mut().filter(|line| line.len() + name.len() < NAMES_WIDTH);
        match line {
            Some(line) if line.is_empty() => *line = name,
            Some(line) => *line += &format!(" {name}"),
            None => lines.push(name),
        }
    }
    format!("```text\n{}\n```\n", lines.join("\n"))
}

/// One row a constant: name, value as written, documentation.
fn limits(text: &str) -> String {
    let mut out = format!("# Limits\n\n{NOTE}\n| limit | value | meaning |\n|---|---|---|\n");
    let mut about: Vec<&str> = Vec::new();
    for line in text.lines() {
        if let Some(doc) = line.strip_prefix("/// ") {
            about.push(doc);
            continue;
        }
        if let Some((name, value)) = line.strip_prefix("pub const ").and_then(|l| l.trim_end_matches(';').split_once(" = ")) {
            let name = name.split(':').next().unwrap_or(name);
            out += &format!("| `{name}` | `{value}` | {} |\n", about.join(" ").replace('|', "\\|"));
        }
        about.clear();
    }
    out
}

/// One row a metric of the server, and what its labels may be; `None` if there are none.
fn metrics(tree: &Tree) -> Option<String> {
    let source = Source::new(tree.files.iter().find(|f| f.path == "src/server/metrics.rs")?);
    let found = literals(&source, "Metric", 0, source.production_end).into_iter().filter(|l| !l.text("name").is_empty());
    let intro = "`GET /metrics` gives these, as text for Prometheus. `job` is the name of a job, `count` one of the counters in [sql.md](sql.md), \
        `outcome` one of appended, duplicate, rejected, failed. A job that has nothing to tell yet has no row of a metric.";
    let head = format!("# Metrics\n\n{NOTE}\n{intro}\n\n| metric | kind | unit | meaning |\n|---|---|---|---|\n");
    Some(found.fold(head, |out, metric| {
        let text = |field| metric.text(field);
        out + &format!("| `{}` | {} | {} | {} |\n", text("name"), text("kind"), text("unit"), text("about"))
    }))
}

/// One section a connector, with a table of its options; `None` if there are none.
fn connectors(tree: &Tree) -> Option<String> {
    let body = sections(tree, "connectors/src/", "ConnectorSpec")?;
    let intro = "Options of `CREATE TABLE … WITH ('connector' = '<name>', …)`. Tables over streams also take the options of their \
        [format](formats.md).";
    Some(format!("# Connectors\n\n{NOTE}\n{intro}\n{body}"))
}

/// One section a format of streams, with a table of its options; `None` if there are none.
fn formats(tree: &Tree) -> Option<String> {
    let body = sections(tree, "engine/src/decode/", "Format")?;
    let intro = "How the payloads of a stream are read: `CREATE TABLE … WITH ('format' = '<name>', …)`. What the formats have in common \
        is in [sql.md](sql.md).";
    Some(format!("# Formats\n\n{NOTE}\n{intro}\n{body}"))
}

/// The sections of all literals of a kind below a folder, sorted by name.
fn sections(tree: &Tree, folder: &str, kind: &str) -> Option<String> {
    let mut sections: Vec<(String, String)> = Vec::new();
    for file in tree.rust().filter(|f| f.path.starts_with(folder)) {
        let source = Source::new(file);
        let found = literals(&source, kind, 0, source.production_end);
        // The declaration of the kind looks like a literal without a name.
        sections.extend(found.iter().filter(|l| !l.text("name").is_empty()).map(|l| section(tree, &source, l)));
    }
    sections.sort();
    (!sections.is_empty()).then(|| sections.into_iter().map(|(_, text)| text).collect())
}

fn section(tree: &Tree, source: &Source<'_>, spec: &Literal) -> (String, String) {
    let name = spec.text("name");
    let mut out = format!("\n## {name}\n\n{}\n", spec.text("about"));
    let list = spec.field("options").and_then(|r| Some(r.start + source.code[r.clone()].find('[')? + 1..r.end - 1)).unwrap_or(0..0);
    let options = split_list(&source.code, list.start, list.end);
    if !options.is_empty() {
        out += "\n| option | required | default | meaning |\n|---|---|---|---|\n";
    }
    for option in options {
        out += &match literals(source, "OptionSpec", option.start, option.end).first() {
            Some(literal) => row(literal),
            None => shared(tree, &source.code[option]),
        };
    }
    (name, out)
}

/// The row of an option that is a constant, here or in another file of the crate.
fn shared(tree: &Tree, path: &str) -> String {
    let name = path.rsplit("::").next().unwrap_or(path);
    let declaration = format!(" {name}: OptionSpec = ");
    for file in tree.rust().filter(|f| f.path.starts_with("connectors/src/")) {
        let source = Source::new(file);
        if let Some(at) = source.code.find(&declaration) {
            return literals(&source, "OptionSpec", at, source.code.len()).first().map(row).unwrap_or_default();
        }
    }
    String::new()
}

fn row(option: &Literal) -> String {
    let required = option.field("required").is_some_and(|r| &option.code[r] == "true");
    let default = option.field("default").and_then(|r| literal_text(&option.file.text[r]));
    let default = default.map_or_else(String::new, |d| format!("`{d}`"));
    let about = option.text("about").replace('|', "\\|");
    format!("| `{}` | {} | {default} | {about} |\n", option.text("name"), if required { "yes" } else { "" })
}

/// One struct literal: where its fields stand.
struct Literal<'a> {
    file: &'a File,
    code: &'a str,
    fields: Vec<std::ops::Range<usize>>,
}

impl Literal<'_> {
    /// Where the value of a field stands.
    fn field(&self, name: &str) -> Option<std::ops::Range<usize>> {
        self.fields.iter().find_map(|range| {
            let rest = self.code[range.clone()].strip_prefix(name)?.strip_prefix(':')?;
            Some(range.end - rest.trim_start().len()..range.end)
        })
    }

    /// Value of a field that is a text; empty if it is something else.
    fn text(&self, name: &str) -> String {
        self.field(name).and_then(|r| literal_text(&self.file.text[r])).unwrap_or_default()
    }
}

/// Struct literals of a type between two positions.
fn literals<'a>(source: &'a Source<'a>, kind: &str, start: usize, end: usize) -> Vec<Literal<'a>> {
    let (code, opening) = (source.code.as_str(), format!("{kind} {{"));
    let mut found = Vec::new();
    let mut from = start;
    while let Some(at) = code[from..end].find(&opening).map(|p| from + p) {
        let open = at + opening.len() - 1;
        from = closing(code, open);
        found.push(Literal { file: source.file, code, fields: split_list(code, open + 1, from - 1) });
    }
    found
}

/// Text of the first string literal in an expression; lines joined by `\` are put together.
fn literal_text(expression: &str) -> Option<String> {
    let mut out = String::new();
    let mut characters = expression.split_once('"')?.1.chars().peekable();
    loop {
        match characters.next()? {
            '"' => return Some(out),
            '\\' => match characters.next()? {
                '\n' => while characters.next_if(|c| c.is_whitespace()).is_some() {},
                'n' => out.push(' '),
                other => out.push(other),
            },
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: &str = "//! Bounds.\n\n/// Longest record,\n/// in bytes.\npub const RECORD_BYTES_MAX: usize = 256 * 1024;\nconst _: () = assert!(true);\n";
    const CONNECTOR: &str = r#"//! File.
pub static SPEC: ConnectorSpec = ConnectorSpec {
    name: "file",
    about: "Reads a file.",
    role: Role::Source(open),
    options: &[
        OptionSpec { name: "path", required: true, default: None, about: "where, one \
            of a|b" },
        OptionSpec { name: "refresh", required: false, default: Some("30s"), about: "how often" },
    ],
};
"#;

    #[test]
    fn limits_become_a_table() {
        let text = limits(LIMITS);
        assert!(text.ends_with("| `RECORD_BYTES_MAX` | `256 * 1024` | Longest record, in bytes. |\n"), "{text}");
    }

    #[test]
    fn options_become_a_table_in_place_or_shared() {
        let want = "\n## file\n\nReads a file.\n\n| option | required | default | meaning |\n|---|---|---|---|\n\
            | `path` | yes |  | where, one of a\\|b |\n| `refresh` |  | `30s` | how often |\n";
        let refresh = r#"OptionSpec { name: "refresh", required: false, default: Some("30s"), about: "how often" }"#;
        let shared = CONNECTOR.replace(refresh, "super::log::REFRESH");
        let log = format!("//! Log.\npub(crate) const REFRESH: OptionSpec = {refresh};\n");
        for text in [CONNECTOR, &shared] {
            let tree = Tree::of(&[("connectors/src/file.rs", text), ("connectors/src/log.rs", &log)]);
            let made = connectors(&tree).expect("there is one connector");
            assert!(made.ends_with(want), "{made}");
        }
    }

    #[test]
    fn lists_come_from_source_text() {
        let functions =
            "//! F.\npub(crate) const SCALARS: &[&str] = &[\n    \"abs\",\n    \"acos\",\n];\nconst AGGREGATES: &[&str] = &[\"avg\"];\n";
        let settings = "//! S.\npub struct Setting {\n    pub name: &'static str,\n}\npub static SETTINGS: &[Setting] = &[\n    \
            Setting { name: \"a.b\", default: \"0\", about: \"how long\", parse: |v, t| {\n v.x = f(t)?; Ok(())\n } },\n];\n";
        let tree = Tree::of(&[("sql/src/functions.rs", functions), ("sql/src/settings.rs", settings)]);
        assert_eq!(list(&tree, "scalars").as_deref(), Some("```text\nabs acos\n```\n"));
        assert_eq!(list(&tree, "aggregates").as_deref(), Some("```text\navg\n```\n"));
        let want = "| setting | default | meaning |\n|---|---|---|\n| `a.b` | `0` | how long |\n";
        assert_eq!(list(&tree, "settings").as_deref(), Some(want));
        let metrics = "pub struct JobCounters {\n    /// Records\n    /// read.\n    #[serde(default)]\n    pub consumed: u64,\n}\n";
        assert_eq!(counters(metrics).as_deref(), Some("| counter | counts |\n|---|---|\n| `consumed` | Records read. |\n"));
        assert_eq!((list(&tree, "nothing"), list(&Tree::default(), "scalars")), (None, None));
        let long = (0..30).map(|_| "a_name_of_16_byt".to_owned());
        assert!(wrapped(long).lines().all(|l| l.len() <= NAMES_WIDTH));
    }

    #[test]
    fn a_stale_document_is_found() {
        let stale = |text: &str| fresh(&Tree::of(&[("engine/src/limits.rs", LIMITS), ("docs/limits.md", text)])).len();
        assert_eq!((stale(&limits(LIMITS)), stale("# Limits\n")), (0, 1));
    }
}
