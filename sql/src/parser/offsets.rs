//! Where a place of a text is in its bytes. Invariant: lines and columns count as the tokenizer counts them: from 1, a column a
//! character; asking for places in their order walks over the text once.

use std::cell::Cell;

use sqlparser::tokenizer::Location;

/// Byte offsets of the places of a text.
#[derive(Debug)]
pub(super) struct Offsets<'a> {
    text: &'a str,
    /// The place that was asked for last, and its offset.
    last: Cell<(u64, u64, usize)>,
}

impl<'a> Offsets<'a> {
    /// Of this text.
    pub(super) fn of(text: &'a str) -> Self {
        Self { text, last: Cell::new((1, 1, 0)) }
    }

    /// The text between two places; what lies behind its end counts as its end.
    pub(super) fn slice(&self, from: Location, to: Location) -> &'a str {
        let (from, to) = (self.offset(from), self.offset(to));
        self.text.get(from..to).unwrap_or("")
    }

    /// Byte offset of a place.
    pub(super) fn offset(&self, at: Location) -> usize {
        let (mut line, mut column, mut offset) = self.last.get();
        if (at.line, at.column) < (line, column) {
            (line, column, offset) = (1, 1, 0);
        }
        for c in self.text.get(offset..).unwrap_or("").chars() {
            if (line, column) >= (at.line, at.column) {
                break;
            }
            (line, column) = if c == '\n' { (line + 1, 1) } else { (line, column + 1) };
            offset += c.len_utf8();
        }
        self.last.set((line, column, offset));
        offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_in_any_order() {
        let offsets = Offsets::of("ä b\n\ncd\n");
        let at = |line, column| offsets.offset(Location { line, column });
        assert_eq!([at(1, 1), at(1, 2), at(1, 3), at(3, 2), at(1, 3), at(2, 1), at(9, 9)], [0, 2, 3, 7, 3, 5, 9]);
        assert_eq!(offsets.slice(Location { line: 1, column: 3 }, Location { line: 3, column: 2 }), "b\n\nc");
    }
}
