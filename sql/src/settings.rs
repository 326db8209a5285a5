//! Settings: `SET 'key' = 'value'`. Invariant: every setting is in `SETTINGS`, with a default that its parser takes; what a job is
//! planned with is part of its text, so that a restart plans the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use thalweg_engine::error::{Error, Result};
use thalweg_engine::ids::Name;
use thalweg_engine::plan::StartAt;
use thalweg_engine::time::Micros;

use crate::diagnostics::suggestion;
use crate::parser::{self, Parsed, ScriptStatement};
use crate::tables::startup;
pub use values::JobSettings;
use values::{Values, length, parallelism, size, some, truth};

mod values;

/// One setting.
pub struct Setting {
    /// Its key.
    pub name: &'static str,
    /// Its value if nobody says another.
    pub default: &'static str,
    /// What it does, units included.
    pub about: &'static str,
    /// Reads a value.
    parse: fn(&mut Values, &str) -> Result<()>,
    /// Whether a job is planned with it.
    of: Part,
}

/// What a setting is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The text of a job: whoever plans it again needs it.
    Plan,
    /// Only its first start: what it did then is in the checkpoints.
    Start,
}

/// Every setting, sorted by name.
pub static SETTINGS: &[Setting] = &[
    Setting {
        name: "execution.state-recovery.ignore-unclaimed-state",
        default: "false",
        about: "whether the next job may leave state behind that its query has no place for; what is new begins empty",
        parse: |values, text| {
            values.ignore_unclaimed = truth(text)?;
            Ok(())
        },
        of: Part::Start,
    },
    Setting {
        name: "execution.state-recovery.path",
        default: "",
        about: "savepoint that the next job starts from, by its name in SHOW SAVEPOINTS; empty: none",
        parse: |values, text| {
            values.savepoint = some(text);
            Ok(())
        },
        of: Part::Start,
    },
    Setting {
        name: "job.state.memory",
        default: "",
        about: "memory that the state of the next job may take, such as 256 MB; empty: a quarter of the machine's, shared by all jobs",
        parse: |values, text| {
            values.state_memory = size(text)?;
            Ok(())
        },
        of: Part::Plan,
    },
    Setting {
        name: "parallelism.default",
        default: "1",
        about: "threads that joins, OVER, rankings and GROUP BY of the next job may use for their keys, 1 to 16; its partitions have their own",
        parse: |values, text| {
            values.parallelism = Some(parallelism(text)?).filter(|threads| *threads > 1);
            Ok(())
        },
        of: Part::Plan,
    },
    Setting {
        name: "pipeline.name",
        default: "",
        about: "name of the job that the next INSERT or statement set starts; empty: that of the first table it writes",
        parse: |values, text| {
            values.pipeline_name = if text.is_empty() { None } else { Some(Name::new(text)?) };
            Ok(())
        },
        of: Part::Plan,
    },
    Setting {
        name: "scan.startup.mode",
        default: "",
        about: "where the next job begins if it has no checkpoint: earliest-offset, latest-offset, timestamp or specific-offsets; empty: as its tables say",
        parse: |values, text| {
            values.startup_mode = some(text);
            values.startup_mode.as_deref().map_or(Ok(()), startup::check_mode)
        },
        of: Part::Plan,
    },
    Setting {
        name: "scan.startup.specific-offsets",
        default: "",
        about: "offsets of the mode specific-offsets: partition:0,offset:42;partition:1,offset:300",
        parse: |values, text| {
            values.startup_offsets = some(text);
            values.startup_offsets.as_deref().map_or(Ok(()), |t| startup::parse_offsets(t).map(drop))
        },
        of: Part::Plan,
    },
    Setting {
        name: "scan.startup.timestamp-millis",
        default: "",
        about: "time of receipt of the mode timestamp, in milliseconds since 1970",
        parse: |values, text| {
            values.startup_millis = some(text);
            values.startup_millis.as_deref().map_or(Ok(()), |t| startup::time(t).map(drop))
        },
        of: Part::Plan,
    },
    Setting {
        name: "table.exec.emit.early-fire.delay",
        default: "0",
        about: "event time between two early results of a window, counted from its start, such as 5 s or 1 min",
        parse: |values, text| {
            values.early_delay = length(text, "a number and a unit, such as 5 s or 1 min")?;
            Ok(())
        },
        of: Part::Plan,
    },
    Setting {
        name: EARLY_FIRE,
        default: "false",
        about: "whether open windows tell what they have so far, as changes; needs table.exec.emit.early-fire.delay",
        parse: |values, text| {
            values.early_enabled = truth(text)?;
            Ok(())
        },
        of: Part::Plan,
    },
    Setting {
        name: "table.exec.state.ttl",
        default: "0",
        about: "how long joins and groups without a window keep rows at least, in event time, such as 1 h, 30 min, 10s or 1 d; 0: for ever",
        parse: |values, text| {
            values.state_ttl = length(text, "a number and a unit, such as 1 h, 30 min, 10s or 1 d; 0 keeps rows for ever")?;
            Ok(())
        },
        of: Part::Plan,
    },
    Setting {
        name: TIME_ZONE,
        default: "UTC",
        about: "the time zone of all times, which is UTC; other engines want to be told",
        parse: |_, text| match text {
            "UTC" => Ok(()),
            other => {
                Err(Error::invalid(format!("times are UTC, not '{other}'")).hint("write 'UTC', and convert times where they are shown"))
            }
        },
        of: Part::Plan,
    },
];

