//! Text of all sorts. Invariant: preparing never panics, and what is refused says where.

use std::sync::OnceLock;

use arrow::array::{RecordBatch, new_null_array};
use futures::StreamExt;
use proptest::prelude::*;
use thalweg_engine::limits;
use thalweg_engine::plan::Stage;
use thalweg_sql::{Session, SettingChange, Settings, Statement, without_settings};

use crate::support::{declare, fixture, session};

fn shared() -> &'static Session {
    static SESSION: OnceLock<Session> = OnceLock::new();
    SESSION.get_or_init(|| {
        let session = session();
        declare(&session, &fixture("views.sql"));
        session
    })
}

fn check(sql: &str) {
    let _ = (Session::split(sql), shared().uses(sql), without_settings(sql), SettingChange::of(sql));
    match shared().prepare(sql, &Settings::default()) {
        Err(error) => {
            let place = error.message().split(": ").next().unwrap_or_default();
            let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
            assert!(place.split_once(':').is_some_and(|(l, c)| digits(l) && digits(c)), "no place in {error:?} for {sql:?}");
        }
        // What is kept of a table or a view makes the same one again.
        Ok(Statement::CreateTable { definition, .. }) => match shared().prepare_stored(&definition.sql) {
            Ok(Statement::CreateTable { definition: again, .. }) => assert_eq!(format!("{again:?}"), format!("{definition:?}"), "{sql:?}"),
            other => panic!("{other:?} for {sql:?}"),
        },
        Ok(_) => {}
    }
}

/// Pieces of statements, so that many samples get past the parser.
const PIECES: &[&str] = &[
    "SELECT",
    "DISTINCT ON (",
    "FROM",
    "WHERE",
    "GROUP BY",
    "HAVING",
    "JOIN",
    "LEFT JOIN",
    "ON",
    "AS",
    "AND",
    "OR",
    "NOT",
    "IS NULL",
    "IN",
    "BETWEEN",
    "CASE WHEN",
    "THEN",
    "ELSE",
    "END",
    "CAST(",
    "AS TIMESTAMP(3))",
    "AS DOUBLE)",
    "COUNT(*)",
    "SUM(",
    "AVG(",
    "upper(",
    "date_trunc('hour',",
    "TIMESTAMPDIFF(MONTH,",
    "TIMESTAMPADD(DAY,",
    "CEIL(ts TO HOUR)",
    "UNIX_TIMESTAMP(",
    "TRUNCATE(",
    "REGEXP(",
    "telemetry",
    "devices",
    "cold.telemetry",
    "site_10s",
    "t",
    "d",
    "t.ts",
    "ts",
    "temperature",
    "rpm",
    "device_id",
    "status",
    "window_start",
    "window_end",
    "TABLE(TUMBLE(TABLE telemetry, DESCRIPTOR(ts), INTERVAL '10' SECOND))",
    "TUMBLE(",
    "TABLE",
    "DESCRIPTOR(ts)",
    "INTERVAL '1' DAY",
    "FOR SYSTEM_TIME AS OF t.ts",
    "(",
    ")",
    ",",
    "*",
    "+",
    "-",
    "/",
    "=",
    "<>",
    "<",
    "||",
    ".",
    ";",
    "1",
    "0",
    "-1",
    "1e400",
    "99999999999999999999",
    "'a'",
    "''",
    "'2026-01-01'",
    "NULL",
    "TRUE",
    "INSERT INTO site_10s",
    "EXPLAIN",
    "CREATE TABLE x (",
    "WITH ('connector' = 'log')",
    "WATERMARK FOR",
    "PRIMARY KEY",
    "NOT ENFORCED",
    "CREATE VIEW x AS",
    "CREATE TABLE x LIKE epoch",
    "LIKE telemetry",
    "(EXCLUDING ALL)",
    "OVERWRITING OPTIONS",
    "EXECUTE STATEMENT SET BEGIN",
    "; END",
    "SET 'table.exec.state.ttl' = '1 h'",
    "RESET",
    "hot",
    "epoch",
    "proc",
    "PROCTIME()",
    "TO_TIMESTAMP_LTZ(rpm, 3)",
    "STRING",
    "METADATA",
    "ORDER BY",
    "LIMIT",
    "UNION ALL",
    "OVER (",
    "[",
    "]",
    "{",
    "}",
    ":",
    "::",
    "INT",
    "$1",
    "?",
    "@x",
    "\"Flow\"",
    "`rpm`",
    "/* x */",
    "-- x\n",
    "EXTRACT(YEAR FROM",
    "TRIM(",
    "SUBSTRING(",
    "INTERVAL",
    "->",
    "=>",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ascii_never_panics(sql in "[ -~\n\t]{0,200}") {
        check(&sql);
    }

    #[test]
    fn any_text_never_panics(sql in "\\PC{0,80}") {
        check(&sql);
    }

    #[test]
    fn pieces_of_statements_never_panic(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..40)) {
        check(&pieces.join(" "));
    }

    #[test]
    fn expressions_never_panic(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..12)) {
        let expression = pieces.join(" ");
        check(&format!("SELECT {expression} FROM telemetry AS t"));
        check(&format!("SELECT ts FROM telemetry AS t WHERE {expression}"));
        check(&format!("SELECT {expression} FROM cold.telemetry AS t"));
        check(&format!("SELECT h.ts FROM hot AS h JOIN epoch AS t ON {expression}"));
    }

    #[test]
    fn declarations_never_panic(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..10)) {
        let expression = pieces.join(" ");
        check(&format!("CREATE TABLE x (rpm BIGINT, ts TIMESTAMP(3), a AS {expression}, WATERMARK FOR ts AS ts) WITH ('connector' = 'log')"));
        check(&format!("CREATE TABLE x (rpm BIGINT, ts AS TO_TIMESTAMP_LTZ(rpm, 3), WATERMARK FOR ts AS {expression}) WITH ('connector' = 'log')"));
        check(&format!("CREATE TABLE x (rpm BIGINT {expression}) LIKE epoch (EXCLUDING ALL {expression})"));
        check(&format!("CREATE VIEW x AS SELECT {expression} FROM hot AS t"));
        check(&format!("EXECUTE STATEMENT SET BEGIN INSERT INTO readings SELECT {expression} FROM hot; {expression}; END"));
    }
}

