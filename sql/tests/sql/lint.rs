//! What Apache Flink would make of a script. Invariant: each rule finds something in the fixture, and each finding has its exact text
//! there.

use std::collections::BTreeSet;
use std::fmt::Write;

use thalweg_sql::lint::{RULES, lint};

use crate::support::{check_fixture, fixture, sections};

#[test]
fn every_construct_that_flink_reads_otherwise_is_named() {
    let (mut got, mut found) = (String::new(), BTreeSet::new());
    for (title, body) in sections(&fixture("lint.txt")) {
        let script = body.split("\n---\n").next().unwrap().trim_end();
        writeln!(got, "=== {title}\n{script}\n---").unwrap();
        for finding in lint(script).unwrap_or_else(|e| panic!("{title}: {e}")) {
            writeln!(got, "{finding}").unwrap();
            found.insert(finding.rule.name);
        }
        got.push('\n');
    }
    check_fixture("lint.txt", &got);
    let silent: Vec<&str> = RULES.iter().map(|r| r.name).filter(|name| !found.contains(name)).collect();
    assert_eq!(silent, Vec::<&str>::new(), "rules that find nothing in the fixture");
}
