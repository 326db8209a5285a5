//! Statements as they may be shown. Invariant: the value of an option that holds a secret is not in what is shown; everything
//! else of the text is.

use sqlparser::tokenizer::Token;

use super::offsets::Offsets;
use super::tokens::Tokens;

/// Options whose values are for nobody to see.
const SECRETS: [&str; 1] = ["password"];
/// What stands in their place.
const HIDDEN: &str = "'******'";

/// A statement without the values of its options that hold secrets.
pub fn without_secrets(text: &str) -> String {
    // What cannot be told apart into tokens was never declared.
    let Ok(tokens) = Tokens::new(text) else { return text.to_owned() };
    let offsets = Offsets::of(text);
    let (mut shown, mut rest) = (String::with_capacity(text.len()), 0);
    for three in tokens.all().windows(3) {
        let [key, equals, value] = three else { continue };
        let is_secret = matches!(&key.token, Token::SingleQuotedString(key) if SECRETS.contains(&key.as_str()));
        if is_secret && equals.token == Token::Eq {
            shown.push_str(&text[rest..offsets.offset(value.span.start)]);
            shown.push_str(HIDDEN);
            rest = offsets.offset(value.span.end);
        }
    }
    shown.push_str(&text[rest..]);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_value_of_a_secret_is_left_out() {
        let before = "CREATE TABLE t (ä INT -- 'password' = 'no'\n) WITH ('connector' = 'mqtt', 'password' /* x */ =\n ";
        let with = |password: &str| format!("{before}{password}, 'url' = 'mqtt://h')");
        for password in ["'secret'", "'it''s; a secret'", "'ä\nsecret'", "''"] {
            assert_eq!(without_secrets(&with(password)), with(HIDDEN));
        }
        for plain in ["SELECT 'password' FROM t", "CREATE TABLE t (password STRING) WITH ('username' = 'password')", "an 'open quote", ""] {
            assert_eq!(without_secrets(plain), plain);
        }
    }
}