/// Key of what turns early results on, as Flink calls it.
pub(crate) const EARLY_FIRE: &str = "table.exec.emit.early-fire.enabled";
/// Key of the time zone, as Flink calls it.
pub(crate) const TIME_ZONE: &str = "table.local-time-zone";

/// The settings that hold for the next statement.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Those that were set to something else than their default.
    given: BTreeMap<&'static str, String>,
    values: Values,
}

/// What a statement asks of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingChange {
    /// `SET`: list them.
    List,
    /// `SET 'key' = 'value'`.
    Set {
        /// Its key.
        key: String,
        /// Its value.
        value: String,
    },
    /// `RESET 'key'`.
    Reset {
        /// Its key.
        key: String,
    },
    /// `RESET`.
    ResetAll,
}

impl SettingChange {
    /// What a statement asks of the settings; `None` if it is another statement, or wrong.
    pub fn of(sql: &str) -> Option<Self> {
        match parser::parse(sql) {
            Ok(Parsed::Setting(setting)) => Some(setting.into()),
            _ => None,
        }
    }
}

impl From<parser::Setting> for SettingChange {
    fn from(parsed: parser::Setting) -> Self {
        match parsed {
            parser::Setting::List => Self::List,
            parser::Setting::Set { key, value } => Self::Set { key: key.0, value: value.0 },
            parser::Setting::Reset { key } => Self::Reset { key: key.0 },
            parser::Setting::ResetAll => Self::ResetAll,
        }
    }
}

