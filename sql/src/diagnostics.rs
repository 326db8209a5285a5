//! What is wrong with a statement, and where. Invariant: an error that leaves this crate says `line:column` of the statement
//! it is about, shows that line with a caret, and keeps its hint.

use datafusion::common::{Column, DataFusionError, SchemaError};
use sqlparser::ast::Spanned;
use sqlparser::parser::ParserError;
use sqlparser::tokenizer::{Location, TokenizerError};
use thalweg_engine::contract::connector::distance;
use thalweg_engine::error::{Error, ErrorKind};

use crate::bind::WINDOW_COLUMNS;

/// Result inside this crate: the statement's text is added when the error leaves it.
pub(crate) type Result<T, E = Problem> = std::result::Result<T, E>;

/// Characters of the offending line shown on either side of the caret.
const SNIPPET_SIDE: usize = 60;
/// Edit distance up to which a name is suggested.
const SUGGEST_DISTANCE_MAX: usize = 3;
/// What stands before a hint in the text of another error.
const HINT: &str = "\nhint: ";

/// An error that may know its place but not yet the text around it.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    kind: ErrorKind,
    at: Option<Location>,
    message: String,
    hint: Option<String>,
}

impl Problem {
    /// Wrong input at a place.
    pub(crate) fn new(at: Location, message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Invalid, at: None, message: message.into(), hint: None }.or_at(at)
    }

    /// What the reader should do.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Another kind than `Invalid`.
    pub(crate) fn kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// The place, unless it is known already.
    pub(crate) fn or_at(mut self, at: Location) -> Self {
        if self.at.is_none() && at.line > 0 {
            self.at = Some(at);
        }
        self
    }

    /// What is wrong.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The error as the caller sees it; `sql` is the statement that the place refers to.
    pub(crate) fn into_error(self, sql: &str) -> Error {
        let at = self.at.unwrap_or_else(|| first(sql));
        let message = match snippet(sql, at) {
            Some(snippet) => format!("{}:{}: {}\n{snippet}", at.line, at.column, self.message),
            None => format!("{}:{}: {}", at.line, at.column, self.message),
        };
        let error = Error::new(self.kind, message);
        match self.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

/// Where a part of the syntax tree begins; line 0 if the parser kept no place for it.
pub(crate) fn start(part: &impl Spanned) -> Location {
    part.span().start
}

/// Where a part of the syntax tree begins, or another place if the parser kept none.
pub(crate) fn start_or(part: &impl Spanned, otherwise: Location) -> Location {
    match start(part) {
        known if known.line > 0 => known,
        _ => otherwise,
    }
}

/// An error of the parser with a way out.
pub(crate) fn refused(at: Location, message: &str, hint: &str) -> ParserError {
    ParserError::ParserError(format!("{message}{HINT}{hint}{at}"))
}

/// `did you mean 'x'?` for the candidate nearest to `wrong`, if one is near.
pub(crate) fn suggestion<'a>(wrong: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let near = |c: &&str| distance(&c.to_lowercase(), &wrong.to_lowercase());
    let nearest = candidates.into_iter().min_by_key(near)?;
    (near(&nearest) <= SUGGEST_DISTANCE_MAX && near(&nearest) < wrong.chars().count()).then(|| format!("did you mean '{nearest}'?"))
}

/// The first character that is not white space.
fn first(sql: &str) -> Location {
    let before = &sql[..sql.len() - sql.trim_start().len()];
    let line = 1 + before.matches('\n').count() as u64;
    let column = 1 + before.rsplit('\n').next().unwrap_or("").chars().count() as u64;
    Location { line, column }
}

/// The line of `at` with a caret below it; None if there is no such line.
pub(crate) fn snippet(sql: &str, at: Location) -> Option<String> {
    let line = sql.split('\n').nth(usize::try_from(at.line.checked_sub(1)?).ok()?)?;
    let column = usize::try_from(at.column.checked_sub(1)?).ok()?;
    let from = column.saturating_sub(SNIPPET_SIDE);
    let shown: String = line
        .chars()
        .skip(from)
        .take(2 * SNIPPET_SIDE)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect::<String>()
        .trim_end()
        .to_owned();
    let margin = format!("{:>4} | ", at.line);
    Some(format!("{margin}{shown}\n{:>width$}", '^', width = margin.len() + column - from + 1))
}

