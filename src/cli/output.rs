//! What commands print. Invariant: results go to standard output, everything else to standard error, so that output can be piped.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::json::LineDelimitedWriter;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow::util::pretty::pretty_format_batches;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use thalweg_engine::error::{Error, Result};
use thalweg_engine::json;

use crate::csv::without_formulas;

/// How rows are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people.
    Table,
    /// One JSON object a line.
    Json,
    /// Comma-separated, with a header; texts that begin with = + - or @ get a ' before them, so that no spreadsheet runs them.
    Csv,
}

/// Characters of all cells of a row together, as far as a terminal is wide; each gets its share.
const ROW_CHARACTERS: usize = 160;
/// Characters that a cell may have in any case: a time and a number fit.
const CELL_CHARACTERS_MIN: usize = 32;

/// Prints lines as they come. A closed pipe is the reader's way to say that it has seen enough.
pub fn lines<T: Display>(lines: impl IntoIterator<Item = T>) {
    let mut out = std::io::stdout().lock();
    let _ = lines.into_iter().try_for_each(|line| writeln!(out, "{line}"));
}

/// Prints JSON objects as a table with the given columns.
pub fn table(rows: &[Value], columns: &[&str]) {
    let cell = |row: &Value, name: &str| match &row[name] {
        Value::Null => String::new(),
        Value::String(s) => cut(s, columns.len()),
        other => other.to_string(),
    };
    let cells: Vec<Vec<String>> = rows.iter().map(|r| columns.iter().map(|c| cell(r, c)).collect()).collect();
    let width = |i: usize| cells.iter().map(|r| r[i].chars().count()).chain([columns[i].len()]).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let line = |values: Vec<&str>| {
        let padded: Vec<String> = values.iter().zip(&widths).map(|(v, &w)| format!("{v:<w$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let header = std::iter::once(columns.to_vec());
    let rows = cells.iter().map(|row| row.iter().map(String::as_str).collect::<Vec<&str>>());
    lines(header.chain(rows).map(line));
}

/// Prints batches of one result. Errors: `Internal` if standard output is closed.
pub fn batches(rows: &[RecordBatch], format: Format) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let wrote = match format {
        Format::Table => {
            let rows = rows.iter().map(for_terminal).collect::<Result<Vec<_>>>()?;
            writeln!(out, "{}", pretty_format_batches(&rows)?)
        }
        Format::Json => {
            let mut writer: LineDelimitedWriter<_> = json::builder().build(&mut out);
            rows.iter().try_for_each(|b| writer.write(b))?;
            writer.finish()?;
            Ok(())
        }
        Format::Csv => {
            let mut writer = arrow::csv::WriterBuilder::new().with_header(true).build(&mut out);
            rows.iter().try_for_each(|b| Ok::<_, Error>(writer.write(&without_formulas(b)?)?))?;
            Ok(())
        }
    };
    wrote.and_then(|()| out.flush()).map_err(|e| Error::internal(format!("standard output: {e}")))
}

/// The same rows as texts, wide ones cut.
fn for_terminal(rows: &RecordBatch) -> Result<RecordBatch> {
    let options = FormatOptions::default();
    let columns = rows.columns().iter().map(|column| {
        let formatter = ArrayFormatter::try_new(column.as_ref(), &options)?;
        let text =
            |i: usize| Ok(column.is_valid(i).then(|| formatter.value(i).try_to_string()).transpose()?.map(|t| cut(&t, rows.num_columns())));
        let texts = (0..rows.num_rows()).map(text).collect::<Result<StringArray>>()?;
        Ok(Arc::new(texts) as ArrayRef)
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let fields: Vec<Field> = rows.schema().fields().iter().map(|f| Field::new(f.name(), DataType::Utf8, true)).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// A text as one of `columns` cells of a row; lines that are too wide end with `…`.
fn cut(text: &str, columns: usize) -> String {
    let width = (ROW_CHARACTERS / columns.max(1)).max(CELL_CHARACTERS_MIN);
    let line = |line: &str| match line.char_indices().nth(width) {
        None => line.to_owned(),
        Some(_) => format!("{}…", line.chars().take(width - 1).collect::<String>()),
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
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

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray, Int64Array};

    use super::*;

    #[test]
    fn wide_cells_are_cut_to_their_share_and_numbers_are_not() {
        assert_eq!(cut(&"x".repeat(80), 2), "x".repeat(80));
        assert_eq!(cut(&"ä".repeat(81), 2), format!("{}…", "ä".repeat(79)));
        assert_eq!(cut(&format!("a\n{}", "x".repeat(40)), 9), format!("a\n{}…", "x".repeat(31)));
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("long ".repeat(100)), None]));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![i64::MIN, 1]));
        let shown = for_terminal(&RecordBatch::try_from_iter([("t", texts), ("n", numbers)]).unwrap()).unwrap();
        assert!(shown.column(0).as_string::<i32>().value(0).ends_with('…') && shown.column(0).is_null(1));
        assert_eq!(shown.column(1).as_string::<i32>().value(0), i64::MIN.to_string());
    }
}
