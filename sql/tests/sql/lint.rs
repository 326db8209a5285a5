//! What Apache Flink would make of a script. Invariant: each finding has its exact text in the fixture.

use std::fmt::Write;

use thalweg_sql::lint::lint;

use crate::support::{check_fixture, fixture, sections};

#[test]
fn every_construct_that_flink_reads_otherwise_is_named() {
    let mut got = String::new();
    for (title, body) in sections(&fixture("lint.txt")) {
        let script = body.split("\n---\n").next().unwrap().trim_end();
        writeln!(got, "=== {title}\n{script}\n---").unwrap();
        for finding in lint(script).unwrap_or_else(|e| panic!("{title}: {e}")) {
            writeln!(got, "{finding}").unwrap();
        }
        got.push('\n');
    }
    check_fixture("lint.txt", &got);
}
