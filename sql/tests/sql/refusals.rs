//! What is refused. Invariant: each refusal has its exact message, place and hint in the fixture.

use std::fmt::Write;

use thalweg_sql::Settings;

use crate::support::{check_fixture, fixture, sections, session};

#[test]
fn every_refusal_names_construct_place_and_way_out() {
    let session = session();
    let mut got = String::new();
    let mut count = 0;
    for (title, body) in sections(&fixture("refusals.txt")) {
        let sql = body.split("\n---\n").next().unwrap().trim_end();
        let error = match session.prepare(sql, &Settings::default()) {
            Err(error) => error,
            Ok(statement) => panic!("{title}: was not refused: {statement:?}"),
        };
        assert!(error.hint_text().is_some(), "{title}: no hint: {error}");
        writeln!(
            got,
            "=== {title}\n{sql}\n---\n{:?}: {}\nhint: {}\n",
            error.kind(),
            error.message(),
            error.hint_text().unwrap_or_default()
        )
        .unwrap();
        count += 1;
    }
    assert!(count >= 60, "only {count} refusals");
    check_fixture("refusals.txt", &got);
}
