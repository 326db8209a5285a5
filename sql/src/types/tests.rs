//! Types there and back. Invariant: `name` gives SQL that declares the same type.

use super::*;
use crate::parser::{ColumnKind, Parsed, parse};

/// The type of a column that is declared as `sql`.
fn declared(sql: &str) -> Result<ColumnType, String> {
    let parsed = parse(&format!("CREATE TABLE t (c {sql}) WITH ('connector' = 'log')")).map_err(|p| p.message().to_owned())?;
    let Parsed::CreateTable(table) = parsed else { return Err("not a table".to_owned()) };
    let ColumnKind::Typed { data_type, .. } = &table.columns[0].kind else { return Err("not typed".to_owned()) };
    column_type(data_type).map_err(str::to_owned)
}

#[test]
fn times_are_cut_to_their_precision() {
    let of = |sql: &str| declared(sql).map(|t| t.time_unit);
    assert_eq!(of("TIMESTAMP(0)"), Ok(1_000_000));
    assert_eq!([of("TIMESTAMP(3)"), of("TIMESTAMP_LTZ(3)"), of("TIME(3)")], [Ok(1_000), Ok(1_000), Ok(1_000)]);
    assert_eq!([of("TIMESTAMP(6)"), of("TIMESTAMP"), of("TIME(6)"), of("INT")], [Ok(1), Ok(1), Ok(1), Ok(1)]);
    assert_eq!(of("TIME"), Ok(1_000_000));
    assert_eq!(of("ROW<a TIMESTAMP(3), b ARRAY<TIME(3)>>"), Ok(1_000));
    assert_eq!(of("ROW<a TIMESTAMP(3), b TIMESTAMP>"), Err("give all times of the column the same precision".to_owned()));
    assert!(of("TIMESTAMP(9)").is_err());
}

#[test]
fn names_declare_what_they_name() {
    for sql in [
        "STRING",
        "BOOLEAN",
        "TINYINT",
        "SMALLINT",
        "INT",
        "BIGINT",
        "FLOAT",
        "DOUBLE",
        "DECIMAL(10, 2)",
        "DATE",
        "TIME(6)",
        "TIMESTAMP",
        "BYTES",
        "ARRAY<INT>",
        "ARRAY<ARRAY<ARRAY<INT>>>",
        "MAP<STRING, ARRAY<DOUBLE>>",
        "ROW<a INT, b ROW<c MAP<STRING, INT>>, date DATE, `ü` TIMESTAMP>",
    ] {
        let declared = declared(sql).unwrap().data_type;
        assert_eq!(name(&declared), sql);
        assert_eq!(carried(&declared), Some(declared), "{sql} flows through streams");
    }
    let same = |a: &str, b: &str| assert_eq!(declared(a), declared(b));
    same("VARBINARY", "BYTES");
    same("DECIMAL", "DECIMAL(10, 0)");
    same("NUMERIC(5)", "DECIMAL(5, 0)");
    same("TIMESTAMP_LTZ(6)", "TIMESTAMP");
    same("VARCHAR", "STRING");
    assert_eq!(name(&DataType::Float16), "FLOAT16");
}

#[test]
fn what_is_not_supported_says_what_to_write() {
    for (sql, wanted) in [
        ("VARCHAR(3)", "write STRING"),
        ("DECIMAL(39, 2)", "write DECIMAL(p, s) with p from 1 to 38 and s from 0 to p"),
        ("DECIMAL(3, 5)", "write DECIMAL(p, s) with p from 1 to 38 and s from 0 to p"),
        ("TIME(9)", "the finest is TIME(6), microseconds"),
        ("MAP<INT, INT>", "write MAP<STRING, …>: keys are texts"),
        ("ARRAY<INT", "expected '>', found )"),
        ("ARRAY<INT>>", "expected one '>' less, found )"),
        ("ARRAY", "expected '<', found )"),
        ("ROW<a INT NOT NULL>", "NOT NULL inside of a type is not supported"),
        ("INTERVAL", "an interval stands in expressions only: declare a BIGINT in a unit of your choice"),
    ] {
        assert_eq!(declared(sql), Err(wanted.to_owned()), "{sql}");
    }
    let deep = format!("{}INT{}", "ARRAY<".repeat(17), " >".repeat(17));
    assert_eq!(declared(&deep), Err("more than 16 types are nested".to_owned()));
    let deepest = format!("{}INT{}", "ARRAY<".repeat(16), ">".repeat(16));
    assert!(declared(&deepest).is_ok());
}

#[test]
fn only_lossless_conversions_widen() {
    use DataType::{Decimal128, Float32, Float64, Int8, Int32, Int64};
    assert!(widens(&Int32, &Float64) && widens(&Int8, &Float32));
    assert!(!widens(&Int64, &Float64), "not every BIGINT is a DOUBLE");
    assert!(!widens(&Int32, &Float32), "not every INT is a FLOAT");
    assert!(widens(&Decimal128(5, 2), &Decimal128(7, 3)) && !widens(&Decimal128(5, 2), &Decimal128(6, 4)));
    assert!(widens(&Int64, &Decimal128(21, 2)) && !widens(&Int64, &Decimal128(20, 2)));
    assert!(!widens(&Decimal128(5, 0), &Int64) && !widens(&Float64, &Decimal128(38, 10)));
}
