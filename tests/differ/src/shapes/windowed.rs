//! GROUP BY of a window, whatever its kind. Invariant: a group is the rows of one window with the same keys.

use crate::aggregates::Place;
use crate::columns::{Column, Kind};
use crate::draft::{Draft, Rel};
use crate::grouping::{Grouping, Keys};
use crate::source::{self, Want};
use crate::windows::{self, spec};

/// Names of the columns that say which window a row belongs to.
pub struct Names {
    /// Start.
    pub start: String,
    /// End.
    pub end: String,
    /// Last millisecond, if it is selected.
    pub time: Option<String>,
}

impl Names {
    /// New ones.
    pub fn new(draft: &mut Draft) -> Self {
        let (start, end) = (draft.name("s"), draft.name("e"));
        let time = draft.dice.chance(60).then(|| draft.name("t"));
        Self { start, end, time }
    }

    /// What SELECT lists, and what GROUP BY lists.
    pub fn items(&self) -> (Vec<String>, Vec<String>) {
        let mut items = vec![format!("window_start AS {}", self.start), format!("window_end AS {}", self.end)];
        let mut groups = vec!["window_start".to_owned(), "window_end".to_owned()];
        if let Some(time) = &self.time {
            items.push(format!("window_time AS {time}"));
            groups.push("window_time".to_owned());
        }
        (items, groups)
    }

    /// Rows with these columns and others.
    pub fn rel(self, name: String, more: Vec<Column>, pins: Vec<String>) -> Rel {
        let names = [Some(self.start.clone()), Some(self.end.clone()), self.time.clone()];
        let columns = names.into_iter().flatten().map(|n| Column::exact(n, Kind::Time)).chain(more).collect();
        Rel { name, columns, time: self.time, window: Some((self.start, self.end)), pins, ..Rel::default() }
    }
}

/// A query over windows of that kind.
pub fn write(draft: &mut Draft, kind: &str) -> Rel {
    let input = source::rows(draft, Want::Time);
    let Some(time) = input.time.clone() else { return input };
    let spec = spec(draft, Some(kind));
    let from = spec.call(draft, &input.name, &time);
    let rows = spec.rows(draft, &input, &time);
    let mut conditions = input.columns.clone();
    if draft.dice.chance(20) {
        conditions.extend(windows::columns());
    }
    let filter = draft.filter(&conditions, 25);
    let grouping = Grouping::new(draft, &input, Keys::Any, Place::Ordered);
    let names = Names::new(draft);
    let (window, mut groups) = names.items();
    groups.extend(grouping.keys());
    let having = grouping.having(draft, &input);
    let (stream, batch) = grouping.items();
    let select = |items: &[String], from: &str| {
        let items = [&window, items].concat().join(", ");
        format!("SELECT {items} FROM {from}{filter} GROUP BY {}{having}", groups.join(", "))
    };
    let name = draft.define(select(&stream, &from), select(&batch, &rows));
    names.rel(name, grouping.columns(), grouping.pins())
}
