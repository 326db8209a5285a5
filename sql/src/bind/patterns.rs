//! Patterns of `LIKE … ESCAPE` and `SIMILAR TO`. Invariant: what is written in place of a pattern fits the same texts; a pattern that is not
//! known when the query is planned is refused where its meaning depends on its letters.
//!
//! ```text
//! x LIKE '10!%%' ESCAPE '!'          x LIKE '10\%%'
//! x SIMILAR TO '(a|b)_%[0-9]+'       REGEXP(x, '(?s)^(?:(?:a|b)..*[0-9]+)$')
//! ```

use std::iter::Peekable;
use std::str::Chars;

use regex::Regex;
use sqlparser::ast::{Expr, UnaryOperator, Value, ValueWithSpan};
use sqlparser::tokenizer::Location;

use super::spelling::call;
use crate::diagnostics::{Problem, Result, start_or};

/// What DataFusion takes for the escape character where none is named.
const BACKSLASH: char = '\\';
const LIKE_HINT: &str = "write LIKE '10!%' ESCAPE '!': before %, _ and itself it stands for that character";
const SIMILAR_HINT: &str = "write the pattern as a literal of % _ | * + ? { } ( ) [ ], or REGEXP(text, pattern)";

/// Names between `[:` and `:]`, and what regular expressions have for them.
const CLASSES: [(&str, &str); 7] = [
    ("ALNUM", "[:alnum:]"),
    ("ALPHA", "[:alpha:]"),
    ("DIGIT", "[:digit:]"),
    ("LOWER", "[:lower:]"),
    ("SPACE", " "),
    ("UPPER", "[:upper:]"),
    ("WHITESPACE", "[:space:]"),
];

/// Writes a pattern as DataFusion knows it. Errors: it is none.
pub(super) fn resolve(expression: &mut Expr, at: Location) -> Result<()> {
    match expression {
        Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } => like(pattern, escape_char, at),
        Expr::SimilarTo { negated, expr, pattern, escape_char } => {
            let at = start_or(&**pattern, at);
            let refused = |why: &str| Problem::new(at, format!("this pattern of SIMILAR TO is not supported: {why}")).hint(SIMILAR_HINT);
            let escape = escape_char.as_ref().map(|e| character(e).ok_or_else(|| refused("ESCAPE names one character"))).transpose()?;
            let Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), span }) = &**pattern else {
                return Err(refused("it is no literal"));
            };
            let inside = similar(text, escape).map_err(refused)?;
            // By itself, so that no parenthesis of it closes the ones around it.
            Regex::new(&inside).map_err(|_| refused("it is no pattern"))?;
            let regex = whole(&inside);
            let fits = call("regexp", vec![Expr::clone(expr), Expr::Value(Value::SingleQuotedString(regex).with_span(*span))]);
            // NOT binds less than what may stand around it.
            let not = |fits| Expr::Nested(Box::new(Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(fits) }));
            *expression = if *negated { not(fits) } else { fits };
            Ok(())
        }
        _ => Ok(()),
    }
}

fn like(pattern: &mut Expr, escape_char: &mut Option<ValueWithSpan>, at: Location) -> Result<()> {
    let Some(escape) = escape_char else { return Ok(()) };
    let at = start_or(&*pattern, at);
    let refused = |why: &str| Problem::new(at, why).hint(LIKE_HINT);
    let escape = character(escape).ok_or_else(|| refused("ESCAPE names one character"))?;
    match pattern {
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) => {
            *text = with_backslash(text, escape).ok_or_else(|| refused("the escape character stands before % and _ and itself"))?;
        }
        _ if escape == BACKSLASH => {}
        _ => return Err(refused("with ESCAPE the pattern is a literal")),
    }
    *escape_char = None;
    Ok(())
}

/// The character that ESCAPE names.
fn character(escape: &ValueWithSpan) -> Option<char> {
    let Value::SingleQuotedString(text) = &escape.value else { return None };
    let mut chars = text.chars();
    chars.next().filter(|_| chars.next().is_none())
}

/// The same pattern with a backslash where `escape` stands; `None` if it stands before anything that needs none.
fn with_backslash(pattern: &str, escape: char) -> Option<String> {
    let mut same = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        let (c, escaped) = match c == escape {
            true => (chars.next().filter(|next| *next == escape || matches!(next, '%' | '_'))?, true),
            false => (c, false),
        };
        if c == BACKSLASH || escaped && matches!(c, '%' | '_') {
            same.push(BACKSLASH);
        }
        same.push(c);
    }
    Some(same)
}

/// A regular expression of whole texts, of one of their parts.
fn whole(inside: &str) -> String {
    format!("(?s)^(?:{inside})$")
}

