//! What is grouped by, and what is computed of each group. Invariant: whatever the input must show is in the result.

use crate::aggregates::{Call, Place, call, calls};
use crate::columns::{Column, Kind, Precision};
use crate::draft::{Draft, Rel};

/// A key or a call with the name that its column gets.
struct Item {
    stream: String,
    batch: String,
    column: Column,
}

/// Keys and calls of a GROUP BY.
pub struct Grouping {
    keys: Vec<Item>,
    calls: Vec<Item>,
    pins: Vec<String>,
}

/// Which keys there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// Columns and expressions.
    Any,
    /// Columns alone.
    Columns,
}

impl Grouping {
    /// Keys and calls over the rows of `input`.
    pub fn new(draft: &mut Draft, input: &Rel, keys: Keys, place: Place) -> Self {
        let columns = input.keys();
        let mut found: Vec<Column> = draft.dice.some(&columns, 2);
        if keys == Keys::Any && draft.dice.chance(20) {
            let computed = draft.value(&columns, 2);
            let is_literal = columns.iter().all(|c| !computed.name.contains(&c.name));
            // A double may be 0 and -0, which are one group or two.
            if !is_literal && computed.kind != Kind::Double {
                found.push(computed);
            }
        }
        Self::with_keys(draft, input, found, place)
    }

    /// Calls over the rows of `input`, grouped by these keys.
    pub fn with_keys(draft: &mut Draft, input: &Rel, keys: Vec<Column>, place: Place) -> Self {
        let found = keys.into_iter().map(|c| Item { stream: c.name.clone(), batch: c.name.clone(), column: c.called(draft.name("k")) });
        let found = found.collect();
        let mut made = Self { keys: found, calls: Vec::new(), pins: Vec::new() };
        let calls = calls(draft, input, place, 3);
        let ordered = calls.iter().any(Call::is_ordered);
        let pins = input.pins.iter().chain(input.id.iter().filter(|id| ordered && !input.pins.contains(id)));
        // They come first: rows of one time are in the order of what the first call reads.
        for pin in pins.cloned().collect::<Vec<_>>() {
            let text = format!("MAX({pin})");
            made.add(draft, Call { stream: text.clone(), batch: text, column: Column::exact("", Kind::Whole) });
            made.pins.extend(made.calls.last().map(|c| c.column.name.clone()));
        }
        for call in calls {
            made.add(draft, call);
        }
        made
    }

    fn add(&mut self, draft: &mut Draft, call: Call) {
        let column = call.column.called(draft.name("a"));
        self.calls.push(Item { stream: call.stream, batch: call.batch, column });
    }

    /// Keys as GROUP BY lists them.
    pub fn keys(&self) -> Vec<String> {
        self.keys.iter().map(|k| k.stream.clone()).collect()
    }

    /// What SELECT lists, for the stream and for the oracle.
    pub fn items(&self) -> (Vec<String>, Vec<String>) {
        let all = || self.keys.iter().chain(&self.calls);
        let side = |text: fn(&Item) -> &String| all().map(|i| format!("{} AS {}", text(i), i.column.name)).collect();
        (side(|i| &i.stream), side(|i| &i.batch))
    }

    /// Columns of the result.
    pub fn columns(&self) -> Vec<Column> {
        self.keys.iter().chain(&self.calls).map(|i| i.column.clone()).collect()
    }

    /// Columns that must be shown.
    pub fn pins(&self) -> Vec<String> {
        self.pins.clone()
    }

    /// ` HAVING …`, at times.
    pub fn having(&self, draft: &mut Draft, input: &Rel) -> String {
        if !draft.dice.chance(30) {
            return String::new();
        }
        let mut known: Vec<Column> = self.calls.iter().filter(|c| c.stream == c.batch).map(|c| c.column.called(c.stream.clone())).collect();
        if draft.dice.chance(40) {
            let more = call(draft, input, Place::Unordered);
            known.push(more.column.called(more.stream));
        }
        known.retain(|c| c.precision < Precision::Loose);
        format!(" HAVING {}", draft.condition(&known, 1))
    }
}