impl Settings {
    /// From keys and values. Errors: `Invalid` if one is not known or cannot have its value.
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        let mut settings = Self::default();
        pairs.into_iter().try_for_each(|(key, value)| settings.set(key, value))?;
        Ok(settings)
    }

    /// Sets one. Errors: `Invalid` if it is not known or cannot have this value; then nothing has changed.
    pub fn set(&mut self, key: &str, value: &str) -> Result<()> {
        let setting = find(key)?;
        let value = value.trim();
        let mut values = self.values.clone();
        (setting.parse)(&mut values, value).map_err(|e| e.context(format!("setting '{key}'")))?;
        self.values = values;
        if value == setting.default {
            self.given.remove(setting.name)
        } else {
            self.given.insert(setting.name, value.to_owned())
        };
        Ok(())
    }

    /// Gives one its default again. Errors: `Invalid` if it is not known.
    pub fn reset(&mut self, key: &str) -> Result<()> {
        let default = find(key)?.default;
        self.set(key, default)
    }

    /// Does what a statement asks, and says so; `None` if it asks to list them. Errors: as `set`.
    pub fn apply(&mut self, change: &SettingChange) -> Result<Option<String>> {
        match change {
            SettingChange::List => return Ok(None),
            SettingChange::Set { key, value } => self.set(key, value)?,
            SettingChange::Reset { key } => self.reset(key)?,
            SettingChange::ResetAll => {
                *self = Self::default();
                return Ok(Some("every setting has its default again".to_owned()));
            }
        }
        let (SettingChange::Set { key, .. } | SettingChange::Reset { key }) = change else { return Ok(None) };
        Ok(Some(format!("'{key}' is '{}'", self.value(find(key)?))))
    }

    /// Keys and values of those that differ from their default.
    pub fn given(&self) -> impl Iterator<Item = (&str, &str)> {
        self.given.iter().map(|(key, value)| (*key, value.as_str()))
    }

    /// All of them: key, value, default, about.
    pub fn rows(&self) -> Result<RecordBatch> {
        let column = |text: &dyn Fn(&Setting) -> String| -> ArrayRef { Arc::new(StringArray::from_iter_values(SETTINGS.iter().map(text))) };
        Ok(RecordBatch::try_from_iter([
            ("key", column(&|s| s.name.to_owned())),
            ("value", column(&|s| self.value(s).to_owned())),
            ("default", column(&|s| s.default.to_owned())),
            ("about", column(&|s| s.about.to_owned())),
        ])?)
    }

    /// A statement behind the settings that it is planned with.
    pub(crate) fn before(&self, statement: &str) -> String {
        let planned = |key: &str| SETTINGS.iter().any(|s| s.name == key && s.of == Part::Plan);
        let given = self.given.iter().filter(|(key, _)| planned(key));
        let set: String = given.map(|(key, value)| format!("SET '{key}' = '{}';\n", value.replace('\'', "''"))).collect();
        set + statement
    }

    /// Name of the next job, if one is given.
    pub(crate) fn pipeline_name(&self) -> Option<&Name> {
        self.values.pipeline_name.as_ref()
    }

    /// How long joins and groups keep rows, in microseconds of event time; `None` is for ever.
    pub(crate) fn state_ttl(&self) -> Option<Micros> {
        self.values.state_ttl
    }

    /// Threads of a keyed step.
    pub(crate) fn parallelism(&self) -> usize {
        self.values.parallelism.unwrap_or(1)
    }

    /// Where the next job begins, if they say so. Errors: `Invalid` if they do not go together.
    pub(crate) fn startup(&self) -> Result<Option<StartAt>> {
        let Values { startup_mode, startup_millis, startup_offsets, .. } = &self.values;
        startup::startup(startup_mode.as_deref(), startup_millis.as_deref(), startup_offsets.as_deref())
    }

    /// What they say of the next job beside its plan.
    pub(crate) fn job(&self) -> JobSettings {
        let Values { savepoint, ignore_unclaimed, state_memory, .. } = &self.values;
        JobSettings { savepoint: savepoint.clone(), ignore_unclaimed: *ignore_unclaimed, state_memory: *state_memory }
    }

    /// How often windows tell early results, in microseconds of event time; `None` if they do not. Errors: `Invalid` if they are asked for
    /// without saying how often.
    pub(crate) fn early(&self) -> Result<Option<Micros>> {
        match (self.values.early_enabled, self.values.early_delay) {
            (false, _) => Ok(None),
            (true, Some(delay)) => Ok(Some(delay)),
            (true, None) => Err(Error::invalid("early results are asked for, but not how often")
                .hint("SET 'table.exec.emit.early-fire.delay' = '5 s', or RESET 'table.exec.emit.early-fire.enabled'")),
        }
    }

    fn value(&self, setting: &Setting) -> &str {
        self.given.get(setting.name).map_or(setting.default, String::as_str)
    }
}

/// A job's text in two: the settings that it was planned with, which may be empty, and its statement as it was given.
pub fn without_settings(text: &str) -> (&str, &str) {
    let statement = parser::split(text).ok().and_then(|all| all.last().map(ScriptStatement::text));
    match statement.and_then(|statement| text.trim_end().strip_suffix(statement).map(|settings| (settings.trim(), statement))) {
        Some(parts) => parts,
        None => ("", text),
    }
}

/// Names that settings had in older versions of Flink.
const FORMER: [(&str, &str); 2] = [
    ("execution.savepoint.ignore-unclaimed-state", "execution.state-recovery.ignore-unclaimed-state"),
    ("execution.savepoint.path", "execution.state-recovery.path"),
];

/// Whether there is a setting of this name.
pub(crate) fn is_known(key: &str) -> bool {
    find(key).is_ok()
}

