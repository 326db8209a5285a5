//! Where a stream is read from when a job starts without a checkpoint, in the words of Flink's Kafka connector. Invariant: a mode comes
//! with what it needs, and nothing is given that its mode does not use.

use std::collections::BTreeMap;

use thalweg_engine::error::{Error, Result};
use thalweg_engine::ids::{Offset, Partition};
use thalweg_engine::plan::StartAt;
use thalweg_engine::time::{MILLISECOND, Micros};

/// Option of the mode.
pub(crate) const MODE: &str = "scan.startup.mode";
/// Option of the offsets.
pub(crate) const OFFSETS: &str = "scan.startup.specific-offsets";
/// Option of the time.
pub(crate) const MILLIS: &str = "scan.startup.timestamp-millis";

const MODES: [&str; 4] = ["earliest-offset", "latest-offset", "specific-offsets", "timestamp"];

/// What the three options say together; `None` if none is given.
pub(crate) fn startup(mode: Option<&str>, millis: Option<&str>, offsets: Option<&str>) -> Result<Option<StartAt>> {
    let start = match (mode, millis, offsets) {
        (None, None, None) => return Ok(None),
        (Some("earliest-offset"), None, None) => StartAt::Earliest,
        (Some("latest-offset"), None, None) => StartAt::Latest,
        (Some("timestamp"), Some(millis), None) => StartAt::Time(time(millis)?),
        (Some("timestamp"), Some(_), Some(_)) => return Err(unused(OFFSETS, "specific-offsets")),
        (Some("timestamp"), None, _) => return Err(missing("timestamp", MILLIS, "1767225600000")),
        (Some("specific-offsets"), None, Some(text)) => StartAt::Offsets(parse_offsets(text)?),
        (Some("specific-offsets"), _, None) => {
            return Err(missing("specific-offsets", OFFSETS, "partition:0,offset:42;partition:1,offset:300"));
        }
        (Some(mode), ..) if !MODES.contains(&mode) => return Err(unknown(mode)),
        (_, Some(_), _) => return Err(unused(MILLIS, "timestamp")),
        (_, _, Some(_)) => return Err(unused(OFFSETS, "specific-offsets")),
        (Some(mode), None, None) => return Err(unknown(mode)),
    };
    Ok(Some(start))
}

/// Whether a mode is known. Errors: `Invalid`.
pub(crate) fn check_mode(mode: &str) -> Result<()> {
    if MODES.contains(&mode) { Ok(()) } else { Err(unknown(mode)) }
}

fn unknown(mode: &str) -> Error {
    let hint = match mode {
        "group-offsets" => "a job goes on from its own checkpoints; without any it begins at 'earliest-offset' or where you say".to_owned(),
        _ => format!("use one of {}", MODES.join(", ")),
    };
    Error::invalid(format!("'{MODE}': '{mode}' is not known")).hint(hint)
}

fn missing(mode: &str, option: &str, example: &str) -> Error {
    Error::invalid(format!("'{MODE}' = '{mode}' needs '{option}'")).hint(format!("add '{option}' = '{example}'"))
}

fn unused(option: &str, mode: &str) -> Error {
    Error::invalid(format!("'{option}' is given, but '{MODE}' is not '{mode}'")).hint(format!("add '{MODE}' = '{mode}', or leave it out"))
}

/// Milliseconds since 1970 as microseconds. Errors: `Invalid`.
pub(crate) fn time(millis: &str) -> Result<Micros> {
    let micros = millis.trim().parse::<i64>().ok().and_then(|ms| ms.checked_mul(MILLISECOND));
    micros.ok_or_else(|| {
        Error::invalid(format!("'{MILLIS}': '{millis}' is no time")).hint("write milliseconds since 1970-01-01, such as 1767225600000")
    })
}

/// `partition:0,offset:42;partition:1,offset:300`. Errors: `Invalid`.
pub(crate) fn parse_offsets(text: &str) -> Result<BTreeMap<Partition, Offset>> {
    let wrong = |what: String| Error::invalid(format!("'{OFFSETS}': {what}")).hint("write partition:0,offset:42;partition:1,offset:300");
    let mut offsets = BTreeMap::new();
    for pair in text.split(';').map(str::trim).filter(|p| !p.is_empty()) {
        let number = |part: Option<&str>, key: &str| part?.trim().strip_prefix(key)?.trim().strip_prefix(':')?.trim().parse::<u64>().ok();
        let mut parts = pair.split(',');
        let read = (number(parts.next(), "partition"), number(parts.next(), "offset"), parts.next());
        let (Some(partition), Some(offset), None) = read else { return Err(wrong(format!("'{pair}' is no partition with an offset"))) };
        let partition = Partition::try_from(partition).map_err(|_| wrong(format!("there is no partition {partition}")))?;
        if offsets.insert(partition, offset).is_some() {
            return Err(wrong(format!("partition {partition} is given twice")));
        }
    }
    if offsets.is_empty() { Err(wrong("there is no offset".to_owned())) } else { Ok(offsets) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_comes_with_what_it_needs_and_nothing_else() {
        let told = |mode, millis, offsets| startup(mode, millis, offsets).map_err(|e| e.message().to_owned());
        assert_eq!(told(None, None, None), Ok(None));
        assert_eq!(told(Some("latest-offset"), None, None), Ok(Some(StartAt::Latest)));
        assert_eq!(told(Some("timestamp"), Some("1500"), None), Ok(Some(StartAt::Time(1_500_000))));
        let offsets = StartAt::Offsets(BTreeMap::from([(0, 42), (1, 300)]));
        assert_eq!(told(Some("specific-offsets"), None, Some("partition:0,offset:42; partition:1,offset:300;")), Ok(Some(offsets)));
        for (mode, millis, offsets, part) in [
            (Some("group-offsets"), None, None, "'group-offsets' is not known"),
            (Some("timestamp"), None, None, "needs 'scan.startup.timestamp-millis'"),
            (Some("timestamp"), Some("soon"), None, "'soon' is no time"),
            (Some("timestamp"), Some("9223372036854775807"), None, "is no time"),
            (None, Some("1"), None, "is not 'timestamp'"),
            (Some("earliest-offset"), None, Some("partition:0,offset:1"), "is not 'specific-offsets'"),
            (Some("timestamp"), Some("1"), Some("partition:0,offset:1"), "'scan.startup.specific-offsets' is given, but"),
            (Some("specific-offsets"), Some("1"), Some("partition:0,offset:1"), "'scan.startup.timestamp-millis' is given, but"),
            (Some("specific-offsets"), None, None, "needs 'scan.startup.specific-offsets'"),
            (Some("specific-offsets"), None, Some("partition:0"), "no partition with an offset"),
            (Some("specific-offsets"), None, Some("partition:0,offset:1;partition:0,offset:2"), "twice"),
            (Some("specific-offsets"), None, Some(";"), "there is no offset"),
            (Some("specific-offsets"), None, Some("partition:9999999999,offset:1"), "no partition 9999999999"),
        ] {
            let message = told(mode, millis, offsets).unwrap_err();
            assert!(message.contains(part), "{message}");
        }
    }
}
