//! What a table is, for people: owner, meaning, source. Invariant: it is stored in the table's own Delta properties (`lake.*`),
//! so that a table explains itself even when every manifest is lost.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// The four kinds of tables; also the directory that they lie in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Namespace {
    /// Complete history of a stream.
    Cold,
    /// Results of a job.
    Warm,
    /// Late rows of a job.
    Late,
    /// Rejected records of a table.
    Dlq,
}

impl Namespace {
    /// Every namespace.
    pub const ALL: [Self; 4] = [Self::Cold, Self::Warm, Self::Late, Self::Dlq];

    /// Name of its directory.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Warm => "warm",
            Self::Late => "late",
            Self::Dlq => "dlq",
        }
    }

    /// The namespace called `text`; `None` if there is none.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|n| n.as_str() == text)
    }
}

/// What the rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Records as devices sent them.
    #[default]
    Telemetry,
    /// Results computed from telemetry.
    Aggregate,
    /// Rows whose window had closed.
    Late,
    /// Records that could not be used.
    Reject,
    /// Data that others are joined with.
    Reference,
}

/// How soon the rows are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Seconds old.
    Hot,
    /// Minutes to days old, for dashboards.
    Warm,
    /// Complete history, for batch and learning.
    #[default]
    Cold,
}

/// Who may see the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Classification {
    /// Everybody.
    Public,
    /// Everybody inside.
    #[default]
    Internal,
    /// Named people.
    Confidential,
    /// Rows speak about persons.
    Personal,
}

/// What people should know of a table.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    /// Who answers for it.
    pub owner: String,
    /// What it means.
    pub description: String,
    /// Stream, job or file that it comes from.
    pub source: String,
    /// What the rows are.
    pub kind: Kind,
    /// How soon they are wanted.
    pub tier: Tier,
    /// Who may see them.
    pub classification: Classification,
    /// How long they are kept, as an ISO 8601 duration or `forever`.
    pub retention: String,
    /// Which of these were not said but taken from the configured default.
    pub defaulted: Vec<String>,
}

const PREFIX: &str = "lake.";

impl About {
    /// Errors: `Invalid` if owner, description or source is empty.
    pub fn check(&self) -> Result<()> {
        for (name, text) in [("owner", &self.owner), ("description", &self.description), ("source", &self.source)] {
            if text.trim().is_empty() {
                return Err(Error::invalid(format!("a lake table needs {name}")).hint(format!("set '{name}'")));
            }
        }
        Ok(())
    }

    /// As Delta table properties; lists are JSON.
    pub(super) fn to_properties(&self) -> Result<HashMap<String, String>> {
        let Value::Object(fields) = serde_json::to_value(self)? else {
            return Err(Error::internal("a table's description is not an object"));
        };
        let text = |value: Value| if let Value::String(s) = value { s } else { value.to_string() };
        Ok(fields.into_iter().map(|(key, value)| (format!("{PREFIX}{key}"), text(value))).collect())
    }

    /// From Delta table properties; what is missing or unknown is empty, which `verify` reports.
    pub(super) fn from_properties(properties: &HashMap<String, String>) -> Self {
        let mut fields = Map::new();
        for (key, text) in properties.iter().filter_map(|(k, v)| Some((k.strip_prefix(PREFIX)?, v))) {
            let list = serde_json::from_str(text).ok().filter(Value::is_array);
            fields.insert(key.to_owned(), list.unwrap_or_else(|| Value::String(text.clone())));
        }
        serde_json::from_value(Value::Object(fields)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_give_back_what_was_said() {
        let about = About {
            owner: "plant operations".into(),
            description: "[raw] telemetry".into(),
            source: "stream telemetry".into(),
            kind: Kind::Reject,
            tier: Tier::Warm,
            classification: Classification::Personal,
            retention: "P30D".into(),
            defaulted: vec!["owner".into()],
        };
        let properties = about.to_properties().unwrap();
        assert_eq!(properties["lake.owner"], "plant operations");
        assert_eq!(properties["lake.classification"], "personal");
        assert_eq!(About::from_properties(&properties), about);
        assert_eq!(About::from_properties(&HashMap::new()).owner, "");
    }

    #[test]
    fn a_table_without_an_owner_is_refused() {
        let e = About { description: "d".into(), source: "s".into(), ..About::default() }.check().unwrap_err();
        assert!(e.message().contains("owner"));
    }
}
