//! What the house demands of the text of the repository. Invariant: every check is a pure function in `CHECKS`, is also a
//! test of this crate, and has beside it a test in which it finds a made-up violation.

use crate::tree::{Finding, Tree, root};
use crate::{codegen, dependencies, layers, links, marks, modules, registries, sizes};

/// One check.
struct Check {
    name: &'static str,
    run: fn(&Tree) -> Vec<Finding>,
}

/// Every check, sorted by name.
static CHECKS: &[Check] = &[
    Check { name: "absent marks", run: marks::absent },
    Check { name: "complete registries", run: registries::complete },
    Check { name: "declared modules", run: modules::declared },
    Check { name: "directed dependencies", run: dependencies::directed },
    Check { name: "documented files", run: sizes::documented },
    Check { name: "fresh documents", run: codegen::fresh },
    Check { name: "links", run: links::lead_somewhere },
    Check { name: "ordered layers", run: layers::ordered },
    Check { name: "single versions", run: dependencies::single },
    Check { name: "small files and functions", run: sizes::small },
    Check { name: "used dependencies", run: dependencies::used },
    Check { name: "whitespace", run: marks::whitespace },
];

/// Runs every check over the repository.
pub fn run(_: &[String]) -> Result<(), String> {
    let tree = Tree::load(&root())?;
    for note in registries::missing(&tree) {
        println!("note: {note}");
    }
    let mut count = 0;
    for check in CHECKS {
        for finding in (check.run)(&tree) {
            println!("{finding}  [{}]", check.name);
            count += 1;
        }
    }
    match count {
        0 => Ok(()),
        count => Err(format!("{count} findings")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `cargo test` is the whole gate: a finding fails it as it fails `cargo xtask tidy`.
    #[test]
    fn the_repository_is_tidy() {
        let tree = Tree::load(&root()).unwrap();
        assert!(tree.get("xtask/src/tidy.rs").is_some(), "the tree must have been read");
        let findings: Vec<String> = CHECKS.iter().flat_map(|c| (c.run)(&tree).into_iter().map(|f| format!("{f}  [{}]", c.name))).collect();
        assert!(findings.is_empty(), "\n{}", findings.join("\n"));
    }

    #[test]
    fn checks_are_sorted() {
        assert!(CHECKS.is_sorted_by_key(|c| c.name));
    }
}
