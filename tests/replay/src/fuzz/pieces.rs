//! Tokens of a text, for changing it. Invariant: the tokens of a text, one after the other, are the text.

use std::ops::Range;

/// Cuts a text into words, numbers, quoted texts, blanks and single characters. It need not be SQL.
pub fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word = |c: char| c.is_alphanumeric() || c == '_';
        let length = match first {
            c if word(c) => rest.find(|c| !word(c)),
            c if c.is_whitespace() => rest.find(|c: char| !c.is_whitespace()),
            quote @ ('\'' | '"' | '`') => rest[1..].find(quote).map(|end| end + 2),
            c => Some(c.len_utf8()),
        };
        let (token, after) = rest.split_at(length.unwrap_or(rest.len()));
        tokens.push(token);
        rest = after;
    }
    tokens
}

/// From a token `(` to the one that closes it; `None` if it is not `(`, or nothing does.
pub fn group(tokens: &[&str], open: usize) -> Option<Range<usize>> {
    let mut depth = 0_usize;
    for (i, token) in tokens.iter().enumerate().skip(open) {
        match *token {
            "(" => depth += 1,
            ")" => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return (i > open).then_some(open..i + 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_the_text() {
        let text = "SELECT a1, 'it''s', \"x y\" FROM t -- é\n WHERE x >= 1.5 AND 'open";
        assert_eq!(tokens(text).concat(), text);
        assert_eq!(tokens("f(1,(b))"), ["f", "(", "1", ",", "(", "b", ")", ")"]);
        let all = tokens("f(1,(b)) (");
        assert_eq!((group(&all, 1), group(&all, 4), group(&all, 0), group(&all, 9)), (Some(1..8), Some(4..7), None, None));
    }
}
