//! Random expressions. Invariant: none can fail on any row, and both sides read the same text in the same way.

use thalweg_engine::time::{MILLISECOND, Micros, SECOND};

use crate::clock::{self, Clock};
use crate::columns::{Column, Kind, Precision};
use crate::dice::Dice;

/// Texts that conditions look for.
const WORDS: [&str; 8] = ["'a'", "'b'", "'c'", "'long key'", "'north'", "''", "'it''s'", "'%x_'"];
/// Patterns of LIKE.
const PATTERNS: [&str; 6] = ["'%a%'", "'a%'", "'_'", "'%key'", "''", "'%ö%'"];

/// Writes expressions over columns.
pub struct Expressions<'a> {
    dice: &'a mut Dice,
    clock: Clock,
    columns: &'a [Column],
}

impl<'a> Expressions<'a> {
    /// Over `columns`, which should be exact.
    pub fn new(dice: &'a mut Dice, clock: Clock, columns: &'a [Column]) -> Self {
        Self { dice, clock, columns }
    }

    /// A column of that kind; none if there is none.
    fn column(&mut self, kind: Kind) -> Option<Column> {
        let of_kind: Vec<&Column> = self.columns.iter().filter(|c| c.kind == kind).collect();
        if of_kind.is_empty() { None } else { Some((*self.dice.pick(&of_kind)).clone()) }
    }

    /// An expression of a kind that the columns have, not a literal alone.
    pub fn any(&mut self, depth: u32) -> Column {
        let kind = if self.columns.is_empty() { Kind::Whole } else { self.dice.pick(self.columns).kind };
        self.value(kind, depth)
    }

    /// An expression of a kind.
    pub fn value(&mut self, kind: Kind, depth: u32) -> Column {
        if depth == 0 || self.dice.chance(25) {
            return self.leaf(kind);
        }
        match (self.dice.below(8), kind) {
            (0, _) => self.case(kind, depth - 1),
            (1, _) => self.two("COALESCE(", ", ", ")", kind, depth - 1),
            (2, _) => {
                let nulled = self.two("NULLIF(", ", ", ")", kind, depth - 1);
                Column { name: format!("CAST({} AS {})", nulled.name, sql(kind)), ..nulled }
            }
            (_, Kind::Whole) => self.whole(depth - 1),
            (_, Kind::Double) => self.double(depth - 1),
            (_, Kind::Text) => self.text(depth - 1),
            (_, Kind::Time) => self.time(depth - 1),
            (_, Kind::Truth) => Column::exact(self.condition(depth), Kind::Truth),
        }
    }

    fn leaf(&mut self, kind: Kind) -> Column {
        let literal = self.dice.chance(15);
        match self.column(kind).filter(|_| !literal) {
            Some(column) => column,
            None => Column::exact(self.literal(kind), kind),
        }
    }

    fn literal(&mut self, kind: Kind) -> String {
        match kind {
            Kind::Whole => match self.dice.within(-20..20) {
                n if n < 0 => format!("({n})"),
                n => n.to_string(),
            },
            Kind::Double => match self.dice.within(-40..40) as f64 * 0.25 {
                x if x < 0.0 => format!("({x:?})"),
                x => format!("{x:?}"),
            },
            Kind::Text => (*self.dice.pick(&WORDS)).to_owned(),
            Kind::Truth => (*self.dice.pick(&["TRUE", "FALSE"])).to_owned(),
            Kind::Time => clock::literal(self.moment()),
        }
    }

    /// A time about where the rows are.
    fn moment(&mut self) -> Micros {
        let Clock { start, length } = self.clock;
        start + self.dice.within(0..(length / MILLISECOND).max(1)) * MILLISECOND
    }

    fn two(&mut self, open: &str, between: &str, close: &str, kind: Kind, depth: u32) -> Column {
        let (a, b) = (self.value(kind, depth), self.value(kind, depth));
        Column { name: format!("{open}{}{between}{}{close}", a.name, b.name), kind, precision: a.precision.max(b.precision) }
    }

    fn case(&mut self, kind: Kind, depth: u32) -> Column {
        let (when, a) = (self.condition(depth), self.value(kind, depth));
        if self.dice.chance(30) {
            return Column { name: format!("CASE WHEN {when} THEN {} END", a.name), ..a };
        }
        let b = self.value(kind, depth);
        let precision = a.precision.max(b.precision);
        Column { name: format!("CASE WHEN {when} THEN {} ELSE {} END", a.name, b.name), kind, precision }
    }

    fn whole(&mut self, depth: u32) -> Column {
        let kind = Kind::Whole;
        let (choice, factor) = (self.dice.below(10), self.dice.within(2..6));
        let one = |this: &mut Self, open: &str, close: &str| {
            let a = this.value(kind, depth);
            Column { name: format!("{open}{}{close}", a.name), ..a }
        };
        match choice {
            0 | 1 => self.two("(", " + ", ")", kind, depth),
            2 => self.two("(", " - ", ")", kind, depth),
            3 => one(self, "(", &format!(" * {factor})")),
            4 => one(self, "(", &format!(" % {factor})")),
            5 => one(self, "(", &format!(" / {factor})")),
            6 => one(self, "ABS(", ")"),
            7 => self.two(if factor > 3 { "GREATEST(" } else { "LEAST(" }, ", ", ")", kind, depth),
            8 => {
                let text = self.value(Kind::Text, depth);
                let call = if factor > 3 { format!("CHAR_LENGTH({})", text.name) } else { format!("TRY_CAST({} AS BIGINT)", text.name) };
                Column::exact(format!("CAST({call} AS BIGINT)"), kind)
            }
            _ => {
                let time = self.value(Kind::Time, depth);
                let part = *self.dice.pick(&["second", "minute", "hour"]);
                Column::exact(format!("CAST(date_part('{part}', {}) AS BIGINT)", time.name), kind)
            }
        }
    }

