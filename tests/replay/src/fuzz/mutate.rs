//! Texts that are like SQL. Invariant: the same dice give the same text; none is much longer than what the engine takes.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use thalweg_engine::limits::SQL_BYTES_MAX;

use super::pieces::{group, tokens};

/// Changes to one text at most.
const CHANGES_MAX: usize = 8;
/// One text in so many is made very long or very deep.
const EXTREME_EVERY: u32 = 200;
/// Tokens that a repetition adds at most, unless the text is made extreme.
const REPEATED_MAX: usize = 12;

/// What statements are made of, those parts that tests use seldom among them.
const WORDS: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP BY",
    "HAVING",
    "ORDER BY",
    "LIMIT",
    "JOIN",
    "LEFT JOIN",
    "FULL OUTER JOIN",
    "CROSS JOIN",
    "ASOF JOIN",
    "UNION ALL",
    "EXCEPT",
    "INTERSECT",
    "WITH",
    "AS",
    "ON",
    "USING",
    "LATERAL",
    "UNNEST",
    "WITH ORDINALITY",
    "OVER",
    "PARTITION BY",
    "ROWS",
    "RANGE",
    "PRECEDING",
    "FOLLOWING",
    "CURRENT ROW",
    "WINDOW",
    "QUALIFY",
    "FILTER",
    "DISTINCT",
    "ALL",
    "ANY",
    "EXISTS",
    "IN",
    "NOT",
    "IS",
    "NULL",
    "TRUE",
    "BETWEEN",
    "LIKE",
    "ESCAPE",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "CAST",
    "TRY_CAST",
    "EXTRACT",
    "INTERVAL",
    "SECOND",
    "MONTH",
    "DESCRIPTOR",
    "TABLE",
    "TUMBLE",
    "HOP",
    "CUMULATE",
    "SESSION",
    "SIZE =>",
    "FOR SYSTEM_TIME AS OF",
    "MATCH_CONDITION",
    "GROUPING SETS",
    "CUBE",
    "ROLLUP",
    "CREATE TABLE",
    "CREATE TEMPORARY VIEW",
    "IF NOT EXISTS",
    "WATERMARK FOR",
    "METADATA FROM",
    "PRIMARY KEY",
    "NOT ENFORCED",
    "WITH ('connector' = 'log')",
    "LIKE",
    "INCLUDING ALL",
    "INSERT INTO",
    "EXECUTE STATEMENT SET BEGIN",
    "EXPLAIN",
    "DESCRIBE",
    "SHOW CREATE TABLE",
    "DROP TABLE",
    "STOP JOB",
    "SET",
    "RESET",
    "ROW<",
    "ARRAY<",
    "MAP<",
    ">",
    ">>",
    "ARRAY[",
    "]",
    "{",
    "}",
    "(",
    ")",
    ",",
    ";",
    ".",
    "*",
    "+",
    "-",
    "/",
    "%",
    "||",
    "=",
    "<>",
    "!=",
    "<",
    "<=",
    "->",
    "->>",
    "=>",
    "::",
    ":",
    "@",
    "$1",
    "?",
    "--",
    "/*",
    "*/",
    "'",
    "\"",
    "`",
    "\\",
    "\0",
    "é",
    "😀",
    "\u{feff}",
    "\r\n",
    "TIMESTAMP(3)",
    "DECIMAL(38, 38)",
    "STRING",
    "BYTES",
    "DATE",
    "TIME(6)",
    "PROCTIME()",
    "COUNT(*)",
    "LAG",
    "LEAD",
    "NTH_VALUE",
    "LISTAGG",
    "JSON_VALUE",
    "RETURNING",
    "TRIM(BOTH FROM",
    "POSITION",
    "SUBSTRING",
    "OVERLAY",
    "AT TIME ZONE",
    "COLLATE",
    "MATCH_RECOGNIZE",
    "PIVOT",
    "TABLESAMPLE",
    "RECURSIVE",
    "VALUES",
    "INTO",
    "FETCH FIRST",
];

/// Values on the edge of something.
const VALUES: &[&str] = &[
    "0",
    "-1",
    "1e400",
    "1e-400",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "99999999999999999999999999999999999999999",
    "0.00000000000000000000000000000000000001",
    "0x7f",
    "''",
    "'a'",
    "'%'",
    "'\\'",
    "'2026-02-30'",
    "'9999-12-31 23:59:59.999999999'",
    "'-1'",
    "'10 seconds'",
    "'1 month'",
    "NULL",
    "INTERVAL '0' SECOND",
    "INTERVAL '-9223372036854775808' SECOND",
    "INTERVAL '9999999999' DAY",
    "INTERVAL '1' MONTH",
    "INTERVAL '0.0000001' SECOND",
    "TIMESTAMP '0001-01-01 00:00:00'",
    "DATE '9999-12-31'",
    "ARRAY[]",
    "MAP[]",
    "x'00'",
    "CAST(NULL AS STRING)",
    "'$'",
    "'$.a[*]'",
    "'lax $..a'",
    "'('",
    "'[a-'",
];

/// The text of these dice.
pub fn mutated(corpus: &[String], dice: &mut StdRng) -> String {
    let mut text = pick(corpus, dice);
    if dice.random_ratio(1, 6) {
        text = format!("{text};\n{}", pick(corpus, dice));
    }
    for _ in 0..dice.random_range(0..=CHANGES_MAX) {
        text = changed(&text, corpus, dice);
    }
    if dice.random_ratio(1, EXTREME_EVERY) { extreme(&text, dice) } else { text }
}

