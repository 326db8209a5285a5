//! Escapes of strings. Invariant: what is emitted is valid UTF-8; a surrogate without its partner is an error.

use super::fault::{Fault, Syntax};
use super::scan::Text;

/// Hands the text without escapes to `emit`, piece by piece.
pub(super) fn unescape(text: Text<'_>, mut emit: impl FnMut(&[u8])) -> Result<(), Fault> {
    let mut rest = text.raw;
    while let Some(n) = memchr::memchr(b'\\', rest) {
        emit(&rest[..n]);
        let at = (text.start + (text.raw.len() - rest.len()) + n) as u32;
        let broken = || Fault::Broken { at, expected: Syntax::Escape };
        let tail = &rest[n + 1..];
        let plain: &[u8] = match tail.first().ok_or_else(broken)? {
            b'"' => b"\"",
            b'\\' => b"\\",
            b'/' => b"/",
            b'b' => b"\x08",
            b'f' => b"\x0c",
            b'n' => b"\n",
            b'r' => b"\r",
            b't' => b"\t",
            b'u' => {
                let (c, used) = unicode(&tail[1..]).ok_or_else(broken)?;
                emit(c.encode_utf8(&mut [0; 4]).as_bytes());
                rest = &tail[1 + used..];
                continue;
            }
            _ => return Err(broken()),
        };
        emit(plain);
        rest = &tail[1..];
    }
    emit(rest);
    Ok(())
}

/// The character after `\u`, and how many bytes it took: 4, or 10 for a surrogate pair.
fn unicode(text: &[u8]) -> Option<(char, usize)> {
    let high = hex(text)?;
    if !(0xd800..0xdc00).contains(&high) {
        return char::from_u32(high).map(|c| (c, 4));
    }
    let low = hex(text[4..].strip_prefix(b"\\u")?)?;
    let code = (0xdc00..0xe000).contains(&low).then(|| 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))?;
    char::from_u32(code).map(|c| (c, 10))
}

fn hex(text: &[u8]) -> Option<u32> {
    text.get(..4)?.iter().try_fold(0, |n, &b| Some(n * 16 + char::from(b).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(raw: &str) -> Option<String> {
        let mut out = Vec::new();
        unescape(Text { raw: raw.as_bytes(), start: 0, escaped: true }, |piece| out.extend_from_slice(piece)).ok()?;
        String::from_utf8(out).ok()
    }

    #[test]
    fn escapes_agree_with_serde_json() {
        for raw in [
            r"a\nb",
            r#"\"\\\/\b\f\n\r\t"#,
            r"\u00e4\u20AC",
            r"\ud83d\ude00!",
            r"\ud83d",
            r"\ud83d\u0041",
            r"\ude00",
            r"\u12",
            r"\x",
            r"\u+123",
            r"\",
        ] {
            assert_eq!(plain(raw), serde_json::from_str(&format!("\"{raw}\"")).ok(), "{raw}");
        }
    }
}
