//! Views. Invariant: a query that names a view is planned as if the view's query stood there, and nothing of one shows in the other.

use thalweg_engine::error::{Error, ErrorKind};
use thalweg_engine::limits::SQL_VIEW_DEPTH_MAX;
use thalweg_sql::{Session, Settings, Statement, TableKind};

use crate::support::{declare, session};

const HOT: &str = "CREATE VIEW hot AS SELECT device_id, ts, temperature AS t FROM telemetry WHERE temperature > 50";

fn with_views(script: &str) -> Session {
    let session = session();
    declare(&session, script);
    session
}

fn prepare(session: &Session, sql: &str) -> Result<Statement, Error> {
    session.prepare(sql, &Settings::default())
}

fn explain(session: &Session, sql: &str) -> String {
    match prepare(session, &format!("EXPLAIN {sql}")).unwrap_or_else(|e| panic!("{e}\n{sql}")) {
        Statement::Explain { text } => text,
        other => panic!("{other:?}"),
    }
}

fn refused(session: &Session, sql: &str) -> String {
    let error = prepare(session, sql).expect_err(sql);
    assert!(error.hint_text().is_some(), "{error}");
    error.message().lines().next().unwrap_or_default().to_owned()
}

fn rows(session: &Session, sql: &str) -> Vec<Vec<String>> {
    let rows = match prepare(session, sql).unwrap_or_else(|e| panic!("{e}")) {
        Statement::Describe { rows } | Statement::List { rows } => rows,
        other => panic!("{other:?}"),
    };
    let text = |c: usize, r: usize| arrow::util::display::array_value_to_string(rows.column(c), r).unwrap();
    (0..rows.num_rows()).map(|r| (0..rows.num_columns()).map(|c| text(c, r)).collect()).collect()
}

#[test]
fn a_view_is_planned_like_its_query() {
    let session = with_views(
        "CREATE VIEW hot AS SELECT device_id, ts, temperature AS t FROM telemetry WHERE temperature > 50;
         CREATE TEMPORARY VIEW named (dev, at, Degrees) AS SELECT * FROM hot;
         CREATE VIEW sites AS SELECT t.ts, d.site FROM telemetry AS t JOIN devices FOR SYSTEM_TIME AS OF t.ts AS d ON t.device_id = d.device_id;
         CREATE VIEW common AS WITH a AS (SELECT device_id, ts FROM telemetry), b AS (SELECT * FROM a) SELECT * FROM b",
    );
    let hot = "(SELECT device_id, ts, temperature AS t FROM telemetry WHERE temperature > 50)";
    for (view, plain) in [
        ("SELECT * FROM hot".to_owned(), format!("SELECT * FROM {hot} AS hot")),
        ("SELECT HOT.T, x.device_id FROM Hot JOIN hot AS x ON hot.ts = x.ts AND hot.device_id = x.device_id".to_owned(), String::new()),
        ("SELECT h.device_id FROM hot AS h WHERE h.t < 99".to_owned(), format!("SELECT h.device_id FROM {hot} AS h WHERE h.t < 99")),
        ("SELECT dev, degrees + 1 AS x FROM named".to_owned(), format!("SELECT device_id AS dev, t + 1 AS x FROM {hot} AS hot")),
        (
            "SELECT window_end, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE hot, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end"
                .to_owned(),
            "SELECT window_end, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE telemetry, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) WHERE temperature > 50
             GROUP BY window_start, window_end"
                .to_owned(),
        ),
        ("SELECT site FROM sites WHERE site <> 'x'".to_owned(), String::new()),
        (
            "WITH a AS (SELECT ts FROM hot), b AS (SELECT 1 AS one) SELECT c.device_id FROM common AS c".to_owned(),
            "SELECT device_id FROM telemetry".to_owned(),
        ),
        ("SELECT l.ts FROM common AS l UNION ALL SELECT r.ts FROM common AS r".to_owned(), String::new()),
    ] {
        if plain.is_empty() {
            // A join of two streams needs to be told how long rows are kept.
            let settings = Settings::new([("table.exec.state.ttl", "1 h")]).unwrap();
            session.prepare(&view, &settings).unwrap_or_else(|e| panic!("{e}"));
            continue;
        }
        assert_eq!(explain(&session, &view), explain(&session, &plain), "{view}");
    }
    let batch = with_views("CREATE VIEW warmest AS SELECT device_id, MAX(temperature) AS t FROM cold.telemetry GROUP BY device_id");
    let plan = explain(&batch, "SELECT w.device_id FROM warmest AS w JOIN warmest AS v ON w.t = v.t ORDER BY 1 LIMIT 3");
    assert_eq!(plan.matches("cold.telemetry").count(), 2, "{plan}");
}

