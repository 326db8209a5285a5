//! Links between documents. Invariant: a link inside the repository leads to a file that is there, and to a heading that it has.

use crate::tree::{Finding, Tree};

/// Every relative link of a Markdown file names a file, and a heading of it.
pub fn lead_somewhere(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|f| f.path.ends_with(".md")) {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (index, line) in file.text.lines().enumerate() {
            for link in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                let (target, part) = link.split_once('#').unwrap_or((link, ""));
                if target.contains(':') {
                    continue;
                }
                let text = if target.is_empty() { Some(file.text.as_str()) } else { tree.get(&resolve(folder, target)) };
                if text.is_none_or(|text| !part.is_empty() && !has_heading(text, part)) {
                    findings.push(Finding::new(&file.path, index + 1, format!("the link to {link} leads nowhere")));
                }
            }
        }
    }
    findings
}

fn has_heading(text: &str, part: &str) -> bool {
    let title = |line: &str| line.starts_with('#').then(|| anchor(line.trim_start_matches('#').trim()));
    text.lines().filter_map(title).any(|anchor| anchor == part)
}

/// What a heading is called in links.
pub fn anchor(title: &str) -> String {
    let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// `docs` and `../README.md` make `README.md`.
fn resolve(folder: &str, target: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_nowhere_is_found() {
        let links = "[a](../README.md) [b](b.md#a-part) [c](https://example.com#x) [d](#here)\n[e](../e.md) [f](docs/b.md)\n## A `part`\n";
        let tree = Tree::of(&[("README.md", "[x](docs/b.md)\n"), ("docs/b.md", links)]);
        let found: Vec<String> = lead_somewhere(&tree).into_iter().map(|f| f.to_string()).collect();
        let lost = [(1, "#here"), (2, "../e.md"), (2, "docs/b.md")];
        assert_eq!(found, lost.map(|(line, link)| format!("docs/b.md:{line}: the link to {link} leads nowhere")));
    }
}
