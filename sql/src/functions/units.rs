//! Units of time, added and counted. Invariant: a month after a time is the same day of the next month, or its last one where that is
//! shorter; as many units as were added are counted.

use std::fmt::Display;

use arrow::error::ArrowError;
use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveTime, Utc};
use datafusion::common::{Result, ScalarValue, plan_err};
use thalweg_engine::time::{DAY, MILLISECOND, Micros, SECOND};

/// The first microsecond of the year 1, and the first after the year 9999.
pub(super) const TIMES: std::ops::Range<Micros> = -62_135_596_800 * SECOND..253_402_300_800 * SECOND;

/// A unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// So many microseconds, always.
    Fixed(Micros),
    /// So many months.
    Months(i64),
}

const WEEK: Unit = Unit::Fixed(7 * DAY);

/// Every unit by its name.
const UNITS: [(&str, Unit); 8] = [
    ("DAY", Unit::Fixed(DAY)),
    ("HOUR", Unit::Fixed(3_600 * SECOND)),
    ("MINUTE", Unit::Fixed(60 * SECOND)),
    ("MONTH", Unit::Months(1)),
    ("QUARTER", Unit::Months(3)),
    ("SECOND", Unit::Fixed(SECOND)),
    ("WEEK", WEEK),
    ("YEAR", Unit::Months(12)),
];

/// For hints.
pub(crate) const UNIT_NAMES: &str = "units are SECOND, MINUTE, HOUR, DAY, WEEK, MONTH, QUARTER and YEAR";

impl Unit {
    /// The unit of a name, in any case.
    pub(crate) fn named(name: &str) -> Option<Self> {
        UNITS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, unit)| *unit)
    }

    /// The unit that an argument names; binding has seen to it that it does.
    pub(super) fn of(argument: Option<&ScalarValue>) -> Result<Self> {
        match argument.and_then(|a| a.try_as_str().flatten()).and_then(Self::named) {
            Some(unit) => Ok(unit),
            None => plan_err!("this is no unit of time\nhint: {UNIT_NAMES}"),
        }
    }

    /// Whether it is made of whole days.
    pub(super) fn is_of_days(self) -> bool {
        match self {
            Self::Fixed(length) => length % DAY == 0,
            Self::Months(_) => true,
        }
    }

    /// The time `count` units after another; `None` if it is outside of the years 1 to 9999.
    pub(super) fn after(self, time: Micros, count: i64) -> Option<Micros> {
        let moved = match self {
            Self::Fixed(length) => time.checked_add(count.checked_mul(length)?)?,
            Self::Months(months) => moved(DateTime::from_timestamp_micros(time)?, count.checked_mul(months)?)?.timestamp_micros(),
        };
        TIMES.contains(&moved).then_some(moved)
    }

    /// The first time of the unit that `time` lies in; weeks begin on Monday. `None` if it is farther away than dates go.
    pub(super) fn begin(self, time: Micros) -> Option<Micros> {
        match self {
            // 1970 began on a Thursday.
            WEEK => time.checked_sub(time.checked_add(3 * DAY)?.rem_euclid(7 * DAY)),
            Self::Fixed(length) => time.checked_sub(time.rem_euclid(length)),
            Self::Months(months) => {
                let date = DateTime::from_timestamp_micros(time)?;
                let month = i64::from(date.month0()) / months * months + 1;
                let first = NaiveDate::from_ymd_opt(date.year(), u32::try_from(month).ok()?, 1)?;
                Some(first.and_time(NaiveTime::MIN).and_utc().timestamp_micros())
            }
        }
    }

    /// How many whole units lie between two times cut to milliseconds, less than 0 if `to` is the earlier one. `None` if one of them is
    /// farther away than dates go.
    pub(super) fn between(self, from: Micros, to: Micros) -> Option<i64> {
        let (from, to) = (milliseconds(from), milliseconds(to));
        match self {
            Self::Fixed(length) => Some(to.checked_sub(from)? / length),
            Self::Months(_) if to < from => Some(-self.between(to, from)?),
            Self::Months(months) => {
                let (from, to) = (DateTime::from_timestamp_micros(from)?, DateTime::from_timestamp_micros(to)?);
                let begun = 12 * i64::from(to.year() - from.year()) + i64::from(to.month()) - i64::from(from.month());
                let whole = begun - i64::from(moved(from, begun)? > to);
                Some(whole / months)
            }
        }
    }
}

/// What a function says that is asked for a time which there is not.
pub(super) fn no_time(number: &dyn Display) -> ArrowError {
    ArrowError::ComputeError(format!("{number} is no time of the years 1 to 9999"))
}

fn moved(time: DateTime<Utc>, months: i64) -> Option<DateTime<Utc>> {
    let by = Months::new(u32::try_from(months.unsigned_abs()).ok()?);
    if months < 0 { time.checked_sub_months(by) } else { time.checked_add_months(by) }
}

