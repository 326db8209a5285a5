//! What the grammar knows of a column. Invariant: a value that may differ in its last digits between two right answers is marked, and
//! nothing is decided by it.

/// Kind of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole number.
    Whole,
    /// A floating-point number.
    Double,
    /// A text.
    Text,
    /// True or false.
    Truth,
    /// A time.
    Time,
}

/// How far two right answers agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Precision {
    /// To the last bit, and so do sums in any order.
    Sums,
    /// To the last bit.
    Exact,
    /// But for the last digits.
    Loose,
}

/// A column, or an expression that stands for one.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its name, or the text of the expression.
    pub name: String,
    /// Kind of its values.
    pub kind: Kind,
    /// How far two right answers agree.
    pub precision: Precision,
}

impl Column {
    /// A column whose values are exact.
    pub fn exact(name: impl Into<String>, kind: Kind) -> Self {
        Self { name: name.into(), kind, precision: Precision::Sums }
    }

    /// The same column under another name.
    pub fn called(&self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self.clone() }
    }
}

/// The columns of a table that is called `alias` in the query.
pub fn of(alias: &str, columns: &[Column]) -> Vec<Column> {
    columns.iter().map(|c| c.called(format!("{alias}.{}", c.name))).collect()
}

/// Those that conditions, keys and orders may use.
pub fn decisive(columns: &[Column]) -> Vec<Column> {
    columns.iter().filter(|c| c.precision < Precision::Loose).cloned().collect()
}
