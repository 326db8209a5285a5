//! Random aggregate calls. Invariant: the result of a call is the same for the same rows, but for the last digits where its precision
//! says so; one that goes by the order of rows names that order for the oracle.

use crate::columns::{Column, Kind, Precision};
use crate::dice::Dice;
use crate::draft::{Draft, Rel};

/// Where a call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In a group of rows that have an order of time: functions that go by it may stand there, if it is known to the last row.
    Ordered,
    /// In a group of rows that have none.
    Unordered,
    /// Before OVER.
    Over,
}

/// A call.
pub struct Call {
    /// As the stream's query has it.
    pub stream: String,
    /// As the oracle's has it.
    pub batch: String,
    /// Kind and precision of the result.
    pub column: Column,
}

impl Call {
    /// Whether it goes by the order of rows.
    pub fn is_ordered(&self) -> bool {
        self.stream != self.batch
    }
}

/// One to `most` calls over the rows of `input`.
pub fn calls(draft: &mut Draft, input: &Rel, place: Place, most: usize) -> Vec<Call> {
    (0..1 + draft.dice.below(most)).map(|_| call(draft, input, place)).collect()
}

/// A call over the rows of `input`.
pub fn call(draft: &mut Draft, input: &Rel, place: Place) -> Call {
    let mut made = plain(draft, input, place);
    if draft.dice.chance(20) && place != Place::Over {
        let condition = draft.condition(&input.columns, 1);
        made.stream.push_str(&format!(" FILTER (WHERE {condition})"));
        made.batch.push_str(&format!(" FILTER (WHERE {condition})"));
    }
    made
}

fn plain(draft: &mut Draft, input: &Rel, place: Place) -> Call {
    if input.columns.is_empty() || draft.dice.chance(15) {
        return both("COUNT(*)".to_owned(), Kind::Whole, Precision::Sums);
    }
    let argument = match draft.dice.chance(70) {
        true => draft.dice.pick(&input.columns).clone(),
        false => draft.value(&input.columns, 1),
    };
    if let (true, true, Some(time), Some(id)) = (place == Place::Ordered, input.ordered, &input.time, &input.id)
        && draft.dice.chance(20)
    {
        return ordered(&mut draft.dice, argument, &format!("{time}, {id}"));
    }
    let dice = &mut draft.dice;
    let name = argument.name.as_str();
    // Counting different values, or the one in the middle, needs each to the last bit.
    let exact = argument.precision < Precision::Loose;
    let choice = dice.below(10);
    let (text, kind, precision) = match (choice, argument.kind) {
        (0, _) => (format!("COUNT({name})"), Kind::Whole, Precision::Sums),
        (1, _) if exact && place != Place::Over => (format!("COUNT(DISTINCT {name})"), Kind::Whole, Precision::Sums),
        (2 | 3, kind) => (format!("{}({name})", dice.pick(&["MIN", "MAX"])), kind, argument.precision),
        (4 | 5, Kind::Whole) => (format!("SUM({name})"), Kind::Whole, Precision::Sums),
        (6, Kind::Whole) if place != Place::Over => (format!("SUM(DISTINCT {name})"), Kind::Whole, Precision::Sums),
        (7, Kind::Whole) if place != Place::Over => {
            (format!("{}({name})", dice.pick(&["BIT_AND", "BIT_OR", "BIT_XOR"])), Kind::Whole, Precision::Sums)
        }
        (8, Kind::Whole) => (format!("AVG(CAST({name} AS DOUBLE))"), Kind::Double, Precision::Exact),
        (4 | 5, Kind::Double) => (format!("SUM({name})"), Kind::Double, sum(argument.precision)),
        (6, Kind::Double) => (format!("AVG({name})"), Kind::Double, average(argument.precision)),
        (7, Kind::Double) => {
            let function = *dice.pick(&["STDDEV", "STDDEV_POP", "VAR_POP", "VAR_SAMP"]);
            // Over a frame the oracle needs exact sums.
            let function = if place == Place::Over && argument.precision > Precision::Sums { "AVG" } else { function };
            (format!("{function}({name})"), Kind::Double, Precision::Loose)
        }
        (8, Kind::Double) if exact && place != Place::Over => (format!("MEDIAN({name})"), Kind::Double, Precision::Exact),
        (_, Kind::Truth) if choice > 5 && place != Place::Over => {
            (format!("{}({name})", dice.pick(&["BOOL_AND", "BOOL_OR"])), Kind::Truth, Precision::Sums)
        }
        (_, kind) => (format!("MAX({name})"), kind, argument.precision),
    };
    both(text, kind, precision)
}

/// A call that goes by the order of time, which is `order` to the last row.
fn ordered(dice: &mut Dice, argument: Column, order: &str) -> Call {
    let name = argument.name.as_str();
    let (function, rest, kind) = match (dice.below(3), argument.kind) {
        (0, kind) => ("FIRST_VALUE", "", kind),
        (1, Kind::Text) => ("STRING_AGG", ", ','", Kind::Text),
        (_, kind) => ("LAST_VALUE", "", kind),
    };
    let (stream, batch) = (format!("{function}({name}{rest})"), format!("{function}({name}{rest} ORDER BY {order})"));
    Call { stream, batch, column: Column { name: String::new(), kind, precision: argument.precision } }
}

/// A call over a frame, as the oracle has it. Its variances lose digits when rows leave the frame, and below 0 their root is no number: it
/// is told to take sums, which are exact.
pub fn over_frame(call: &str, over: &str) -> String {
    let of = |function: &str| call.strip_prefix(function).and_then(|rest| rest.strip_suffix(')'));
    let spread = |x: &str, least: u8| {
        let sum = |what: &str| format!("SUM({what}) OVER ({over})");
        let count = format!("CAST(COUNT({x}) OVER ({over}) AS DOUBLE)");
        let (total, squares) = (sum(x), sum(&format!("({x}) * ({x})")));
        format!("(({squares} - ({total}) * ({total}) / {count}) / NULLIF({count} - {least}.0, 0.0))")
    };
    let (sample, whole) = (of("STDDEV("), of("STDDEV_POP("));
    if let Some(x) = sample.or(whole) {
        return format!("SQRT({})", spread(x, u8::from(sample.is_some())));
    }
    match (of("VAR_SAMP("), of("VAR_POP(")) {
        (Some(x), _) => spread(x, 1),
        (_, Some(x)) => spread(x, 0),
        _ => format!("{call} OVER ({over})"),
    }
}

fn both(text: String, kind: Kind, precision: Precision) -> Call {
    Call { stream: text.clone(), batch: text, column: Column { name: String::new(), kind, precision } }
}

fn sum(of: Precision) -> Precision {
    if of == Precision::Sums { Precision::Sums } else { Precision::Loose }
}

fn average(of: Precision) -> Precision {
    if of == Precision::Sums { Precision::Exact } else { Precision::Loose }
}
