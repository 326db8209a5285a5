//! Links between documents. Invariant: a link inside the repository leads to a file that is there.

use crate::tree::{Finding, Tree};

/// Every relative link of a Markdown file names a file.
pub fn lead_somewhere(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|f| f.path.ends_with(".md")) {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (index, line) in file.text.lines().enumerate() {
            for link in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                let target = link.split('#').next().unwrap_or(link);
                if !target.is_empty() && !target.contains(':') && tree.get(&resolve(folder, target)).is_none() {
                    findings.push(Finding::new(&file.path, index + 1, format!("the link to {target} leads nowhere")));
                }
            }
        }
    }
    findings
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
        let links = "[a](../README.md) [b](b.md#part) [c](https://example.com) [d](#here)\n[e](../e.md) [f](docs/b.md)\n";
        let tree = Tree::of(&[("README.md", "[x](docs/b.md)\n"), ("docs/b.md", links)]);
        let found: Vec<String> = lead_somewhere(&tree).into_iter().map(|f| f.to_string()).collect();
        assert_eq!(found, ["docs/b.md:2: the link to ../e.md leads nowhere", "docs/b.md:2: the link to docs/b.md leads nowhere"]);
    }
}
