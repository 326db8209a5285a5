//! A query being written, twice: for the stream and for the oracle. Invariant: a name means the same rows in both.
//!
//! ```text
//! stream   WITH w1 AS (… TABLE(TUMBLE(TABLE readings, …)) …), w2 AS (…) SELECT … FROM w2
//! batch    WITH b1 AS (… date_bin(…) …), w1 AS (… FROM b1 …), w2 AS (…) SELECT … FROM w2
//! ```

use thalweg_engine::time::{MILLISECOND, Micros};

use crate::bugs::Bug;
use crate::clock::Clock;
use crate::columns::{Column, Kind, decisive};
use crate::dice::Dice;
use crate::expressions::Expressions;

/// Rows that have a name.
#[derive(Debug, Clone, Default)]
pub struct Rel {
    /// The name.
    pub name: String,
    /// Columns.
    pub columns: Vec<Column>,
    /// Column of the event time, if there is one.
    pub time: Option<String>,
    /// Columns that say where the window of a row begins and ends, if it has one.
    pub window: Option<(String, String)>,
    /// Whether rows change.
    pub updating: bool,
    /// Column that tells rows apart, if there is one.
    pub id: Option<String>,
    /// Whether that is the first column, so that rows of one time are known to be in its order.
    pub ordered: bool,
    /// Columns that whatever reads the rows must show: without them rows of one time would be in another order.
    pub pins: Vec<String>,
}

impl Rel {
    /// Columns that conditions, keys and orders may use.
    pub fn decisive(&self) -> Vec<Column> {
        decisive(&self.columns)
    }

    /// Decisive columns but those of time.
    pub fn keys(&self) -> Vec<Column> {
        self.decisive().into_iter().filter(|c| c.kind != Kind::Time).collect()
    }

    /// Names of the columns, with `alias` before them.
    pub fn listed(&self, alias: &str) -> String {
        self.columns.iter().map(|c| format!("{alias}.{}", c.name)).collect::<Vec<_>>().join(", ")
    }
}

/// A query for both sides.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Name of its shape.
    pub shape: &'static str,
    /// For the stream; settings before it.
    pub stream: String,
    /// For the oracle.
    pub batch: String,
}

/// A step of WITH: its name, its query over the stream if that has one, and over the batch.
type Part = (String, Option<String>, String);

/// A query that is being written.
pub struct Draft {
    /// Its choices.
    pub dice: Dice,
    /// Where event times lie.
    pub clock: Clock,
    /// How deep the rows that are asked for are nested.
    pub depth: u32,
    /// What the oracle gets wrong, to see that it is found.
    pub bug: Option<Bug>,
    /// How long rows of the stream's query live, if that is bounded.
    pub lifetime: Option<Micros>,
    with: Vec<Part>,
    names: usize,
}

impl Draft {
    /// An empty one.
    pub fn new(dice: Dice, clock: Clock, bug: Option<Bug>) -> Self {
        Self { dice, clock, depth: 0, bug, lifetime: None, with: Vec::new(), names: 0 }
    }

    /// A name that nothing has yet.
    pub fn name(&mut self, stem: &str) -> String {
        self.names += 1;
        format!("{stem}{}", self.names)
    }

    /// Names the rows of a query, which both sides write their own way.
    pub fn define(&mut self, stream: String, batch: String) -> String {
        let name = self.name("w");
        self.with.push((name.clone(), Some(stream), batch));
        name
    }

    /// Names the rows of a query that is the same on both sides.
    pub fn define_both(&mut self, text: String) -> String {
        self.define(text.clone(), text)
    }

    /// Names the rows of a query that only the oracle has.
    pub fn define_batch(&mut self, batch: String) -> String {
        let name = self.name("b");
        self.with.push((name.clone(), None, batch));
        name
    }

    /// How many names are defined.
    pub fn mark(&self) -> usize {
        self.with.len()
    }

    /// Takes back what was defined after `mark`.
    pub fn forget(&mut self, mark: usize) {
        self.with.truncate(mark);
    }

    /// A condition over the decisive ones of `columns`.
    pub fn condition(&mut self, columns: &[Column], depth: u32) -> String {
        Expressions::new(&mut self.dice, self.clock, &decisive(columns)).condition(depth)
    }

    /// `WHERE …`, at times.
    pub fn filter(&mut self, columns: &[Column], percent: u32) -> String {
        if !self.dice.chance(percent) {
            return String::new();
        }
        format!(" WHERE {}", self.condition(columns, 2))
    }

    /// An expression over the decisive ones of `columns`.
    pub fn value(&mut self, columns: &[Column], depth: u32) -> Column {
        Expressions::new(&mut self.dice, self.clock, &decisive(columns)).any(depth)
    }

    /// The query with its last SELECT.
    pub fn finish(self, shape: &'static str, last: &str) -> Query {
        let both = |side: fn(&Part) -> Option<&String>| {
            let parts = self.with.iter().filter_map(|w| Some(format!("{} AS ({})", w.0, side(w)?)));
            let parts: Vec<String> = parts.collect();
            if parts.is_empty() { last.to_owned() } else { format!("WITH {} {last}", parts.join(", ")) }
        };
        let (stream, batch) = (both(|w| w.1.as_ref()), both(|w| Some(&w.2)));
        let set = self.lifetime.map(|l| format!("SET 'table.exec.state.ttl' = '{} ms'; ", l / MILLISECOND));
        let stream = set.unwrap_or_default() + &stream;
        Query { shape, stream, batch }
    }
}
