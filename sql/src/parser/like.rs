//! `LIKE other [(INCLUDING …, EXCLUDING …, OVERWRITING …)]`, and a table as text again. Invariant: the text of a table makes the same
//! table, whatever becomes of the one that it is like.

use std::fmt;

use sqlparser::ast::Ident;
use sqlparser::tokenizer::{Location, Token};

use super::Cursor;
use super::create_table::{ColumnDeclaration, ColumnKind, CreateTable};
use crate::diagnostics::{Problem, Result};

/// The table that another is like, and what is taken from it.
#[derive(Debug)]
pub(crate) struct Like {
    pub(crate) source: Ident,
    pub(crate) options: Vec<(Merge, Feature, Location)>,
}

/// What becomes of a feature of the other table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Merge {
    /// It is taken; the new table may not have the same once more.
    Including,
    /// It is left out.
    Excluding,
    /// It is taken, unless the new table has its own.
    Overwriting,
}

/// What a table is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feature {
    /// All that nothing else is said about.
    All,
    /// The primary key.
    Constraints,
    /// No table here has one.
    Distribution,
    /// Computed columns.
    Generated,
    /// `METADATA` columns.
    Metadata,
    /// `WITH (…)`.
    Options,
    /// `PARTITIONED BY`.
    Partitions,
    /// `WATERMARK FOR`.
    Watermarks,
}

const FEATURES: [(&str, Feature); 8] = [
    ("ALL", Feature::All),
    ("CONSTRAINTS", Feature::Constraints),
    ("DISTRIBUTION", Feature::Distribution),
    ("GENERATED", Feature::Generated),
    ("METADATA", Feature::Metadata),
    ("OPTIONS", Feature::Options),
    ("PARTITIONS", Feature::Partitions),
    ("WATERMARKS", Feature::Watermarks),
];

impl Like {
    /// What becomes of a feature.
    pub(crate) fn of(&self, feature: Feature) -> Merge {
        let said = |wanted: Feature| self.options.iter().find(|(_, f, _)| *f == wanted).map(|(merge, ..)| *merge);
        let default = if feature == Feature::Options { Merge::Overwriting } else { Merge::Including };
        said(feature).or_else(|| said(Feature::All)).unwrap_or(default)
    }
}

/// `LIKE …`, if it is next.
pub(super) fn like(cursor: &mut Cursor) -> Result<Option<Like>> {
    if !cursor.takes("LIKE") {
        return Ok(None);
    }
    let source = cursor.name("a table")?;
    let mut options: Vec<(Merge, Feature, Location)> = Vec::new();
    if cursor.takes_symbol(&Token::LParen) {
        while !cursor.takes_symbol(&Token::RParen) {
            let at = cursor.at();
            let (merge, feature) = option(cursor)?;
            if options.iter().any(|(_, f, _)| *f == feature) {
                return Err(Problem::new(at, "this is said twice").hint("say of each feature once what becomes of it"));
            }
            options.push((merge, feature, at));
            cursor.takes_symbol(&Token::Comma);
        }
    }
    Ok(Some(Like { source, options }))
}

fn option(cursor: &mut Cursor) -> Result<(Merge, Feature)> {
    let merges = [("INCLUDING", Merge::Including), ("EXCLUDING", Merge::Excluding), ("OVERWRITING", Merge::Overwriting)];
    let Some((_, merge)) = merges.into_iter().find(|(word, _)| cursor.takes(word)) else {
        return Err(cursor.unexpected("INCLUDING, EXCLUDING or OVERWRITING"));
    };
    let may = |feature: Feature| {
        let only_one = matches!(feature, Feature::All | Feature::Constraints | Feature::Distribution | Feature::Partitions);
        merge != Merge::Overwriting || !only_one
    };
    let names: Vec<&str> = FEATURES.iter().filter(|(_, f)| may(*f)).map(|(name, _)| *name).collect();
    match FEATURES.into_iter().find(|(word, f)| may(*f) && cursor.takes(word)) {
        Some((_, feature)) => Ok((merge, feature)),
        None => Err(cursor.unexpected(&names.join(", "))),
    }
}

/// As text that makes the same table; `LIKE` is not in it.
impl fmt::Display for CreateTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut elements: Vec<String> = self.columns.iter().map(ToString::to_string).collect();
        elements.extend(self.watermark.iter().map(|w| format!("WATERMARK FOR {} AS {}", w.column, w.text)));
        let names = |key: &Vec<Ident>| key.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        elements.extend(self.primary_key.iter().map(|key| format!("PRIMARY KEY ({}) NOT ENFORCED", names(key))));
        let option = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let options: Vec<String> = self.options.iter().map(|(key, value, _)| format!("{} = {}", option(key), option(value))).collect();
        write!(f, "CREATE TABLE {} (\n  {}\n)", self.name, elements.join(",\n  "))?;
        if let Some(columns) = &self.partitioned_by {
            write!(f, " PARTITIONED BY ({})", names(columns))?;
        }
        write!(f, " WITH (\n  {}\n)", options.join(",\n  "))
    }
}

impl fmt::Display for ColumnDeclaration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ColumnKind::Computed { text, .. } => write!(f, "{} AS {text}", self.name),
            ColumnKind::Typed { text, not_null, metadata, .. } => {
                write!(f, "{} {text}", self.name)?;
                if *not_null {
                    f.write_str(" NOT NULL")?;
                }
                match metadata {
                    Some((Some(key), _)) => write!(f, " METADATA FROM '{}' VIRTUAL", key.replace('\'', "''")),
                    Some((None, _)) => f.write_str(" METADATA VIRTUAL"),
                    None => Ok(()),
                }
            }
        }
    }
}
