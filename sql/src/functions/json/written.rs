//! The text of a part of JSON text. Invariant: numbers keep their digits and members their order, as they were written; only the spaces
//! between them go. What is read has been parsed before: it is JSON.

use serde_json::Value;
use serde_json_path::PathElement;

/// The text of what lies at `path` in `json`; none if nothing does.
pub(super) fn written(json: &str, path: &[PathElement<'_>]) -> Option<String> {
    let mut text = json;
    for element in path {
        let mut parts = Parts::of(text);
        text = match element {
            PathElement::Index(index) => parts.nth(*index)?,
            // Of equal names the last one counts.
            PathElement::Name(name) => parts.filter_map(|part| member(part, name)).last()?,
        };
    }
    Some(compact(text))
}

/// What stands between the commas of an array or object.
struct Parts<'t> {
    rest: &'t str,
}

impl<'t> Parts<'t> {
    /// Of anything else there are none.
    fn of(text: &'t str) -> Self {
        let inside = text.trim_ascii().strip_prefix(['[', '{']).and_then(|rest| rest.strip_suffix([']', '}']));
        Self { rest: inside.unwrap_or_default().trim_ascii() }
    }
}

impl<'t> Iterator for Parts<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        if self.rest.is_empty() {
            return None;
        }
        let end = comma(self.rest.as_bytes());
        let part = self.rest.get(..end)?;
        self.rest = self.rest.get(end + 1..).unwrap_or_default();
        Some(part.trim_ascii())
    }
}

/// The text behind the name of a member, if it is this one.
fn member<'t>(part: &'t str, name: &str) -> Option<&'t str> {
    let (quoted, value) = part.split_at_checked(after_string(part.as_bytes(), 0))?;
    let plain = quoted.get(1..quoted.len().saturating_sub(1))?;
    let same = if plain.contains('\\') { serde_json::from_str::<String>(quoted).is_ok_and(|n| n == name) } else { plain == name };
    if same { value.trim_ascii().strip_prefix(':') } else { None }
}

/// Where the first comma is that no brackets or quotes enclose, or the end.
fn comma(text: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => {
                at = after_string(text, at);
                continue;
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => break,
            _ => {}
        }
        at += 1;
    }
    at
}

/// Behind the string that begins at `start`.
fn after_string(text: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

/// The text without spaces, and strings with no more escapes than they need.
fn compact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.as_bytes().get(at) {
        if byte != b'"' {
            if !byte.is_ascii_whitespace() {
                out.push(char::from(byte));
            }
            at += 1;
            continue;
        }
        let end = after_string(text.as_bytes(), at);
        let string = text.get(at..end).unwrap_or_default();
        if string.contains('\\')
            && let Ok(plain) = serde_json::from_str::<Value>(string)
        {
            out.push_str(&plain.to_string());
        } else {
            out.push_str(string);
        }
        at = end;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str =
        r#" { "z" : [ 1.10 , {"b":1e2, "a" : "x, \"y\" ]"} , [ ] ] , "n\u00e4":12345678901234567890.123, "z2":{ }, "d":1, "d":-0 } "#;

    #[test]
    fn parts_are_as_they_were_written() {
        let at = |path: &[PathElement<'_>]| written(JSON, path);
        let (name, index) = (PathElement::Name, PathElement::Index);
        for (path, want) in [
            (vec![name("z"), index(0)], Some("1.10")),
            (vec![name("z"), index(1)], Some(r#"{"b":1e2,"a":"x, \"y\" ]"}"#)),
            (vec![name("z"), index(1), name("a")], Some(r#""x, \"y\" ]""#)),
            (vec![name("z"), index(2)], Some("[]")),
            (vec![name("z"), index(3)], None),
            (vec![name("z"), index(2), index(0)], None),
            (vec![name("nä")], Some("12345678901234567890.123")),
            (vec![name("z2")], Some("{}")),
            (vec![name("z2"), name("b")], None),
            (vec![name("d")], Some("-0")),
            (vec![name("d"), name("b")], None),
        ] {
            assert_eq!(at(&path).as_deref(), want, "{path:?}");
        }
        assert_eq!(written("[1, 2]", &[]).as_deref(), Some("[1,2]"));
        assert_eq!(written(r#""a\u0062\/c""#, &[]).as_deref(), Some(r#""ab/c""#));
    }
}
