//! What commands print. Invariant: results go to standard output, everything else to standard error, so that output can be piped.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use thalweg_engine::error::{Error, Result};

/// How rows are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people.
    Table,
    /// One JSON object a line.
    Json,
    /// Comma-separated, with a header.
    Csv,
}

/// Prints JSON objects as a table with the given columns.
pub fn table(rows: &[Value], columns: &[&str]) {
    let cell = |row: &Value, name: &str| match &row[name] {
        Value::Null => String::new(),
        Value::String(s) => s.clone(),
        other => other.to_string(),
    };
    let cells: Vec<Vec<String>> = rows.iter().map(|r| columns.iter().map(|c| cell(r, c)).collect()).collect();
    let width = |i: usize| cells.iter().map(|r| r[i].chars().count()).chain([columns[i].len()]).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let line = |values: Vec<&str>| {
        let padded: Vec<String> = values.iter().zip(&widths).map(|(v, &w)| format!("{v:<w$}")).collect();
        println!("{}", padded.join("  ").trim_end());
    };
    line(columns.to_vec());
    for row in &cells {
        line(row.iter().map(String::as_str).collect());
    }
}

/// Prints batches of one result. Errors: `Internal` if standard output is closed.
pub fn batches(rows: &[RecordBatch], format: Format) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let wrote = match format {
        Format::Table => writeln!(out, "{}", pretty_format_batches(rows)?),
        Format::Json => {
            let mut writer = arrow::json::LineDelimitedWriter::new(&mut out);
            rows.iter().try_for_each(|b| writer.write(b))?;
            writer.finish()?;
            Ok(())
        }
        Format::Csv => {
            let mut writer = arrow::csv::WriterBuilder::new().with_header(true).build(&mut out);
            rows.iter().try_for_each(|b| writer.write(b))?;
            Ok(())
        }
    };
    wrote.and_then(|()| out.flush()).map_err(|e| Error::internal(format!("standard output: {e}")))
}

/// A progress bar over a known amount; silent when standard error is no terminal.
pub fn progress(total: u64, what: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg} {bar:30} {human_pos}/{human_len} {per_sec} {eta}");
    let bar = ProgressBar::new(total).with_message(what.to_owned());
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// A spinner for work of unknown length; silent when standard error is no terminal.
pub fn spinner(what: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let spinner = ProgressBar::new_spinner().with_message(what.to_owned());
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}