    fn double(&mut self, depth: u32) -> Column {
        let kind = Kind::Double;
        let choice = self.dice.below(10);
        let one = |this: &mut Self, open: &str, close: &str, precision: Precision| {
            let a = this.value(kind, depth);
            Column { name: format!("{open}{}{close}", a.name), kind, precision: a.precision.max(precision) }
        };
        match choice {
            0 | 1 => self.two("(", " + ", ")", kind, depth),
            2 => self.two("(", " - ", ")", kind, depth),
            3 => one(self, "(", " * 2)", Precision::Sums),
            4 => one(self, "(", " / 3)", Precision::Exact),
            5 => one(self, "ABS(", ")", Precision::Sums),
            6 => one(self, "SQRT(ABS(", "))", Precision::Exact),
            7 => {
                let function = *self.dice.pick(&["FLOOR(", "CEIL("]);
                one(self, function, ")", Precision::Sums)
            }
            8 => {
                let whole = self.value(Kind::Whole, depth);
                Column::exact(format!("CAST({} AS DOUBLE)", whole.name), kind)
            }
            _ => {
                let whole = self.value(Kind::Whole, depth);
                Column::exact(format!("({} * 0.5)", whole.name), kind)
            }
        }
    }

    fn text(&mut self, depth: u32) -> Column {
        let kind = Kind::Text;
        let choice = self.dice.below(9);
        let one = |this: &mut Self, open: &str, close: &str| {
            let a = this.value(kind, depth);
            Column { name: format!("{open}{}{close}", a.name), ..a }
        };
        match choice {
            0 => one(self, "UPPER(", ")"),
            1 => one(self, "LOWER(", ")"),
            2 => one(self, "TRIM(", ")"),
            3 => one(self, "SUBSTR(", ", 2, 3)"),
            4 => one(self, "REPLACE(", ", 'a', 'xy')"),
            5 => one(self, "REVERSE(", ")"),
            6 => self.two("(", " || ", ")", kind, depth),
            7 => self.two("CONCAT(", ", ", ")", kind, depth),
            _ => {
                let whole = self.value(Kind::Whole, depth);
                Column::exact(format!("CAST({} AS STRING)", whole.name), kind)
            }
        }
    }

    fn time(&mut self, depth: u32) -> Column {
        let time = self.value(Kind::Time, depth);
        let length = clock::interval(self.dice.within(1..200) * SECOND / 4);
        let text = match self.dice.below(4) {
            0 => format!("({} + {length})", time.name),
            1 => format!("({} - {length})", time.name),
            // What lies behind a NULL may be no time at all, and in a build with checks date_trunc panics over it.
            choice => {
                format!("date_trunc('{}', COALESCE({}, {}))", ["minute", "second"][choice % 2], time.name, clock::literal(self.moment()))
            }
        };
        Column { name: text, ..time }
    }

    /// A condition: true, false or NULL.
    pub fn condition(&mut self, depth: u32) -> String {
        if depth > 0 && self.dice.chance(35) {
            let (a, b) = (self.condition(depth - 1), self.condition(depth - 1));
            return match self.dice.below(4) {
                0 => format!("NOT ({a})"),
                1 => format!("({a} AND {b})"),
                2 => format!("({a}) IS NOT TRUE"),
                _ => format!("({a} OR {b})"),
            };
        }
        let kind = if self.columns.is_empty() { Kind::Whole } else { self.dice.pick(self.columns).kind };
        let depth = depth.saturating_sub(1);
        let a = self.value(kind, depth).name;
        match (self.dice.below(9), kind) {
            (0, _) if self.dice.chance(50) => format!("({a} IS NULL)"),
            (0 | 1, _) => format!("({a} IS NOT NULL)"),
            (2, Kind::Text) => format!("({a} LIKE {})", self.dice.pick(&PATTERNS)),
            (2 | 3, Kind::Truth) => a,
            (2, _) => {
                let (low, high) = (self.value(kind, depth).name, self.value(kind, depth).name);
                format!("({a} {}BETWEEN {low} AND {high})", if self.dice.chance(30) { "NOT " } else { "" })
            }
            (3, _) => {
                let list: Vec<String> = (0..1 + self.dice.below(3)).map(|_| self.literal(kind)).collect();
                format!("({a} {}IN ({}))", if self.dice.chance(30) { "NOT " } else { "" }, list.join(", "))
            }
            // In parentheses, because the parser takes what follows for the other side.
            (4, _) => format!("({a} IS DISTINCT FROM {})", self.value(kind, depth).name),
            (choice, _) => {
                let operator = *self.dice.pick(&["<", "<=", ">", ">=", "=", "<>"]);
                let b = if choice < 7 { self.literal(kind) } else { self.value(kind, depth).name };
                format!("({a} {operator} {b})")
            }
        }
    }
}

/// SQL type of a kind.
pub fn sql(kind: Kind) -> &'static str {
    match kind {
        Kind::Whole => "BIGINT",
        Kind::Double => "DOUBLE",
        Kind::Text => "STRING",
        Kind::Truth => "BOOLEAN",
        Kind::Time => "TIMESTAMP(6)",
    }
}
