//! Settings, those that are set and those that are assumed. Invariant: a key that begins as Flink's keys do is not found.

use sqlparser::ast::{DataType, Expr};
use sqlparser::tokenizer::Location;

use super::finding::{Effect, Rule};
use super::report::Report;
use super::scope::Scope;
use super::script::{Script, Stated};
use super::walk::Family;
use crate::parser::{ColumnKind, Parsed, Setting, TypeName};
use crate::settings::{EARLY_FIRE, TIME_ZONE};

pub(super) static FAMILY: Family = Family { statement, expression, ..Family::BLIND };

pub(super) static EARLY: Rule = Rule {
    name: "early-fire",
    finds: "early results of windows",
    effect: Effect::Differs,
    why: "it fires by the clock, for windows in GROUP BY TUMBLE(…) and HOP(…), and refuses this for sessions and for windows in FROM",
    hint: "on Flink write GROUP BY TUMBLE(ts, size), and expect other early results in each run",
};
pub(super) static SETTING: Rule = Rule {
    name: "setting",
    finds: "SET of a key that Flink does not have",
    effect: Effect::Differs,
    why: "it takes any key, and does nothing with those that it does not know",
    hint: "leave it out on Flink",
};
pub(super) static ZONE: Rule = Rule {
    name: "time-zone",
    finds: "what depends on the time zone of the session",
    effect: Effect::Differs,
    why: "it goes by the time zone of the session, which is that of the machine unless it is set",
    hint: "write SET 'table.local-time-zone' = 'UTC' before it, which this engine takes too",
};

/// What keys of Flink begin with.
const PREFIXES: [&str; 13] = [
    "classloader.",
    "cluster.",
    "env.",
    "execution.",
    "jobmanager.",
    "metrics.",
    "parallelism.",
    "pipeline.",
    "restart-strategy.",
    "sql-client.",
    "state.",
    "table.",
    "taskmanager.",
];

/// Functions that ask for the time zone of the session.
const ZONED: [&str; 9] = [
    "current_date",
    "current_time",
    "current_timestamp",
    "from_unixtime",
    "localtime",
    "localtimestamp",
    "now",
    "to_timestamp_ltz",
    "unix_timestamp",
];

fn statement(stated: &Stated, script: &Script<'_>, report: &mut Report<'_>) {
    match &stated.parsed {
        Parsed::Setting(Setting::Set { key, value }) if key.0 == EARLY_FIRE && value.0.trim().eq_ignore_ascii_case("true") => {
            report.add(&EARLY, key.1, format!("'{EARLY_FIRE}'"));
        }
        Parsed::Setting(Setting::Set { key, .. } | Setting::Reset { key }) if !PREFIXES.iter().any(|prefix| key.0.starts_with(prefix)) => {
            report.add(&SETTING, key.1, format!("'{}'", key.0));
        }
        Parsed::CreateTable(table) => {
            for column in &table.columns {
                if let ColumnKind::Typed { data_type: TypeName::Plain(plain), .. } = &column.kind
                    && is_local(plain)
                {
                    zone(column.at, plain, script, report);
                }
            }
        }
        _ => {}
    }
}

fn expression(expression: &Expr, scope: &Scope<'_>, report: &mut Report<'_>) {
    match expression {
        Expr::Function(function) if ZONED.contains(&function.name.to_string().to_lowercase().as_str()) => {
            zone(scope.place(expression), &function.name, scope.script, report);
        }
        Expr::Cast { data_type, .. } if is_local(data_type) => {
            zone(scope.begins(expression, &["CAST", "TRY_CAST"]), data_type, scope.script, report)
        }
        _ => {}
    }
}

fn is_local(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Custom(name, _) if name.to_string().eq_ignore_ascii_case("TIMESTAMP_LTZ"))
}

fn zone(at: Location, what: &dyn std::fmt::Display, script: &Script<'_>, report: &mut Report<'_>) {
    if !script.sets(TIME_ZONE, "UTC") {
        report.once(&ZONE, at, what.to_string());
    }
}