impl From<Error> for Problem {
    fn from(e: Error) -> Self {
        Self { kind: e.kind(), at: None, message: e.message().to_owned(), hint: e.hint_text().map(str::to_owned) }
    }
}

impl From<TokenizerError> for Problem {
    fn from(e: TokenizerError) -> Self {
        Self::new(e.location, lower_first(&e.message)).hint("check quotes: 'text' for text, \"name\" or `name` for names")
    }
}

impl From<ParserError> for Problem {
    fn from(e: ParserError) -> Self {
        let text = match e {
            ParserError::TokenizerError(text) | ParserError::ParserError(text) => text,
            ParserError::RecursionLimitExceeded => "the statement is nested too deeply".to_owned(),
        };
        let (message, at) = split_location(&text);
        let (message, hint) = message
            .split_once(HINT)
            .unwrap_or((message, "check the words before this place: a comma, a quote, a parenthesis or a keyword"));
        let message = message.replace("Expected: ", "expected ").replace(", found: EOF", ", found the end of the statement");
        let message = lower_first(&message.replace(", found: ", ", found "));
        let problem = Self { kind: ErrorKind::Invalid, at: None, message, hint: Some(hint.to_owned()) };
        at.map_or(problem.clone(), |at| problem.or_at(at))
    }
}

/// Takes ` at Line: 3, Column: 7` off the end of a parser message.
fn split_location(text: &str) -> (&str, Option<Location>) {
    let parse = || {
        let (message, place) = text.rsplit_once(" at Line: ")?;
        let (line, column) = place.split_once(", Column: ")?;
        Some((message, Location { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? }))
    };
    parse().map_or((text, None), |(message, at)| (message, Some(at)))
}

impl From<DataFusionError> for Problem {
    fn from(e: DataFusionError) -> Self {
        let (span, told) = e.diagnostic().map_or((None, None), |d| (d.span, Some(d.message.clone())));
        let e = match &e {
            DataFusionError::Collection(all) if !all.is_empty() => all[0].find_root(),
            e => e.find_root(),
        };
        let (message, hint) = match e {
            DataFusionError::SchemaError(schema, _) => schema_problem(schema),
            e if let Some(problem) = known_problem(&e.message()) => problem,
            e => {
                let message = e.message();
                let text = message.lines().next().unwrap_or("the statement cannot be planned");
                let hint = message.lines().find_map(|line| line.strip_prefix("hint: ")).map(str::to_owned);
                (lower_first(told.as_deref().unwrap_or(text)), hint)
            }
        };
        let hint = hint.or_else(|| Some("check names and types: DESCRIBE shows the columns of a table".to_owned()));
        let problem = Self { kind: ErrorKind::Invalid, at: None, message, hint };
        match span {
            Some(span) => problem.or_at(Location { line: span.start.line, column: span.start.column }),
            None => problem,
        }
    }
}

fn schema_problem(error: &SchemaError) -> (String, Option<String>) {
    let shown = |c: &Column| match &c.relation {
        Some(relation) => format!("{}.{}", relation.table(), c.name),
        None => c.name.clone(),
    };
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let names: Vec<&str> = valid_fields.iter().map(|c| c.name.as_str()).collect();
            let hint = suggestion(&field.name, names.iter().copied()).unwrap_or_else(|| format!("columns here: {}", names.join(", ")));
            (format!("column '{}' does not exist", shown(field)), Some(hint))
        }
        SchemaError::AmbiguousReference { field } if WINDOW_COLUMNS.contains(&field.name.as_str()) => {
            let hint = "write the table's alias before it: t.window_start; before a window over windows, give those of the first other names: \
                        SELECT window_start AS first_start, window_time AS ts";
            (format!("column '{}' is there more than once", field.name), Some(hint.to_owned()))
        }
        SchemaError::AmbiguousReference { field } => {
            (format!("column '{}' is in more than one table", field.name), Some("write the table's alias before it: t.column".to_owned()))
        }
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            (format!("column '{name}' appears twice"), Some("give one of them another name with AS".to_owned()))
        }
    }
}

