//! A request body into payloads. Invariant: payloads are slices of the body, so what is stored is byte for byte what was
//! sent; a body that claims to be JSON is checked as a whole before the first of them is handed out.
//!
//! ```text
//! claims JSON or begins like it:   value            one record, or one an element if it is an array
//!                                  value \n value   one record a line
//! everything else:                 one record
//! ```

use serde::de::IgnoredAny;
use thalweg_engine::batch::ContentType;
use thalweg_engine::error::{Error, Result};

/// Splits a body. Errors: `Invalid` if it is empty, or claims to be JSON and is not: names line and column.
pub(super) fn split<'a>(media_type: Option<&str>, body: &'a [u8]) -> Result<(ContentType, Vec<&'a [u8]>)> {
    let claimed = media_type.map_or(ContentType::Unknown, ContentType::from_media_type);
    let (trimmed, skipped) = trim(body);
    if trimmed.is_empty() {
        return Err(Error::invalid("the body is empty").hint("send a JSON object, a JSON array or lines of JSON"));
    }
    let split = match claimed {
        ContentType::Json if is_lines(media_type) => split_lines(body),
        ContentType::Json => split_json(body, trimmed, skipped),
        // Not said, or not known: JSON if it looks like it and is, else whatever the table takes it for.
        ContentType::Unknown if matches!(trimmed[0], b'{' | b'[') => match split_json(body, trimmed, skipped) {
            Ok(payloads) => return non_empty(ContentType::Json, payloads),
            Err(_) => Ok(vec![body]),
        },
        _ => Ok(vec![body]),
    };
    non_empty(claimed, split?)
}

fn non_empty(content_type: ContentType, payloads: Vec<&[u8]>) -> Result<(ContentType, Vec<&[u8]>)> {
    if payloads.is_empty() {
        return Err(Error::invalid("the body holds no record").hint("send at least one element"));
    }
    Ok((content_type, payloads))
}

fn is_lines(media_type: Option<&str>) -> bool {
    media_type.is_some_and(|t| t.to_ascii_lowercase().contains("ndjson") || t.to_ascii_lowercase().contains("jsonl"))
}

fn split_json<'a>(body: &'a [u8], trimmed: &'a [u8], skipped: usize) -> Result<Vec<&'a [u8]>> {
    check_text(body)?;
    let mut values = serde_json::Deserializer::from_slice(trimmed).into_iter::<IgnoredAny>();
    match values.next() {
        Some(Ok(_)) => {}
        Some(Err(e)) => return Err(not_json(body, skipped, &e)),
        None => return Ok(Vec::new()),
    }
    let end = values.byte_offset();
    let (rest, _) = trim(&trimmed[end..]);
    if !rest.is_empty() {
        return split_lines(body);
    }
    if trimmed[0] == b'[' { Ok(split_array(&trimmed[1..end - 1])) } else { Ok(vec![&trimmed[..end]]) }
}

/// The elements between the brackets of a well-formed array.
fn split_array(inside: &[u8]) -> Vec<&[u8]> {
    let (mut elements, mut start, mut depth) = (Vec::new(), 0, 0usize);
    let (mut in_string, mut escaped) = (false, false);
    for (at, &byte) in inside.iter().enumerate() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = byte == b'\\' && !escaped;
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            b',' if depth == 0 => {
                elements.push(trim(&inside[start..at]).0);
                start = at + 1;
            }
            _ => {}
        }
    }
    let (last, _) = trim(&inside[start..]);
    if !last.is_empty() {
        elements.push(last);
    }
    elements
}

/// One value a line; empty lines are left out.
fn split_lines(body: &[u8]) -> Result<Vec<&[u8]>> {
    check_text(body)?;
    let mut payloads = Vec::new();
    for (line, number) in body.split(|&b| b == b'\n').zip(1..) {
        let (value, skipped) = trim(line);
        if value.is_empty() {
            continue;
        }
        serde_json::from_slice::<IgnoredAny>(value).map_err(|e| bad_json(number, skipped + e.column(), &e))?;
        payloads.push(value);
    }
    Ok(payloads)
}

fn check_text(body: &[u8]) -> Result<()> {
    let at = |e: std::str::Utf8Error| Error::invalid(format!("the body is not UTF-8 at byte {}", e.valid_up_to()));
    std::str::from_utf8(body).map(drop).map_err(at)
}