/// Prepares a statement, and executes it if it is a query.
fn run(sql: &str) {
    match shared().prepare(sql, &Settings::default()).unwrap_or_else(|e| panic!("{e}")) {
        Statement::Batch(query) => {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async { query.execute().await.unwrap().1.for_each(|batch| async move { drop(batch.unwrap()) }).await });
        }
        Statement::Tail { plan, .. } => {
            let schema = plan.scans[0].schema();
            let columns = schema.fields().iter().map(|f| new_null_array(f.data_type(), 3)).collect();
            let rows = RecordBatch::try_new(schema, columns).unwrap();
            for stage in &plan.inputs[0].stages {
                match stage {
                    Stage::Filter(e) => drop(e.evaluate(&rows).unwrap()),
                    Stage::Project(p) => p.expressions.iter().for_each(|e| drop(e.evaluate(&rows).unwrap())),
                    other => panic!("{other:?}"),
                }
            }
        }
        other => panic!("{other:?}"),
    }
}

/// Runs on a stack as small as those of the threads that call.
fn run_on_small_stack(sql: String) {
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(move || run(&sql)).unwrap();
    thread.join().unwrap();
}

fn chain(first: &str, n: usize, next: impl Fn(usize) -> String) -> String {
    (1..=n).fold(first.to_owned(), |text, i| text + &next(i))
}

#[test]
fn the_largest_queries_that_are_allowed_are_planned_and_run() {
    let chain_max = limits::SQL_CHAIN_TOKENS_MAX / 2 - 20;
    let plan = limits::SQL_PLAN_DEPTH_MAX - 6;
    let sum = format!("{}temperature > 1", "temperature + ".repeat(chain_max));
    let all = format!("{}temperature > 1", "temperature > 1 AND ".repeat(chain_max / 2));
    let joins = chain("cold.telemetry AS t0", plan, |i| format!(" JOIN cold.telemetry AS t{i} ON t0.ts = t{i}.ts"));
    let steps = |n: usize, step: &str| {
        chain("WITH a0 AS (SELECT ts AS x FROM cold.telemetry)", n, |i| format!(", a{i} AS ({step} FROM a{})", i - 1))
    };
    let nested = limits::SQL_NESTING_MAX;
    for sql in [
        format!("SELECT ts FROM telemetry WHERE {sum}"),
        format!("SELECT ts FROM telemetry WHERE {all}"),
        format!("SELECT ts FROM cold.telemetry WHERE {sum}"),
        format!("SELECT COUNT(*) FROM {joins}"),
        format!("{} SELECT * FROM a{}", steps(plan / 2, "SELECT x"), plan / 2),
        format!("{} SELECT * FROM a{}", steps(plan / 3, "SELECT MAX(x) AS x"), plan / 3),
        chain("SELECT 1 AS a", plan, |_| " UNION ALL SELECT 1".to_owned()),
        format!("SELECT {}temperature{} AS x FROM telemetry", "abs(".repeat(nested), ")".repeat(nested)),
        format!("SELECT {}ts{} AS x FROM telemetry", "COALESCE(".repeat(7), ", ts)".repeat(7)),
        (0..limits::SQL_SUBQUERY_DEPTH_MAX).fold("SELECT 1".to_owned(), |q, _| format!("SELECT ({q}) AS x")),
    ] {
        run_on_small_stack(sql);
    }
}

