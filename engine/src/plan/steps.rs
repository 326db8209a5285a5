//! Steps behind the exchange in words. Invariant: what a step computes is in its `Display`, which is part of the fingerprint; how long
//! it remembers is in `keeps`, which is not.

use std::fmt;

use arrow::datatypes::{Schema, SchemaRef};

use super::display::span;
use super::job::{StepKind, WindowSource};
use super::stateful::{
    AsofJoin, Frame, Group, IntervalJoin, JoinKind, JoinSide, Over, OverCall, OverFunction, Rank, RegularJoin, RetractableAggregate,
    SortKey, Told, Upsert, WindowJoin,
};
use crate::time::Micros;

impl fmt::Display for StepKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stages(stages) => f.write_str(&list("; ", stages)),
            Self::Union => f.write_str("union all"),
            Self::Window { window, source: WindowSource::Time, .. } => write!(f, "{window} by event time @{}", window.time),
            Self::Window { window, source: WindowSource::Attached { start, end, order }, .. } => {
                write!(f, "{window} of the window in @{start}, @{end}")?;
                order.map_or(Ok(()), |time| write!(f, ", in the order of @{time}"))
            }
            Self::IntervalJoin(join) => join.fmt(f),
            Self::WindowJoin(join) => join.fmt(f),
            Self::AsofJoin(join) => join.fmt(f),
            Self::RegularJoin(join) => join.fmt(f),
            Self::Rank(rank) => rank.fmt(f),
            Self::Group(group) => group.fmt(f),
            Self::Over(over) => over.fmt(f),
            Self::Upsert(upsert) => upsert.fmt(f),
        }
    }
}

impl StepKind {
    /// What the step remembers and until when; `None` if nothing.
    pub fn keeps(&self) -> Option<String> {
        Some(match self {
            Self::Stages(_) | Self::Union => return None,
            Self::Window { .. } => "the groups of each window until the watermark has passed its end".to_owned(),
            Self::IntervalJoin(j) => format!(
                "a left row until the watermark has passed {}, a right row until it has passed {}",
                moved(&j.left, j.upper),
                moved(&j.right, j.lower.saturating_neg())
            ),
            Self::WindowJoin(j) => {
                format!("the rows of each window until the watermark has passed {}", column(&j.left.schema, j.left.time))
            }
            Self::AsofJoin(j) => {
                let newest = j.within.map_or_else(String::new, |w| format!(", for {} at most", span(w)));
                format!(
                    "a left row until the watermark has passed {}, the newest right row of each key behind the watermark{newest}",
                    column(&j.left.schema, j.left.time)
                )
            }
            Self::RegularJoin(j) => format!("every row for {} of event time", span(j.ttl)),
            Self::Rank(r) if r.window_end.is_some() => "the first rows of each group until the watermark has passed its window".to_owned(),
            Self::Rank(r) => format!("the rows of each group{}", after_change(r.ttl)),
            Self::Group(g) => format!("the results of each group{}", after_change(g.ttl)),
            Self::Over(o) => {
                let waits = o.calls.iter().any(|c| matches!(c.function, OverFunction::Lead { .. }));
                let waits = if waits { ", with the rows that wait for later ones," } else { "" };
                format!("the frame of each partition{waits}{}", after_change(o.ttl))
            }
            Self::Upsert(u) => format!("the rows of each key{}", after_change(u.ttl)),
        })
    }
}

fn after_change(ttl: Option<Micros>) -> String {
    ttl.map_or_else(|| " for ever".to_owned(), |t| format!(" until {} of event time after it last changed", span(t)))
}

fn list<T: fmt::Display>(separator: &str, items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|i| i.to_string()).collect::<Vec<_>>().join(separator)
}

fn column(schema: &Schema, index: usize) -> String {
    format!("{}@{index}", schema.fields().get(index).map_or("?", |f| f.name().as_str()))
}

fn columns(schema: &Schema, indexes: &[usize]) -> String {
    list(", ", indexes.iter().map(|&i| column(schema, i)))
}

/// The time of a side's row, `by` later.
fn moved(side: &JoinSide, by: Micros) -> String {
    let time = column(&side.schema, side.time);
    match by {
        0 => time,
        1.. => format!("{time} + {}", span(by)),
        _ => format!("{time} - {}", span(by.saturating_neg())),
    }
}

/// `inner on [a@0 = b@1]`.
struct On<'a>(JoinKind, &'a JoinSide, &'a JoinSide);

impl fmt::Display for On<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(kind, left, right) = self;
        let keys = left.keys.iter().zip(&right.keys).map(|(l, r)| format!("{l} = {r}"));
        write!(f, "{kind} on [{}]", list(", ", keys))
    }
}

fn write_filter(f: &mut fmt::Formatter<'_>, filter: Option<&impl fmt::Display>) -> fmt::Result {
    filter.map_or(Ok(()), |condition| write!(f, " where {condition}"))
}