fn pick(corpus: &[String], dice: &mut StdRng) -> String {
    corpus.choose(dice).cloned().unwrap_or_default()
}

fn changed(text: &str, corpus: &[String], dice: &mut StdRng) -> String {
    let all = tokens(text);
    if all.is_empty() {
        return pick(corpus, dice);
    }
    let at = dice.random_range(0..all.len());
    let (before, after) = (all[..at].concat(), all[at + 1..].concat());
    match dice.random_range(0..11) {
        0 => before + &after,
        1 => format!("{before}{}{}{after}", all[at], all[at]),
        2 => format!("{before}{}{after}", spaced(WORDS, dice)),
        3 => format!("{before}{}{}{after}", spaced(WORDS, dice), all[at]),
        4 => format!("{before}{}{after}", spaced(VALUES, dice)),
        5 => {
            let other = dice.random_range(0..all.len());
            let mut swapped = all.clone();
            swapped.swap(at, other);
            swapped.concat()
        }
        6 => {
            let other = pick(corpus, dice);
            let theirs = tokens(&other);
            let from = dice.random_range(0..=theirs.len());
            format!("{before} {}", theirs[from..].concat())
        }
        7 => exchanged(&all, at, &pick(corpus, dice), dice),
        8 => {
            let to = (at + dice.random_range(1..=REPEATED_MAX)).min(all.len());
            format!("{before}{}{}", all[at..to].concat().repeat(dice.random_range(2..5)), all[to..].concat())
        }
        9 => format!("{before}({}){after}", all[at]),
        _ => flipped(text, dice),
    }
}

fn spaced(pieces: &[&str], dice: &mut StdRng) -> String {
    format!(" {} ", pieces.choose(dice).copied().unwrap_or_default())
}

/// A group in parentheses from another text in place of one from this text.
fn exchanged(all: &[&str], near: usize, other: &str, dice: &mut StdRng) -> String {
    let theirs = tokens(other);
    let groups: Vec<_> = (0..theirs.len()).filter_map(|i| group(&theirs, i)).collect();
    let mine = (near..all.len()).chain(0..near).find_map(|i| group(all, i));
    match (mine, groups.choose(dice)) {
        (Some(mine), Some(group)) => {
            format!("{}{}{}", all[..mine.start].concat(), theirs[group.clone()].concat(), all[mine.end..].concat())
        }
        _ => format!("{}{}{}", all[..near].concat(), other, all[near..].concat()),
    }
}

/// A few bytes are others; what is no UTF-8 then is shown as such.
fn flipped(text: &str, dice: &mut StdRng) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..dice.random_range(1..4) {
        let at = dice.random_range(0..bytes.len());
        match dice.random_range(0..3) {
            0 => bytes[at] ^= 1 << dice.random_range(0..8),
            1 => bytes[at] = dice.random(),
            _ => bytes.insert(at, dice.random()),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Something very long or very deep.
fn extreme(text: &str, dice: &mut StdRng) -> String {
    let all = tokens(text);
    let at = dice.random_range(0..=all.len());
    let (before, after) = (all[..at].concat(), all[at..].concat());
    let times = [17, 100, 1_000, 20_000][dice.random_range(0..4)];
    match dice.random_range(0..6) {
        0 => format!("{before}{}1{}{after}", "(".repeat(times), ")".repeat(times)),
        1 => {
            let word = WORDS.choose(dice).copied().unwrap_or_default();
            format!("{before}{}{after}", format!(" {word} ").repeat(times))
        }
        2 => {
            let (open, close) =
                [("CAST(", " AS INT)"), ("ABS(", ")"), ("CASE WHEN ", " THEN 1 END"), ("NOT ", ""), ("- ", "")][dice.random_range(0..5)];
            format!("{before}{}1{}{after}", open.repeat(times), close.repeat(times))
        }
        3 => format!("{before}{}{after}", " AND a = 1".repeat(times)),
        4 => format!("SELECT a FROM ({}{text}{}) AS t", "SELECT a FROM (".repeat(times.min(2_000)), ") AS t".repeat(times.min(2_000))),
        _ => {
            let length = SQL_BYTES_MAX + dice.random_range(0..3) - 1;
            let mut long = format!("{text} ").repeat(length / (text.len() + 1) + 1);
            let cut = (0..=length).rev().find(|&i| long.is_char_boundary(i)).unwrap_or(0);
            long.truncate(cut);
            long
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_seed_is_a_text_and_texts_are_of_all_sorts() {
        let corpus = ["SELECT (a) FROM t".to_owned(), "CREATE TABLE t (a INT)".to_owned()];
        let text = |seed| mutated(&corpus, &mut StdRng::seed_from_u64(seed));
        let all: Vec<String> = (0..12_000).map(text).collect();
        assert_eq!(all[17], text(17));
        assert!(all.iter().any(|t| t.len() > SQL_BYTES_MAX) && all.iter().all(|t| t.len() < SQL_BYTES_MAX + 100));
        assert!(all.iter().any(|t| t.contains(&"(".repeat(1_000))) && all.iter().any(|t| t.contains('\u{fffd}')));
        let distinct: std::collections::BTreeSet<&String> = all.iter().collect();
        assert!(distinct.len() > 8_000, "{}", distinct.len());
    }
}
