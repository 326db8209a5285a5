//! What is refused of declarations, statement sets, views and settings. Invariant: each refusal has its exact message, place and hint in
//! the fixture.

use std::fmt::Write;

use thalweg_sql::Settings;

use crate::support::{check_fixture, declare, fixture, sections, session};

#[test]
fn every_refusal_of_a_declaration_names_construct_place_and_way_out() {
    let session = session();
    declare(&session, &fixture("views.sql"));
    let mut got = String::new();
    for (title, body) in sections(&fixture("refusals_ddl.txt")) {
        let sql = body.split("\n---\n").next().unwrap().trim_end();
        let error = match session.prepare(sql, &Settings::default()) {
            Err(error) => error,
            Ok(statement) => panic!("{title}: was not refused: {statement:?}"),
        };
        assert!(error.hint_text().is_some(), "{title}: no hint: {error}");
        let (kind, message, hint) = (error.kind(), error.message(), error.hint_text().unwrap_or_default());
        writeln!(got, "=== {title}\n{sql}\n---\n{kind:?}: {message}\nhint: {hint}\n").unwrap();
    }
    check_fixture("refusals_ddl.txt", &got);
}
