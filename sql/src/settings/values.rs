//! Values of settings in the types in which they are used. Invariant: a value that was taken can be used; what only together makes sense
//! is checked when it is asked for.

use thalweg_engine::contract::connector::parse_duration;
use thalweg_engine::error::{Error, Result};
use thalweg_engine::ids::Name;
use thalweg_engine::limits::KEY_GROUPS;
use thalweg_engine::time::Micros;

/// One field a setting.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Values {
    pub(super) early_delay: Option<Micros>,
    pub(super) early_enabled: bool,
    pub(super) parallelism: Option<usize>,
    pub(super) pipeline_name: Option<Name>,
    pub(super) state_ttl: Option<Micros>,
    pub(super) state_memory: Option<u64>,
    pub(super) savepoint: Option<String>,
    pub(super) ignore_unclaimed: bool,
    pub(super) startup_mode: Option<String>,
    pub(super) startup_millis: Option<String>,
    pub(super) startup_offsets: Option<String>,
}

/// What the settings say of a job beside its plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobSettings {
    /// The savepoint that it starts from, by name.
    pub savepoint: Option<String>,
    /// Whether state that finds no place in the plan is left behind.
    pub ignore_unclaimed: bool,
    /// Memory that its state may take, in bytes.
    pub state_memory: Option<u64>,
}

/// A length of event time in microseconds; `None` for 0.
pub(super) fn length(text: &str, what: &str) -> Result<Option<Micros>> {
    let hint = format!("write {what}");
    let length = match text {
        "0" => return Ok(None),
        text => parse_duration(text).map_err(|e| e.hint(hint.as_str()))?,
    };
    let micros = i64::try_from(length.as_micros()).map_err(|_| Error::invalid(format!("'{text}' is too long")).hint(hint))?;
    Ok(Some(micros).filter(|m| *m > 0))
}

/// `256 MB`, `1g`, `4096`: as Flink reads sizes, in powers of 1024; nothing is no size.
pub(super) fn size(text: &str) -> Result<Option<u64>> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || Error::invalid(format!("'{text}' is no size of memory")).hint("write a number and a unit, such as 256 MB or 2 GB");
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..split].parse().map_err(|_| wrong())?;
    let shift = match text[split..].trim().to_ascii_lowercase().as_str() {
        "" | "b" | "bytes" => 0,
        "k" | "kb" | "kib" | "kibibytes" => 10,
        "m" | "mb" | "mib" | "mebibytes" => 20,
        "g" | "gb" | "gib" | "gibibytes" => 30,
        "t" | "tb" | "tib" | "tebibytes" => 40,
        _ => return Err(wrong()),
    };
    let bytes = number.checked_mul(1 << shift).filter(|b| *b > 0).ok_or_else(wrong)?;
    Ok(Some(bytes))
}

/// A number of threads.
pub(super) fn parallelism(text: &str) -> Result<usize> {
    let number = text.parse().ok().filter(|n| (1..=KEY_GROUPS).contains(n));
    number.ok_or_else(|| {
        Error::invalid(format!("'{text}' is no number from 1 to {KEY_GROUPS}")).hint("write about as many as the machine has cores")
    })
}

pub(super) fn truth(text: &str) -> Result<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Error::invalid(format!("'{text}' is neither 'true' nor 'false'")).hint("write 'true' or 'false'")),
    }
}

/// Nothing if it is empty.
pub(super) fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_flink_writes_them() {
        let length = |text| length(text, "1 h");
        let micros = |text| length(text).unwrap();
        let second = 1_000_000;
        assert_eq!([micros("1 h"), micros("30 min"), micros("10s")], [Some(3600 * second), Some(1800 * second), Some(10 * second)]);
        assert_eq!([micros("1 d"), micros("0"), micros("0 ms")], [Some(86_400 * second), None, None]);
        for wrong in ["", "1", "-1 h", "h", "1 month", "9999999999999 d", "1.5 h"] {
            assert!(length(wrong).unwrap_err().hint_text().is_some(), "{wrong}");
        }
    }

    #[test]
    fn a_job_has_a_thread_and_not_more_than_groups() {
        assert_eq!([parallelism("1").unwrap(), parallelism("16").unwrap()], [1, 16]);
        for wrong in ["", "0", "-1", "17", "2.0", "two"] {
            assert!(parallelism(wrong).unwrap_err().hint_text().is_some(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_read_as_flink_writes_them() {
        let read = |text| size(text).unwrap();
        assert_eq!([read("256 MB"), read("1g"), read("4096")], [Some(256 << 20), Some(1 << 30), Some(4096)]);
        assert_eq!([read(""), read("7 kib")], [None, Some(7 << 10)]);
        for wrong in ["MB", "1.5 g", "-1", "0", "99999999999 tb", "1 parsec"] {
            assert!(size(wrong).unwrap_err().hint_text().is_some(), "{wrong}");
        }
    }
}
