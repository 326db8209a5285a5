//! `DATE_FORMAT(t, pattern)`: a time as text, by a pattern of Java's letters such as `yyyy-MM-dd HH:mm:ss.SSS`. Invariant: a letter that
//! is not known here is refused, never printed as it stands.

use std::sync::Arc;

use arrow::array::StringViewBuilder;
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::{Result, plan_datafusion_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use thalweg_engine::time::timestamp_type;

use super::arguments::{is_text, result, rows, texts};

/// Letters of a pattern and how often they stand, with chrono's specifier of the same meaning.
const LETTERS: &[(&str, &str)] = &[
    ("D", "%-j"),
    ("DDD", "%j"),
    ("E", "%a"),
    ("EE", "%a"),
    ("EEE", "%a"),
    ("EEEE", "%A"),
    ("H", "%-H"),
    ("HH", "%H"),
    ("M", "%-m"),
    ("MM", "%m"),
    ("MMM", "%b"),
    ("MMMM", "%B"),
    ("SSS", "%3f"),
    ("SSSSSS", "%6f"),
    ("SSSSSSSSS", "%9f"),
    ("a", "%p"),
    ("d", "%-d"),
    ("dd", "%d"),
    ("h", "%-I"),
    ("hh", "%I"),
    ("m", "%-M"),
    ("mm", "%M"),
    ("s", "%-S"),
    ("ss", "%S"),
    ("uuuu", "%Y"),
    ("yy", "%y"),
    ("yyyy", "%Y"),
];

/// The function.
pub(super) fn date_format() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(DateFormat { signature: Signature::user_defined(Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DateFormat {
    signature: Signature,
}

impl ScalarUDFImpl for DateFormat {
    fn name(&self) -> &str {
        "date_format"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [DataType::Timestamp(..) | DataType::Date32 | DataType::Null, pattern] if is_text(pattern) => {
                Ok(vec![timestamp_type(), pattern.clone()])
            }
            _ => plan_err!("date_format takes a time and a pattern"),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        match args.scalar_arguments.get(1).and_then(|p| p.and_then(|p| p.try_as_str())) {
            Some(pattern) => translated(pattern.unwrap_or_default())?,
            None => return plan_err!("the pattern of DATE_FORMAT is to be a literal, such as 'yyyy-MM-dd HH:mm'"),
        };
        Ok(Arc::new(Field::new(self.name(), DataType::Utf8View, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let pattern = texts(&args, 1)?;
        let times = ColumnarValue::values_to_arrays(&args.args[..1])?;
        let format = pattern.at(0).map(translated).transpose()?;
        let options = FormatOptions::new().with_timestamp_tz_format(format.as_deref());
        let shown = ArrayFormatter::try_new(times[0].as_ref(), &options)?;
        let mut values = StringViewBuilder::with_capacity(rows(&args));
        for row in 0..rows(&args) {
            match times[0].is_valid(row) && format.is_some() {
                true => values.append_value(shown.value(row).try_to_string()?),
                false => values.append_null(),
            }
        }
        result(&args, Arc::new(values.finish()))
    }
}

/// A pattern in chrono's letters. Text in quotes stands for itself, and so does what is no letter; two quotes are one.
fn translated(pattern: &str) -> Result<String> {
    let mut out = String::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        let run = rest.len() - rest.trim_start_matches(first).len();
        let taken = if first == '\'' {
            let (text, length) = quoted(rest).ok_or_else(|| plan_datafusion_err!("a quote is open in the pattern \"{pattern}\""))?;
            out.push_str(&text.replace('%', "%%"));
            length
        } else if first.is_ascii_alphabetic() {
            let known = LETTERS.iter().find(|(letters, _)| *letters == &rest[..run]);
            let known = known.ok_or_else(|| plan_datafusion_err!("DATE_FORMAT does not know \"{}\" in \"{pattern}\"", &rest[..run]))?;
            out.push_str(known.1);
            run
        } else {
            out.push_str(&rest[..run].replace('%', "%%"));
            run
        };
        rest = &rest[taken..];
    }
    Ok(out)
}

/// The text that a quote begins, and how much of the pattern it takes; none is a quote itself.
fn quoted(rest: &str) -> Option<(String, usize)> {
    let mut end = 1 + rest[1..].find('\'')?;
    while rest[end + 1..].starts_with('\'') {
        end += 2 + rest[end + 2..].find('\'')?;
    }
    let text = if end == 1 { "'".to_owned() } else { rest[1..end].replace("''", "'") };
    Some((text, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_translated_or_refused() {
        let shown = |pattern: &str| translated(pattern).unwrap();
        assert_eq!(shown("yyyy-MM-dd HH:mm:ss.SSS"), "%Y-%m-%d %H:%M:%S.%3f");
        assert_eq!(shown("d. MMMM yy, h 'o''clock' a"), "%-d. %B %y, %-I o'clock %p");
        assert_eq!(shown("'%Y'''HH%"), "%%Y'%H%%");
        assert_eq!(shown("''HH''"), "'%H'");
        assert_eq!(shown("''''HH"), "'%H");
        assert_eq!(shown(""), "");
        for wrong in ["YYYY", "yyy", "%Y-%m", "'open", "HH'", "SS", "EEEEE"] {
            assert!(translated(wrong).is_err(), "{wrong}");
        }
        assert!(LETTERS.is_sorted());
    }
}