#[test]
fn the_deepest_views_that_are_allowed_are_planned_and_run() {
    let session = shared();
    let condition = |n: usize| format!("{}temperature > 1", "temperature > 1 AND ".repeat(n));
    let mut from = "telemetry".to_owned();
    for i in 0..limits::SQL_VIEW_DEPTH_MAX {
        let name = format!("deep{i}");
        declare(session, &format!("CREATE VIEW {name} AS SELECT ts, temperature FROM {from} WHERE {}", condition(240)));
        from = name;
    }
    run_on_small_stack(format!("SELECT ts FROM {from}"));
}

#[test]
fn what_would_take_for_ever_is_refused_at_once() {
    let doubled =
        chain("WITH a0 AS (SELECT 1 AS x)", 40, |i| format!(", a{i} AS (SELECT l.x FROM a{0} AS l JOIN a{0} AS r ON l.x = r.x)", i - 1));
    let scalars = chain("WITH a0 AS (SELECT 1 AS x)", 8, |i| format!(", a{i} AS (SELECT (SELECT x FROM a{}) AS x)", i - 1));
    let steps = chain("WITH a0 AS (SELECT 1 AS x)", 300, |i| format!(", a{i} AS (SELECT x FROM a{})", i - 1));
    for (sql, expected) in [
        (format!("SELECT {}1", "(".repeat(10_000)), "parentheses"),
        (format!("SELECT {}1", "CAST(".repeat(40)), "parentheses"),
        (format!("SELECT {}1 FROM telemetry", "CAST(CASE CASE CASE WHEN ".repeat(limits::SQL_NESTING_MAX)), "expected"),
        (format!("SELECT {}1 FROM telemetry", "CAST(".repeat(limits::SQL_NESTING_MAX)), "expected"),
        (format!("SELECT {}1", "CASE WHEN ".repeat(10_000)), "without a comma"),
        (format!("SELECT {}1", "NOT ".repeat(10_000)), "without a comma"),
        (format!("SELECT {}1", "1 + ".repeat(100_000)), "without a comma"),
        (format!("SELECT rpm > 1{} FROM telemetry", " BETWEEN true AND true".repeat(40)), "too many parts"),
        (format!("SELECT {}ts{} FROM telemetry", "COALESCE(".repeat(12), ", ts)".repeat(12)), "too many parts"),
        (format!("SELECT rpm > 1{} FROM telemetry", " IN (true, false, true)".repeat(40)), "too many parts"),
        (chain("SELECT 1 AS a", 90, |_| " UNION ALL SELECT 1".to_owned()), "steps"),
        (chain("SELECT 1 AS a FROM cold.telemetry AS t", 90, |i| format!(", cold.telemetry AS t{i}")), "too many tables"),
        (format!("{doubled} SELECT * FROM a40"), "too many tables"),
        (format!("{steps} SELECT * FROM a300"), "steps"),
        (format!("{scalars} SELECT * FROM a8"), "subqueries"),
        ("x".repeat(limits::SQL_BYTES_MAX + 1), "bytes"),
    ] {
        let error = shared().prepare(&sql, &Settings::default()).expect_err(&sql[..sql.len().min(200)]);
        assert!(error.message().contains(expected), "{error}");
    }
}

#[test]
fn many_columns_and_long_lists_are_fine() {
    let columns: Vec<String> = (0..1000).map(|i| format!("temperature + {i} AS c{i}")).collect();
    let list: Vec<String> = (0..5000).map(|i| format!("'{i}'")).collect();
    let sql = format!("SELECT {} FROM telemetry WHERE device_id IN ({})", columns.join(", "), list.join(", "));
    assert!(matches!(shared().prepare(&sql, &Settings::default()).unwrap(), Statement::Tail { .. }));
}