/// Messages of DataFusion that say too much or too little.
fn known_problem(message: &str) -> Option<(String, Option<String>)> {
    let call = ["Function '", "call to '"].into_iter().find_map(|before| message.split_once(before)?.1.split_once('\''));
    let wrong_call = ["signature", "oercion", "coerce", "expects", "requires"].iter().any(|w| message.contains(w));
    let (text, hint) = match call {
        Some((function, _)) if wrong_call => {
            // Ours say what they take; DataFusion adds what it tried. A form that only the parser calls has the name of the function.
            let function = function.trim_start_matches('$');
            let takes = message.split_once(&format!("{function} takes ")).and_then(|(_, takes)| takes.split(". No ").next());
            let hint =
                takes.map_or_else(|| "look at their number and types, and CAST them".to_owned(), |takes| format!("it takes {takes}"));
            return Some((format!("function '{function}' does not take these arguments"), Some(hint)));
        }
        _ if message.contains("must appear in the GROUP BY clause") => {
            ("every column that is not aggregated must be in GROUP BY".to_owned(), "add it to GROUP BY, or aggregate it")
        }
        _ if message.contains("not allowed in the WHERE clause") => {
            ("an aggregate is not possible in WHERE".to_owned(), "write the condition in HAVING")
        }
        _ if message.contains("Cannot coerce arithmetic expression") => (
            "an operator does not take values of these types together".to_owned(),
            "CAST one of them; write the length of an interval itself, INTERVAL '90' MINUTE, or add to a time: TIMESTAMPADD(HOUR, n, ts)",
        ),
        _ if message.contains("non-boolean predicate") => {
            ("the condition of WHERE is neither true nor false".to_owned(), "compare it with something")
        }
        _ => return None,
    };
    Some((text, Some(hint.to_owned())))
}

fn lower_first(text: &str) -> String {
    let mut chars = text.trim_end_matches('.').chars();
    match (chars.next(), chars.clone().next()) {
        (Some(a), Some(b)) if a.is_uppercase() && !b.is_uppercase() => a.to_lowercase().chain(chars).collect(),
        _ => text.trim_end_matches('.').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_its_line_and_a_caret() {
        let sql = "SELECT a\n  FROM t\n ORDER BY a";
        let e = Problem::new(Location { line: 3, column: 2 }, "ORDER BY is not supported").hint("leave it out").into_error(sql);
        assert_eq!(e.message(), "3:2: ORDER BY is not supported\n   3 |  ORDER BY a\n        ^");
        assert_eq!(e.hint_text(), Some("leave it out"));
    }

    #[test]
    fn a_long_line_is_cut_around_the_caret() {
        let sql = format!("SELECT {} x", "a, ".repeat(200));
        let e = Problem::new(Location { line: 1, column: 300 }, "wrong").into_error(&sql);
        let lines: Vec<&str> = e.message().lines().collect();
        assert!(lines[1].chars().count() <= 2 * SNIPPET_SIDE + 7, "{lines:?}");
        assert_eq!(lines[2].find('^'), Some(SNIPPET_SIDE + 7));
    }

    #[test]
    fn types_of_arrow_are_not_shown() {
        let told = "Cannot coerce arithmetic expression Int64 * Interval(MonthDayNano) to valid types";
        let e = Problem::from(DataFusionError::Plan(told.to_owned()));
        assert_eq!(e.message(), "an operator does not take values of these types together");
    }

    #[test]
    fn parser_errors_keep_their_place() {
        let e = Problem::from(ParserError::ParserError("Expected: ), found: EOF at Line: 2, Column: 9".into()));
        assert_eq!((e.message.as_str(), e.at), ("expected ), found the end of the statement", Some(Location { line: 2, column: 9 })));
    }
}