fn milliseconds(time: Micros) -> Micros {
    time.saturating_sub(time.rem_euclid(MILLISECOND))
}

#[cfg(test)]
mod tests {
    use thalweg_engine::time::{format, parse};

    use super::*;

    fn at(text: &str) -> Micros {
        parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn months_end_with_their_last_day() {
        let month = |from: &str, n| format(Unit::Months(1).after(at(from), n).unwrap());
        assert_eq!(month("2024-01-31 12:30:00", 1), "2024-02-29T12:30:00Z");
        assert_eq!(month("2023-01-31 00:00:00", 1), "2023-02-28T00:00:00Z");
        assert_eq!(month("2024-03-31 00:00:00", -1), "2024-02-29T00:00:00Z");
        assert_eq!(month("2024-02-29 00:00:00", 12), "2025-02-28T00:00:00Z");
        assert_eq!(month("2024-02-29 00:00:00", 1), "2024-03-29T00:00:00Z");
    }

    #[test]
    fn as_many_units_as_were_added_are_counted() {
        for from in ["2024-01-31 23:59:59.999", "2024-02-29 00:00:00", "2023-12-30 10:00:00", "1969-12-31 23:00:00", "2000-03-01 00:00:00"]
        {
            for (name, unit) in UNITS {
                for n in [-49, -13, -12, -3, -2, -1, 0, 1, 2, 3, 11, 12, 13, 48] {
                    let to = unit.after(at(from), n).unwrap();
                    assert_eq!(unit.between(at(from), to), Some(n), "{n} {name} from {from}");
                    assert_eq!(unit.between(to, at(from)), Some(-n), "{n} {name} to {from}");
                }
            }
        }
    }

    #[test]
    fn units_that_are_not_whole_do_not_count() {
        let months = |from: &str, to: &str| Unit::Months(1).between(at(from), at(to)).unwrap();
        assert_eq!(months("2024-01-31 00:00:00", "2024-02-28 23:59:59.999"), 0);
        assert_eq!(months("2024-01-31 00:00:00", "2024-02-29 00:00:00"), 1);
        assert_eq!(months("2024-01-31 10:00:00", "2024-02-29 09:59:59.999"), 0);
        assert_eq!(months("2024-02-15 08:00:00", "2024-03-15 07:00:00"), 0);
        assert_eq!(months("2024-03-15 10:00:00", "2024-02-15 08:00:00"), -1);
        let seconds = |from: &str, to: &str| Unit::Fixed(SECOND).between(at(from), at(to)).unwrap();
        assert_eq!(seconds("1970-01-01 00:00:00.000900", "1970-01-01 00:00:01.000100"), 1, "both are cut to milliseconds");
        assert_eq!(seconds("1970-01-01 00:00:00.500", "1970-01-01 00:00:01.499"), 0);
    }

    #[test]
    fn units_begin_before_their_times() {
        let begin = |unit: &str, time: &str| format(Unit::named(unit).unwrap().begin(at(time)).unwrap());
        assert_eq!(begin("SECOND", "1969-12-31 23:59:59.999001"), "1969-12-31T23:59:59Z");
        assert_eq!(begin("WEEK", "1970-01-01 00:00:00"), "1969-12-29T00:00:00Z");
        assert_eq!(begin("WEEK", "2024-03-03 23:59:59"), "2024-02-26T00:00:00Z");
        assert_eq!(begin("WEEK", "2024-03-04 00:00:00"), "2024-03-04T00:00:00Z");
        let last = [("HOUR", "12-31T23"), ("DAY", "12-31T00"), ("MONTH", "12-01T00"), ("QUARTER", "10-01T00"), ("YEAR", "01-01T00")];
        for (unit, begun) in last {
            for year in ["0001", "1600", "2024", "9999"] {
                assert_eq!(begin(unit, &format!("{year}-12-31 23:59:59.999999")), format!("{year}-{begun}:00:00Z"));
            }
        }
        assert_eq!(Unit::Months(1).begin(i64::MAX), None);
        assert_eq!(WEEK.begin(i64::MIN), None);
    }

    #[test]
    fn what_is_out_of_range_is_none() {
        assert_eq!(Unit::Fixed(SECOND).after(0, i64::MAX), None);
        assert_eq!(Unit::Months(12).after(0, 8_030), None);
        assert_eq!(Unit::Months(12).after(0, -1_970), None);
        for n in [i64::MIN, i64::MAX, i64::from(u32::MAX)] {
            assert_eq!(Unit::Months(3).after(0, n), None, "{n}");
        }
        assert_eq!(Unit::Months(1).between(i64::MIN, i64::MAX), None);
        assert_eq!(Unit::Fixed(SECOND).between(i64::MIN, i64::MAX), None);
        assert!(UNITS.is_sorted_by_key(|(name, _)| name));
    }
}