#[test]
fn a_view_says_what_it_is() {
    let session = with_views(HOT);
    let definition = session.table("hot").unwrap();
    assert_eq!(definition.sql, HOT);
    let TableKind::View { query, columns } = &definition.kind else { panic!("{definition:?}") };
    assert_eq!((query.as_str(), columns.len()), (HOT.split_once(" AS ").unwrap().1, 0));
    let described: Vec<Vec<String>> = rows(&session, "DESCRIBE hot").into_iter().map(|r| r[..2].to_vec()).collect();
    assert_eq!(described, [["device_id", "STRING"], ["ts", "TIMESTAMP"], ["t", "DOUBLE"]]);
    assert_eq!(rows(&session, "SHOW VIEWS"), [["hot", query.as_str()]]);
    assert_eq!(rows(&session, "SHOW CREATE VIEW hot"), [[HOT]]);
    assert!(rows(&session, "SHOW CREATE TABLE telemetry")[0][0].starts_with("CREATE TABLE telemetry ("));
    let functions = rows(&session, "SHOW FUNCTIONS");
    for (name, kind) in
        [("abs", "scalar"), ("sum", "aggregate"), ("row_number", "window"), ("tumble", "table"), ("to_timestamp_ltz", "scalar")]
    {
        assert!(functions.contains(&vec![name.to_owned(), kind.to_owned()]), "{name}");
    }
    assert!(matches!(
        prepare(&session, "CREATE VIEW IF NOT EXISTS hot AS SELECT nothing FROM nowhere").unwrap(),
        Statement::Nothing { .. }
    ));
    let Statement::CreateTable { notices, .. } = prepare(&session, "CREATE TEMPORARY VIEW x AS SELECT 1 AS a").unwrap() else { panic!() };
    assert!(notices[0].contains("TEMPORARY"), "{notices:?}");
}

#[test]
fn tables_and_views_are_dropped_as_what_they_are() {
    let session = with_views(HOT);
    assert_eq!(refused(&session, "DROP TABLE hot"), "1:12: 'hot' is a view");
    assert_eq!(refused(&session, "DROP VIEW telemetry"), "1:11: 'telemetry' is a table");
    assert!(matches!(prepare(&session, "DROP VIEW IF EXISTS cool").unwrap(), Statement::Nothing { .. }));
    let Statement::DropTable { name } = prepare(&session, "DROP TEMPORARY VIEW hot").unwrap() else { panic!() };
    session.undeclare(name.as_str()).unwrap();
    assert_eq!(prepare(&session, "SELECT * FROM hot").unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn what_a_statement_uses_includes_what_its_views_read() {
    let session = with_views(&format!("{HOT}; CREATE VIEW hotter AS SELECT * FROM hot WHERE t > 90"));
    let uses = |sql: &str| session.uses(sql).unwrap().into_iter().collect::<Vec<_>>();
    assert_eq!(
        uses("SET 'pipeline.name' = 'x';\nINSERT INTO readings SELECT device_id, ts, t FROM Hotter"),
        ["hot", "hotter", "readings", "telemetry"]
    );
    assert_eq!(
        uses(
            "EXECUTE STATEMENT SET BEGIN INSERT INTO readings SELECT * FROM TABLE(TUMBLE(TABLE vibration, DESCRIPTOR(x), INTERVAL '1' DAY)); END"
        ),
        ["readings", "vibration"]
    );
    assert_eq!(
        uses(
            "CREATE VIEW v AS SELECT 1 AS a WHERE EXISTS (SELECT * FROM cold.telemetry, SESSION(TABLE timeless PARTITION BY a, DESCRIPTOR(b)))"
        ),
        ["timeless"]
    );
}

#[test]
fn views_nest_so_deep_and_no_deeper() {
    let session = with_views("CREATE VIEW v1 AS SELECT ts FROM telemetry");
    for i in 2..=SQL_VIEW_DEPTH_MAX {
        declare(&session, &format!("CREATE VIEW v{i} AS SELECT ts FROM v{}", i - 1));
    }
    let deepest = format!("SELECT ts FROM v{SQL_VIEW_DEPTH_MAX}");
    assert_eq!(explain(&session, &deepest), explain(&session, "SELECT ts FROM telemetry"));
    // One level more is declared, because its own query is not inside a view, but it cannot be named.
    declare(&session, &format!("CREATE VIEW v9 AS {deepest}"));
    assert!(refused(&session, "SELECT ts\n FROM v9").contains("2:7: views are nested"), "{}", refused(&session, "SELECT ts\n FROM v9"));
    declare(&session, "CREATE VIEW w1 AS SELECT ts FROM cold.telemetry UNION ALL SELECT ts FROM cold.telemetry");
    for i in 2..=6 {
        let double = format!("CREATE VIEW w{i} AS SELECT ts FROM w{0} UNION ALL SELECT ts FROM w{0}", i - 1);
        match prepare(&session, &double) {
            Ok(Statement::CreateTable { definition, .. }) => session.declare(*definition).unwrap(),
            other => assert!(format!("{other:?}").contains("too many"), "{other:?}"),
        }
    }
    assert!(refused(&session, "SELECT ts FROM w5, w5 AS x, w5 AS y").contains("too many tables"));
}

#[test]
fn what_is_wrong_inside_is_told_where_the_view_is_named() {
    let session = with_views(HOT);
    session.undeclare("telemetry").unwrap();
    assert_eq!(refused(&session, "SELECT t FROM\n  hot AS h"), "2:3: table 'telemetry' does not exist");
    assert_eq!(refused(&session, "DESCRIBE hot"), "1:10: table 'telemetry' does not exist");
}

#[test]
fn a_stored_view_comes_back_whatever_has_become_of_its_tables() {
    let session = session();
    let sql = "CREATE VIEW lost AS SELECT * FROM warm.lost";
    assert_eq!(prepare(&session, sql).unwrap_err().kind(), ErrorKind::NotFound);
    let Statement::CreateTable { definition, .. } = session.prepare_stored(sql).unwrap() else { panic!() };
    session.declare(*definition).unwrap();
    assert_eq!(refused(&session, "SELECT * FROM lost"), "1:15: table 'warm.lost' does not exist");
}