/// Line and column as the sender counts them, including what was trimmed.
fn not_json(body: &[u8], skipped: usize, e: &serde_json::Error) -> Error {
    let before = &body[..skipped];
    let lines = before.iter().filter(|&&b| b == b'\n').count();
    let column = before.iter().rev().take_while(|&&b| b != b'\n').count();
    bad_json(lines + e.line(), if e.line() == 1 { column + e.column() } else { e.column() }, e)
}

fn bad_json(line: usize, column: usize, e: &serde_json::Error) -> Error {
    let text = e.to_string();
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    Error::invalid(format!("the body is not JSON at line {line}, column {column}: {what}"))
        .hint("nothing was stored; correct it and send all again")
}

/// Without JSON's white space at both ends, and how many bytes of it came first.
fn trim(bytes: &[u8]) -> (&[u8], usize) {
    let is_space = |b: &u8| matches!(b, b' ' | b'\t' | b'\r' | b'\n');
    let start = bytes.iter().position(|b| !is_space(b)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|b| !is_space(b)).map_or(start, |at| at + 1);
    (&bytes[start..end], start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_fall_into_their_records() {
        let json = Some("application/json; charset=utf-8");
        let table: &[(Option<&str>, &str, ContentType, &[&str])] = &[
            (json, r#"{"a":1}"#, ContentType::Json, &[r#"{"a":1}"#]),
            (json, " {\n \"a\" : [1, 2]\n}\n", ContentType::Json, &["{\n \"a\" : [1, 2]\n}"]),
            (json, r#"[{"a":1}, {"b":"],{\"\\"} ,3]"#, ContentType::Json, &[r#"{"a":1}"#, r#"{"b":"],{\"\\"}"#, "3"]),
            (json, "{\"a\":1}\r\n\r\n[1,2]\n", ContentType::Json, &[r#"{"a":1}"#, "[1,2]"]),
            (Some("application/x-ndjson"), "1\n2", ContentType::Json, &["1", "2"]),
            (Some("application/jsonl"), "[1,2]", ContentType::Json, &["[1,2]"]),
            (None, "[1,2]", ContentType::Json, &["1", "2"]),
            (Some("application/x-www-form-urlencoded"), r#"{"a":1}"#, ContentType::Json, &[r#"{"a":1}"#]),
            (None, "{broken", ContentType::Unknown, &["{broken"]),
            (None, "a=1\nb=2", ContentType::Unknown, &["a=1\nb=2"]),
            (Some("text/csv"), "1,2\n3,4\n", ContentType::Csv, &["1,2\n3,4\n"]),
            (Some("application/octet-stream"), "[1,2]", ContentType::Binary, &["[1,2]"]),
        ];
        for (media_type, body, content_type, records) in table {
            let (got_type, got) = split(*media_type, body.as_bytes()).unwrap();
            let got: Vec<&str> = got.iter().map(|r| std::str::from_utf8(r).unwrap()).collect();
            assert_eq!((got_type, got.as_slice()), (*content_type, *records), "{body:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let json = Some("application/json");
        for (media_type, body, said) in [
            (json, &b" "[..], "the body is empty"),
            (json, b"[]", "the body holds no record"),
            (json, b"\n {\"a\":}", "line 2, column 7"),
            (json, b"{\"a\":1}\n{\"a\"\n{\"a\":3}", "line 2, column 4"),
            (json, b"{\"a\":\n1,}", "line 2, column 3"),
            (Some("application/x-ndjson"), b"1\n\n nul\n", "line 3"),
            (json, b"{\"a\":\"\xff\"}", "not UTF-8 at byte 6"),
            (json, b"[1,2", "line 1"),
        ] {
            let error = split(media_type, body).unwrap_err();
            assert!(error.message().contains(said), "{error}");
        }
    }

    #[test]
    fn deep_nesting_is_no_recursion() {
        let deep = "[".repeat(200_000);
        assert!(split(Some("application/json"), deep.as_bytes()).is_err());
        let closed = format!("{deep}{}", "]".repeat(200_000));
        assert_eq!(split(Some("application/json"), closed.as_bytes()).unwrap().1.len(), 1);
    }
}
