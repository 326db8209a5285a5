//! Rankings in windows. Invariant: the ends of the window are among what is ranked by, so that the ranking is final when it closes.

use super::rank::ranked;
use super::{Gives, Shape};
use crate::draft::{Draft, Rel};
use crate::source;

/// The shape.
pub static SHAPE: Shape = Shape { name: "window_rank", gives: Gives::Rows, windowed: true, write };

fn write(draft: &mut Draft) -> Rel {
    let input = source::windowed(draft);
    let Some((start, end)) = input.window.clone() else { return input };
    let keys = draft.dice.some(&input.keys(), 1);
    let by = [start, end].into_iter().chain(keys.into_iter().map(|c| c.name)).collect();
    let made = ranked(draft, &input, by);
    Rel { time: None, ..made }
}