/// The regular expression of what a pattern of SIMILAR TO fits. Errors: why there is none.
fn similar(pattern: &str, escape: Option<char>) -> Result<String, &'static str> {
    let mut regex = String::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            _ if Some(c) == escape => literal(chars.next().ok_or("it ends with its escape character")?, &mut regex),
            '%' => regex.push_str(".*"),
            '_' => regex.push('.'),
            '(' => regex.push_str("(?:"),
            '|' | '*' | '+' | '?' | '{' | '}' | ')' => regex.push(c),
            '[' => set(&mut chars, escape, &mut regex)?,
            _ => literal(c, &mut regex),
        }
    }
    Ok(regex)
}

/// The rest of `[abc]`, `[^a-z]` or `[[:ALPHA:]]`.
fn set(chars: &mut Peekable<Chars<'_>>, escape: Option<char>, regex: &mut String) -> Result<(), &'static str> {
    regex.push('[');
    if chars.next_if_eq(&'^').is_some() {
        regex.push('^');
    }
    let begin = regex.len();
    loop {
        match chars.next().ok_or("a [ has no ]")? {
            c if Some(c) == escape => literal(chars.next().ok_or("it ends with its escape character")?, regex),
            ']' if regex.len() == begin => return Err("a [ ] is empty"),
            ']' => break,
            '[' => {
                let name: String = chars.by_ref().take_while(|c| *c != ']').collect();
                let name = name.strip_prefix(':').and_then(|n| n.strip_suffix(':')).unwrap_or_default();
                let known = CLASSES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
                regex.push_str(known.ok_or("between [: and :] stands ALPHA, UPPER, LOWER, DIGIT, ALNUM, SPACE or WHITESPACE")?.1);
            }
            '^' => return Err("in [ ] a ^ is the first character"),
            // Regular expressions would take the second set away from the first.
            '-' if chars.peek() == Some(&'-') => return Err("in [ ] no - follows another"),
            '-' => regex.push('-'),
            c => literal(c, regex),
        }
    }
    regex.push(']');
    Ok(())
}

fn literal(c: char, regex: &mut String) {
    regex.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escape_becomes_a_backslash() {
        let same = |pattern, escape| with_backslash(pattern, escape);
        assert_eq!(same("o!_k%", '!').as_deref(), Some("o\\_k%"));
        assert_eq!(same("a!!b!%", '!').as_deref(), Some("a!b\\%"));
        assert_eq!(same("a\\b_", '!').as_deref(), Some("a\\\\b_"));
        assert_eq!(same("a\\_\\\\", '\\').as_deref(), Some("a\\_\\\\"));
        assert_eq!(same("%%__", '%').as_deref(), Some("\\%__"));
        assert_eq!([same("a!b", '!'), same("a!", '!')], [None, None]);
    }

    #[test]
    fn a_pattern_of_similar_to_fits_whole_texts() {
        let fits = |pattern: &str, text: &str| Regex::new(&whole(&similar(pattern, Some('!')).unwrap())).unwrap().is_match(text);
        for (pattern, text) in
            [("a%", "a\nb"), ("a|bc", "bc"), ("(a|b)_[0-9]+", "bx17"), ("a{2,3}", "aaa"), ("a.c", "a.c"), ("[^a-c]x", "dx"), ("!%!_", "%_")]
        {
            assert!(fits(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("a", "ba"), ("a|bc", "abc"), ("a.c", "abc"), ("a_", "a"), ("[^a-c]x", "bx"), ("a{2}", "a"), ("^a$", "a"), ("[a&&b]", "^")]
        {
            assert!(!fits(pattern, text), "{pattern} {text}");
        }
        assert!(fits("[+-!-]", ",") && fits("[a!--z]+", "-z") && fits("[a-]", "-"));
        assert!(fits("[[:ALPHA:]_]+", "Ab_") && fits("[!]!^]+", "]^") && fits("[a&&b]", "&"));
    }

    #[test]
    fn what_is_no_pattern_says_why() {
        let why = |pattern| similar(pattern, Some('!')).unwrap_err();
        assert_eq!(why("a["), "a [ has no ]");
        assert_eq!([why("[]"), why("[^]]")], ["a [ ] is empty"; 2]);
        assert_eq!(why("a!"), "it ends with its escape character");
        assert_eq!(why("[a^b]"), "in [ ] a ^ is the first character");
        assert_eq!([why("[a--z]"), why("[a-z--m]")], ["in [ ] no - follows another"; 2]);
        assert!(why("[[:XX:]]").contains("ALPHA"));
        for pattern in ["(", "a)|(b", "(?i)a", "*", "a{2"] {
            assert!(similar(pattern, None).is_ok_and(|regex| Regex::new(&regex).is_err()), "{pattern}");
        }
    }
}
