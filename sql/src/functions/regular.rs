//! Regular expressions of functions. Invariant: a literal that is no pattern is refused before anything runs, and one that is a pattern is
//! compiled once and not with every batch.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::common::{Result, exec_datafusion_err, internal_err, plan_datafusion_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::simplify::ExprSimplifyResult;
use datafusion::logical_expr::{Expr, ReturnFieldArgs, ScalarUDF};
use regex::Regex;

use super::arguments::literal;

/// Which argument of a function is the pattern.
const PATTERN: usize = 1;

/// A pattern that is told from others by its text.
#[derive(Debug, Clone)]
pub(super) struct Pattern(Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.as_str().hash(state);
    }
}

/// Refuses a literal that is no pattern.
pub(super) fn check(args: &ReturnFieldArgs<'_>, function: &str) -> Result<()> {
    let Some(pattern) = literal(args, PATTERN).and_then(|p| p.try_as_str().flatten()) else { return Ok(()) };
    let hint = "hint: patterns are without look-around and back references";
    compiled(pattern).map(drop).map_err(|why| plan_datafusion_err!("function '{function}': {why}\n{hint}"))
}

/// A call with the function that `with` makes for a pattern that is a literal, unless it was made before.
pub(super) fn simplified(known: Option<&Pattern>, args: Vec<Expr>, with: fn(Option<Pattern>) -> ScalarUDF) -> Result<ExprSimplifyResult> {
    let pattern = match (known, args.get(PATTERN)) {
        (None, Some(Expr::Literal(pattern, _))) => pattern.try_as_str().flatten(),
        _ => None,
    };
    match pattern.map(compiled).transpose().map_err(|why| plan_datafusion_err!("{why}"))? {
        Some(regex) => {
            let function = Arc::new(with(Some(Pattern(regex))));
            Ok(ExprSimplifyResult::Simplified(Expr::ScalarFunction(ScalarFunction::new_udf(function, args))))
        }
        None => Ok(ExprSimplifyResult::Original(args)),
    }
}

/// The pattern of one row after the other.
pub(super) struct Patterns<'a>(Option<(&'a str, Regex)>);

impl<'a> Patterns<'a> {
    /// Beginning with the one that is known.
    pub(super) fn new(known: Option<&'a Pattern>) -> Self {
        Self(known.map(|p| (p.0.as_str(), p.0.clone())))
    }

    /// The pattern of a row, compiled if it is not that of the row before. Errors: it is none.
    pub(super) fn get(&mut self, pattern: &'a str) -> Result<&Regex> {
        if !matches!(&self.0, Some((last, _)) if *last == pattern) {
            self.0 = Some((pattern, compiled(pattern).map_err(|why| exec_datafusion_err!("{why}"))?));
        }
        match &self.0 {
            Some((_, regex)) => Ok(regex),
            None => internal_err!("a pattern is gone"),
        }
    }
}

fn compiled(pattern: &str) -> Result<Regex, String> {
    // What is wrong stands in the last line, below the pattern itself.
    let reason = |e: regex::Error| e.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
    Regex::new(pattern).map_err(|e| format!("\"{pattern}\" is no regular expression: {}", reason(e)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_pattern_says_why_in_one_line() {
        assert_eq!(compiled("(").unwrap_err(), "\"(\" is no regular expression: unclosed group");
        assert!(compiled("(?<!a)b").unwrap_err().contains("look-around"));
        assert!(compiled(&"(\\w{1000}){1000}".repeat(9)).unwrap_err().contains("size limit"));
    }

    #[test]
    fn each_row_has_its_own_pattern() {
        let known = Pattern(compiled("a").unwrap());
        let mut patterns = Patterns::new(Some(&known));
        for (pattern, text, is_match) in [("a", "a", true), ("b", "a", false), ("a", "a", true)] {
            assert_eq!(patterns.get(pattern).unwrap().is_match(text), is_match, "{pattern}");
        }
        assert!(patterns.get("(").is_err());
        assert!(patterns.get("a").is_ok());
    }
}
