//! `thalweg sql …`: a statement, a file, or interactively. With a server's token it asks the server; without one it reads the lake
//! of a data directory itself. Invariant: rows go to standard output in the asked format, live rows as they come.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use arrow::buffer::Buffer;
use arrow::ipc::reader::StreamDecoder;
use clap::Args;
use futures::TryStreamExt;
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;
use serde_json::Value;
use thalweg_engine::error::{Error, ErrorKind, Result};
use thalweg_sql::{ScriptStatement, Session, SettingChange, Settings, Statement};

use super::client::{Client, error_in};
use super::lint::{self, Dialect};
use super::output::{self, Format};
use super::{Data, Server};
use crate::app::read_lake;

/// Run SQL: a statement, a file, or interactively.
#[derive(Debug, Args)]
pub struct Sql {
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    data: Data,
    /// Run the statements of a file
    #[arg(short, long)]
    file: Option<PathBuf>,
    /// How rows are printed: as a table whose wide cells are cut, or whole as json or csv
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Run nothing: name each construct that another engine would refuse or read differently, with exit code 1 if there is one
    #[arg(long, value_enum, value_name = "ENGINE")]
    lint: Option<Dialect>,
    /// Statements, or with --lint a file; without any they are read from the terminal or from standard input
    statement: Option<String>,
}

enum Target {
    Server(Client),
    Lake(Box<Session>),
}

impl Sql {
    /// Runs what was given, or a prompt.
    pub async fn run(self) -> Result<ExitCode> {
        if let Some(dialect) = self.lint {
            let script = match (&self.statement, &self.file) {
                (Some(given), _) => lint::script(given)?,
                (None, Some(path)) => read(path)?,
                (None, None) => read_input()?,
            };
            return lint::run(dialect, &script, self.format);
        }
        let target = match &self.server.token {
            Some(_) => Target::Server(self.server.client()?),
            None => Target::Lake(Box::new(read_lake(&self.data.config()?)?)),
        };
        let script = match (&self.statement, &self.file) {
            (Some(statement), _) => statement.clone(),
            (None, Some(path)) => read(path)?,
            (None, None) if std::io::stdin().is_terminal() => return prompt(&target, self.format).await,
            (None, None) => read_input()?,
        };
        let mut settings = Settings::default();
        for statement in Session::split(&script)? {
            run(&target, &statement.in_place(), &mut settings, self.format).await?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The text of a file.
pub(super) fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| Error::from(e).context(path.display()))
}

/// The text of standard input.
fn read_input() -> Result<String> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

async fn prompt(target: &Target, format: Format) -> Result<ExitCode> {
    let mut editor = DefaultEditor::new().map_err(|e| Error::internal(e.to_string()))?;
    println!("end statements with ;   quit with Ctrl-D");
    let mut text = String::new();
    let mut settings = Settings::default();
    loop {
        match editor.readline(if text.is_empty() { "thalweg> " } else { "      -> " }) {
            Ok(line) => {
                text.push_str(&line);
                text.push('\n');
            }
            Err(ReadlineError::Interrupted) => text.clear(),
            Err(ReadlineError::Eof) => return Ok(ExitCode::SUCCESS),
            Err(e) => return Err(Error::internal(e.to_string())),
        }
        let is_open = |text: &str| Session::split(text).is_ok_and(|all| all.last().is_some_and(ScriptStatement::is_open));
        if !text.trim_end().ends_with(';') || is_open(&text) {
            continue;
        }
        // A history that cannot be kept is no reason to refuse the statement.
        let _ = editor.add_history_entry(text.trim());
        for statement in Session::split(&text).unwrap_or_else(|e| (eprintln!("error: {e}"), Vec::new()).1) {
            let sql = statement.in_place();
            tokio::select! {
                result = run(target, &sql, &mut settings, format) => if let Err(e) = result { eprintln!("error: {e}") },
                _ = tokio::signal::ctrl_c() => println!("stopped"),
            }
        }
        text.clear();
    }
}

/// Settings are kept here, and go with each statement; a wrong one is refused like any other statement, with its place.
async fn run(target: &Target, statement: &str, settings: &mut Settings, format: Format) -> Result<()> {
    if let Some(change) = SettingChange::of(statement) {
        match settings.apply(&change) {
            Ok(Some(said)) => {
                println!("{said}");
                return Ok(());
            }
            Ok(None) => return output::batches(&[settings.rows()?], format),
            Err(_) => {}
        }
    }
    match target {
        Target::Server(client) => ask(client, statement, settings, format).await,
        Target::Lake(session) => match session.prepare(statement, settings)? {
            Statement::Batch(query) => {
                let (schema, stream) = query.execute().await?;
                let mut rows: Vec<_> = stream.try_collect().await?;
                if rows.is_empty() {
                    rows.push(arrow::array::RecordBatch::new_empty(schema));
                }
                output::batches(&rows, format)
            }
            Statement::Describe { rows } | Statement::List { rows } => output::batches(&[rows], format),
            Statement::Explain { text } => {
                println!("{text}");
                Ok(())
            }
            _ => Err(Error::invalid("without a server only the lake can be read")
                .hint("for streams, tables and jobs start `thalweg serve` and give its token with --token or THALWEG_TOKEN")),
        },
    }
}

/// Prints the server's answer: a message, or Arrow batches as they arrive.
async fn ask(client: &Client, statement: &str, settings: &Settings, format: Format) -> Result<()> {
    let response = client.sql(statement, settings).await?;
    let is_arrow = response.headers().get("content-type").is_some_and(|v| v.as_bytes().starts_with(b"application/vnd.apache.arrow"));
    if !is_arrow {
        let answer: Value = response.json().await.map_err(|e| Error::internal(format!("the answer is not JSON: {e}")))?;
        println!("{}", answer["message"].as_str().unwrap_or_default());
        return Ok(());
    }
    let is_live = response.headers().get("thalweg-rows").is_some_and(|v| v == "live");
    let mut body = response.bytes_stream();
    let mut decoder = StreamDecoder::new();
    let mut rows = Vec::new();
    while let Some(bytes) = body.try_next().await.map_err(|e| Error::unavailable(format!("the answer was cut off: {e}")))? {
        // Where a batch belongs the server puts the error that ended the rows.
        if bytes.starts_with(b"{\"error\"")
            && let Some(error) = serde_json::from_slice(&bytes).ok().and_then(|answer| error_in(&answer, ErrorKind::Invalid))
        {
            return Err(error);
        }
        let mut buffer = Buffer::from(bytes);
        while !buffer.is_empty() {
            let Some(batch) = decoder.decode(&mut buffer)? else { continue };
            if is_live { output::batches(&[batch], format)? } else { rows.push(batch) }
        }
    }
    decoder.finish()?;
    if let (true, Some(schema)) = (rows.is_empty() && !is_live, decoder.schema()) {
        rows.push(arrow::array::RecordBatch::new_empty(schema));
    }
    if rows.is_empty() { Ok(()) } else { output::batches(&rows, format) }
}
