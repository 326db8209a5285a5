//! Statements other than queries. Invariant: a statement that both engines read alike is not found.

use sqlparser::ast::Ident;
use sqlparser::tokenizer::{Location, Token};

use super::finding::{Effect, Rule};
use super::report::Report;
use super::script::{Script, Stated, What};
use super::walk::Family;
use crate::parser::{CreateTable, DropStatement, Dropped, Parsed, SavepointWanted};

pub(super) static FAMILY: Family = Family { statement, ..Family::BLIND };

pub(super) static DESCRIBE_TABLE: Rule =
    Rule { name: "describe-table", finds: "DESCRIBE TABLE", effect: Effect::Refuses, why: "", hint: "leave the word TABLE out" };
pub(super) static DROP_JOB: Rule = Rule {
    name: "drop-job",
    finds: "DROP JOB",
    effect: Effect::Refuses,
    why: "it has no such statement; STOP JOB ends a job",
    hint: "leave it out on Flink",
};
pub(super) static DROP_TEMPORARY: Rule = Rule {
    name: "drop-temporary",
    finds: "DROP of a view as what it is not: temporary, or stored",
    effect: Effect::Refuses,
    why: "temporary views and stored ones are dropped by different statements",
    hint: "write TEMPORARY in CREATE and in DROP, or in neither",
};
pub(super) static EXPLAIN_SET: Rule = Rule {
    name: "explain-set",
    finds: "EXPLAIN EXECUTE and EXPLAIN BEGIN",
    effect: Effect::Refuses,
    why: "",
    hint: "write EXPLAIN STATEMENT SET BEGIN … END",
};
pub(super) static INFERRED_COLUMNS: Rule = Rule {
    name: "inferred-columns",
    finds: "a table without columns",
    effect: Effect::Differs,
    why: "it looks at no records: the table has no columns there",
    hint: "declare the columns; SHOW CREATE TABLE shows those that were found",
};
pub(super) static JOB_NAME: Rule = Rule {
    name: "job-name",
    finds: "a job by its name",
    effect: Effect::Refuses,
    why: "it knows jobs by an id in quotes",
    hint: "on Flink look for the id in SHOW JOBS, and write it in single quotes",
};
pub(super) static LIKE_COMMA: Rule = Rule {
    name: "like-comma",
    finds: "commas between the options of LIKE",
    effect: Effect::Refuses,
    why: "",
    hint: "leave the commas out: LIKE other (INCLUDING ALL EXCLUDING OPTIONS)",
};
pub(super) static SAVEPOINT: Rule = Rule {
    name: "savepoint",
    finds: "SHOW SAVEPOINTS, DROP SAVEPOINT, a name for a savepoint",
    effect: Effect::Refuses,
    why: "its savepoints are directories, which it neither lists nor removes",
    hint: "leave it out on Flink; STOP JOB … WITH SAVEPOINT tells the path",
};
pub(super) static SHOW_CREATE: Rule = Rule {
    name: "show-create",
    finds: "SHOW CREATE TABLE of a view, SHOW CREATE VIEW of a table",
    effect: Effect::Refuses,
    why: "",
    hint: "name it as what it is",
};

fn statement(stated: &Stated, script: &Script<'_>, report: &mut Report<'_>) {
    match &stated.parsed {
        Parsed::StopJob(stop) => {
            job_name("STOP JOB", &stop.name, report);
            if let (SavepointWanted::Named(name), Some(first)) = (&stop.savepoint, stop.name.first()) {
                report.add(&SAVEPOINT, first.span.start, format!("WITH SAVEPOINT '{name}'"));
            }
        }
        Parsed::DropJob(_) => {
            if let Some(at) = stated.word(1, "JOB") {
                report.add(&DROP_JOB, at, "DROP JOB");
            }
        }
        Parsed::DropSavepoint(_) | Parsed::ShowSavepoints => {
            let words = ["SAVEPOINT", "SAVEPOINTS"].into_iter().find_map(|word| Some((stated.word(1, word)?, word)));
            if let Some((at, word)) = words {
                report.add(&SAVEPOINT, at, format!("{} {word}", if word == "SAVEPOINTS" { "SHOW" } else { "DROP" }));
            }
        }
        Parsed::DescribeJob(job) => job_name("DESCRIBE JOB", job, report),
        Parsed::Describe(_) => {
            if let Some(at) = stated.word(1, "TABLE") {
                report.add(&DESCRIBE_TABLE, at, "DESCRIBE TABLE");
            }
        }
        Parsed::Explain(_) => explain(stated, report),
        Parsed::ShowCreate(name) => show_create(stated, name, script, report),
        Parsed::Drop(drop) => dropped(stated, drop, script, report),
        Parsed::CreateTable(table) => created(table, report),
        _ => {}
    }
}

fn job_name(words: &str, job: &[Ident], report: &mut Report<'_>) {
    if let Some(first) = job.first() {
        let name: Vec<&str> = job.iter().map(|i| i.value.as_str()).collect();
        report.add(&JOB_NAME, first.span.start, format!("{words} {}", name.join(".")));
    }
}

fn explain(stated: &Stated, report: &mut Report<'_>) {
    let after = if stated.word(1, "PLAN").is_some() && stated.word(2, "FOR").is_some() { 3 } else { 1 };
    for word in ["EXECUTE", "BEGIN"] {
        if let Some(at) = stated.word(after, word) {
            report.add(&EXPLAIN_SET, at, format!("EXPLAIN {word}"));
        }
    }
}

fn show_create(stated: &Stated, name: &Ident, script: &Script<'_>, report: &mut Report<'_>) {
    let Some(declared) = script.declared(&name.value) else { return };
    let (wrong, right) = match declared.what {
        What::Table => ("VIEW", "TABLE"),
        What::View { .. } => ("TABLE", "VIEW"),
    };
    if let Some(at) = stated.word(2, wrong) {
        report.hint(
            &SHOW_CREATE,
            at,
            format!("SHOW CREATE {wrong} of a {}", right.to_lowercase()),
            format!("write SHOW CREATE {right} {name}"),
        );
    }
}

fn dropped(stated: &Stated, drop: &DropStatement, script: &Script<'_>, report: &mut Report<'_>) {
    let said = stated.word(1, "TEMPORARY");
    let Some(What::View { temporary }) = script.declared(&drop.name.value).map(|d| d.what) else { return };
    if drop.as_what == Dropped::View && temporary != said.is_some() {
        let (word, kind) = if temporary { ("DROP VIEW", "temporary") } else { ("DROP TEMPORARY VIEW", "stored") };
        report.add(&DROP_TEMPORARY, drop.name.span.start, format!("{word} of the {kind} view '{}'", drop.name.value));
    }
}

fn created(table: &CreateTable, report: &mut Report<'_>) {
    if table.columns.is_empty() && table.like.is_none() {
        report.add(&INFERRED_COLUMNS, table.name.span.start, format!("table '{}' without columns", table.name.value));
    }
    if let Some(at) = table.like.as_ref().and_then(|like| like_comma(table, like.source.span.start)) {
        report.add(&LIKE_COMMA, at, "a comma in LIKE");
    }
}

/// The first comma behind the name of the source; nothing but its options follows.
fn like_comma(table: &CreateTable, source: Location) -> Option<Location> {
    let mut behind = table.tokens.all().iter().skip_while(|t| t.span.start < source);
    behind.find(|t| t.token == Token::Comma).map(|t| t.span.start)
}