impl fmt::Display for JoinKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inner => "inner",
            Self::Left => "left",
            Self::Right => "right",
            Self::Full => "full",
            Self::LeftSemi => "left semi",
            Self::LeftAnti => "left anti",
        })
    }
}

impl fmt::Display for IntervalJoin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { left, right, .. } = self;
        let (from, to) = (moved(left, self.lower), moved(left, self.upper));
        let time = column(&right.schema, right.time);
        write!(f, "interval join {} right {time} between left {from} and left {to}", On(self.kind, left, right))?;
        write_filter(f, self.filter.as_ref())
    }
}

impl fmt::Display for WindowJoin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { left, right, .. } = self;
        let (l, r) = (column(&left.schema, left.time), column(&right.schema, right.time));
        write!(f, "window join {} window end left {l}, right {r}", On(self.kind, left, right))?;
        write_filter(f, self.filter.as_ref())
    }
}

impl fmt::Display for AsofJoin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { left, right, .. } = self;
        let (l, r) = (column(&left.schema, left.time), column(&right.schema, right.time));
        let sign = if self.or_equal { ">=" } else { ">" };
        write!(f, "asof join {} left {l} {sign} right {r}", On(self.kind, left, right))?;
        self.within.map_or(Ok(()), |w| write!(f, " by at most {}", span(w)))
    }
}

impl fmt::Display for RegularJoin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "regular join {}", On(self.kind, &self.left, &self.right))?;
        write_filter(f, self.filter.as_ref())
    }
}

fn sorted(schema: &SchemaRef, keys: &[SortKey]) -> String {
    let key = |k: &SortKey| {
        let direction = if k.options.descending { "DESC" } else { "ASC" };
        let nulls = if k.options.nulls_first { "FIRST" } else { "LAST" };
        format!("{} {direction} NULLS {nulls}", column(schema, k.column))
    };
    list(", ", keys.iter().map(key))
}

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (partition, order) = (columns(&self.input, &self.partition), sorted(&self.input, &self.order));
        let (first, last) = (self.offset.saturating_add(1), self.offset.saturating_add(self.limit));
        write!(f, "rank partition=[{partition}] order=[{order}] places {first} to {last}")?;
        if self.place {
            f.write_str(" with place")?;
        }
        match (self.window_end, self.time) {
            (Some(end), _) => write!(f, " of the window ending at {}", column(&self.input, end)),
            (None, Some(time)) => write!(f, " by event time {}", column(&self.input, time)),
            (None, None) => f.write_str(" of changes"),
        }
    }
}

impl fmt::Display for RetractableAggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group keys=[{}] aggregates=[{}]", list(", ", self.keys.iter().map(|(e, _)| e)), list(", ", &self.aggregates))?;
        match (self.time, self.told) {
            (Some(time), Told::Together) => write!(f, " by event time {}", column(&self.input, time)),
            (Some(time), Told::EachTime { order }) => {
                write!(f, " early results at each {}, in the order of {}", column(&self.input, time), column(&self.input, order))
            }
            (None, _) => f.write_str(" of changes"),
        }
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rows(None) => f.write_str("ROWS UNBOUNDED PRECEDING"),
            Self::Rows(Some(rows)) => write!(f, "ROWS {rows} PRECEDING"),
            Self::Range(None) => f.write_str("RANGE UNBOUNDED PRECEDING"),
            Self::Range(Some(time)) => write!(f, "RANGE {} PRECEDING", span(*time)),
        }
    }
}

impl fmt::Display for OverCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nulls = |ignored: bool| if ignored { " IGNORE NULLS" } else { "" };
        match &self.function {
            OverFunction::Aggregate(aggregate) => write!(f, "{aggregate} {}", self.frame)?,
            OverFunction::RowNumber => f.write_str("row_number()")?,
            OverFunction::Lag { argument, offset, default } => {
                let default = default.as_ref().map_or_else(String::new, |d| format!(", {d}"));
                write!(f, "lag({argument}, {offset}{default})")?;
            }
            OverFunction::Lead { argument, offset, default } => {
                let default = default.as_ref().map_or_else(String::new, |d| format!(", {d}"));
                write!(f, "lead({argument}, {offset}{default})")?;
            }
            OverFunction::FirstValue { argument, ignore_nulls } => {
                write!(f, "first_value({argument}){} {}", nulls(*ignore_nulls), self.frame)?;
            }
            OverFunction::LastValue { argument, ignore_nulls } => {
                write!(f, "last_value({argument}){} {}", nulls(*ignore_nulls), self.frame)?;
            }
        }
        write!(f, " AS {}", self.result.name())
    }
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (partition, calls) = (list(", ", &self.partition), list(", ", &self.calls));
        write!(f, "over partition=[{partition}] order=[{}] calls=[{calls}]", column(&self.input, self.time))
    }
}

impl fmt::Display for Upsert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "upsert key=[{}] newest row of each", columns(&self.schema, &self.key))
    }
}
