//! `thalweg sql --lint flink`: what another engine would make of a script. Invariant: nothing is run, nobody is asked; findings go to
//! standard output, how many there are to standard error, and the exit code is 1 if there is one.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, UInt64Array};
use clap::ValueEnum;
use thalweg_engine::error::Result;
use thalweg_sql::lint::{Effect, Finding, lint};

use super::output::{self, Format};

/// Engines whose reading of SQL is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Dialect {
    /// Apache Flink, 1.20 and 2.3
    Flink,
}

/// Judges a script and prints the findings.
pub fn run(dialect: Dialect, script: &str, format: Format) -> Result<ExitCode> {
    let findings = match dialect {
        Dialect::Flink => lint(script)?,
    };
    match format {
        Format::Table => findings.iter().for_each(|f| println!("{f}\n")),
        Format::Json | Format::Csv if findings.is_empty() => {}
        Format::Json | Format::Csv => output::batches(&[rows(&findings)?], format)?,
    }
    eprintln!("{}", summary(&findings));
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The text of a file if there is one of that name, else the text itself.
pub fn script(file_or_statements: &str) -> Result<String> {
    match Path::new(file_or_statements) {
        path if path.is_file() => super::sql::read(path),
        _ => Ok(file_or_statements.to_owned()),
    }
}

fn summary(findings: &[Finding]) -> String {
    let count = |effect| findings.iter().filter(|f| f.rule.effect == effect).count();
    match findings {
        [] => "no findings".to_owned(),
        all => format!("{} findings: {} refused, {} read differently", all.len(), count(Effect::Refuses), count(Effect::Differs)),
    }
}

fn rows(findings: &[Finding]) -> Result<RecordBatch> {
    let numbers = |of: fn(&Finding) -> u64| -> ArrayRef { Arc::new(UInt64Array::from_iter_values(findings.iter().map(of))) };
    let texts = |of: fn(&Finding) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(findings.iter().map(of))) };
    Ok(RecordBatch::try_from_iter([
        ("line", numbers(|f| f.line)),
        ("column", numbers(|f| f.column)),
        ("rule", texts(|f| f.rule.name)),
        ("flink", texts(|f| f.rule.effect.name())),
        ("construct", texts(|f| &f.construct)),
        ("why", texts(|f| &f.why)),
        ("hint", texts(|f| &f.hint)),
    ])?)
}