fn find(key: &str) -> Result<&'static Setting> {
    let key = FORMER.iter().find(|(former, _)| *former == key).map_or(key, |(_, now)| *now);
    SETTINGS.iter().find(|s| s.name == key).ok_or_else(|| {
        let names = || SETTINGS.iter().map(|s| s.name);
        let hint = suggestion(key, names()).unwrap_or_else(|| format!("settings are {}", names().collect::<Vec<_>>().join(", ")));
        Error::invalid(format!("setting '{key}' is not known")).hint(hint)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_sorted_and_their_defaults_are_the_default() {
        assert!(SETTINGS.is_sorted_by_key(|s| s.name));
        let mut values = Values {
            early_delay: Some(1),
            early_enabled: true,
            parallelism: Some(2),
            pipeline_name: Some(Name::new("x").unwrap()),
            state_ttl: Some(1),
            state_memory: Some(1),
            savepoint: some("s"),
            ignore_unclaimed: true,
            startup_mode: some("timestamp"),
            startup_millis: some("1"),
            startup_offsets: some("partition:0,offset:1"),
        };
        for setting in SETTINGS {
            (setting.parse)(&mut values, setting.default).unwrap();
        }
        assert_eq!(values, Values::default());
    }

    #[test]
    fn a_text_has_its_settings_before_it_and_comes_apart_again() {
        let mut settings = Settings::default();
        assert_eq!(settings.before("INSERT …"), "INSERT …");
        settings.set("table.exec.state.ttl", " 1 h ").unwrap();
        settings.set("pipeline.name", "a_job").unwrap();
        let text = settings.before("INSERT INTO t SELECT 1");
        assert_eq!(text, "SET 'pipeline.name' = 'a_job';\nSET 'table.exec.state.ttl' = '1 h';\nINSERT INTO t SELECT 1");
        let (before, statement) = without_settings(&text);
        assert_eq!((before.lines().count(), statement), (2, "INSERT INTO t SELECT 1"));
        let set = "EXECUTE STATEMENT SET BEGIN INSERT INTO t SELECT 1; END";
        assert_eq!(without_settings(set), ("", set));
        assert_eq!(without_settings("an 'open quote"), ("", "an 'open quote"));
        settings.reset("pipeline.name").unwrap();
        assert_eq!(settings.given().collect::<Vec<_>>(), [("table.exec.state.ttl", "1 h")]);
        settings.apply(&SettingChange::ResetAll).unwrap();
        assert_eq!((settings.state_ttl(), settings.given().count()), (None, 0));
    }

    #[test]
    fn how_a_job_starts_is_no_part_of_its_text_and_former_names_are_understood() {
        let mut settings = Settings::default();
        settings.set("execution.savepoint.path", "hot-7").unwrap();
        settings.set("execution.savepoint.ignore-unclaimed-state", "TRUE").unwrap();
        settings.set("job.state.memory", "256 MB").unwrap();
        let want = JobSettings { savepoint: some("hot-7"), ignore_unclaimed: true, state_memory: Some(256 << 20) };
        assert_eq!(settings.job(), want);
        assert_eq!(settings.before("INSERT"), "SET 'job.state.memory' = '256 MB';\nINSERT");
        settings.reset("execution.savepoint.path").unwrap();
        assert_eq!(settings.job().savepoint, None);
    }

    #[test]
    fn where_a_job_begins_takes_several_settings() {
        let mut settings = Settings::default();
        settings.set("scan.startup.mode", "timestamp").unwrap();
        assert!(settings.startup().unwrap_err().message().contains("needs"));
        settings.set("scan.startup.timestamp-millis", "1500").unwrap();
        assert_eq!(settings.startup().unwrap(), Some(StartAt::Time(1_500_000)));
        assert!(settings.set("scan.startup.mode", "sometime").is_err());
        assert!(settings.startup().is_ok(), "a wrong value changes nothing");
    }

    #[test]
    fn early_results_say_how_often() {
        let mut settings = Settings::new([("table.exec.emit.early-fire.enabled", "TRUE")]).unwrap();
        assert!(settings.early().unwrap_err().hint_text().unwrap().contains("delay"));
        settings.set("table.exec.emit.early-fire.delay", "5 s").unwrap();
        assert_eq!(settings.early().unwrap(), Some(5_000_000));
        assert!(settings.set("table.exec.emit.early-fire.enabled", "yes").is_err());
        settings.reset("table.exec.emit.early-fire.enabled").unwrap();
        assert_eq!(settings.early().unwrap(), None);
    }

    #[test]
    fn a_wrong_change_changes_nothing() {
        let mut settings = Settings::new([("pipeline.name", "good")]).unwrap();
        let wrong = settings.set("pipeline.name", "Not Good").unwrap_err();
        assert!(wrong.message().starts_with("setting 'pipeline.name': "), "{wrong}");
        assert_eq!(settings.pipeline_name().map(Name::as_str), Some("good"));
        let unknown = settings.set("table.exec.state.tll", "1 h").unwrap_err();
        assert_eq!(unknown.hint_text(), Some("did you mean 'table.exec.state.ttl'?"));
        assert!(settings.reset("parallelism").unwrap_err().hint_text().unwrap().contains("pipeline.name"));
    }
}
