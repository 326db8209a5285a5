//! Joins with reference data. Invariant: its one version is valid for all rows.

use super::{Gives, Shape};
use crate::columns::{Column, Kind, of};
use crate::draft::{Draft, Rel};
use crate::source::{self, Want};
use crate::tables::REFERENCE;

/// The shape.
pub static SHAPE: Shape = Shape { name: "lookup_join", gives: Gives::Timed, windowed: false, write };

fn write(draft: &mut Draft) -> Rel {
    let a = source::rows(draft, Want::Time);
    let keys: Vec<Column> = a.columns.iter().filter(|c| c.kind == Kind::Text).cloned().collect();
    let Some(time) = a.time.clone() else { return a };
    let same = keys.iter().find(|c| c.name == "k").cloned();
    let Some(key) = same.or_else(|| if keys.is_empty() { None } else { Some(draft.dice.pick(&keys).clone()) }) else { return a };
    let kind = *draft.dice.pick(&["JOIN", "LEFT JOIN"]);
    let (site, threshold) = (draft.name("c"), draft.name("c"));
    let found = [Column::exact("d.site", Kind::Text), Column::exact("d.threshold", Kind::Double)];
    let columns: Vec<Column> = of("a", &a.columns).into_iter().chain(found).collect();
    let filter = draft.filter(&columns, 40);
    let version = format!("FOR SYSTEM_TIME AS OF a.{time} ");
    let select = |version: &str| {
        let items = format!("{}, d.site AS {site}, d.threshold AS {threshold}", a.listed("a"));
        format!("SELECT {items} FROM {} AS a {kind} {REFERENCE} {version}AS d ON a.{} = d.k{filter}", a.name, key.name)
    };
    let name = draft.define(select(&version), select(""));
    let more = [Column::exact(site.clone(), Kind::Text), Column::exact(threshold.clone(), Kind::Double)];
    Rel { name, columns: a.columns.iter().cloned().chain(more).collect(), window: None, ..a }
}
