//! Random windows. Invariant: the oracle's are made row by row from their definition, and know nothing of slices or panes.

use thalweg_engine::time::{MILLISECOND, Micros, SECOND};

use crate::bugs::Bug;
use crate::clock::{interval, literal};
use crate::columns::{Column, Kind};
use crate::draft::{Draft, Rel};

/// Kind of a window with its sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// End to end.
    Tumble {
        /// Size.
        size: Micros,
    },
    /// Of one size, one every slide.
    Hop {
        /// Slide.
        slide: Micros,
        /// Size.
        size: Micros,
    },
    /// Growing by a step.
    Cumulate {
        /// Step.
        step: Micros,
        /// Size.
        size: Micros,
    },
}

/// A window with its offset.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// The window.
    pub window: Window,
    /// Offset.
    pub offset: Micros,
}

/// The columns that a window adds.
pub fn columns() -> [Column; 3] {
    ["window_start", "window_end", "window_time"].map(|name| Column::exact(name, Kind::Time))
}

/// A length of about `length / parts`, in steps that make edges meet rows.
pub fn about(draft: &mut Draft, parts: i64) -> Micros {
    let wanted = (draft.clock.length / parts).max(MILLISECOND * 250);
    let unit = *draft.dice.pick(&[MILLISECOND * 250, SECOND, SECOND, 5 * SECOND]);
    ((draft.dice.within(1..200) * wanted / 100) / unit).max(1) * unit
}

/// A random window for `kind`, or for any.
pub fn spec(draft: &mut Draft, kind: Option<&str>) -> Spec {
    let kind = kind.unwrap_or(["tumble", "hop", "cumulate"][draft.dice.below(3)]);
    let parts = draft.dice.within(2..30);
    let unit = about(draft, parts);
    let window = match kind {
        "tumble" => Window::Tumble { size: unit },
        "hop" => match draft.dice.below(4) {
            // Sizes that are no multiple of the slide, and gaps between windows.
            0 => Window::Hop { slide: unit, size: unit * 3 / 2 / MILLISECOND * MILLISECOND },
            1 => Window::Hop { slide: unit * 2, size: unit },
            _ => Window::Hop { slide: unit, size: unit * draft.dice.within(1..6) },
        },
        _ => Window::Cumulate { step: unit, size: unit * draft.dice.within(1..6) },
    };
    let offset = match draft.dice.below(5) {
        0 => draft.dice.within(-40..40) * SECOND / 4,
        1 => draft.dice.within(-7..7) * MILLISECOND,
        _ => 0,
    };
    Spec { window, offset }
}

impl Spec {
    /// The call over rows, as the stream's query has it.
    pub fn call(&self, draft: &mut Draft, table: &str, time: &str) -> String {
        let (name, sizes) = self.parts();
        let names = match self.window {
            Window::Tumble { .. } => vec!["SIZE"],
            Window::Hop { .. } => vec!["SLIDE", "SIZE"],
            Window::Cumulate { .. } => vec!["STEP", "SIZE"],
        };
        let mut sizes: Vec<(&str, String)> = names.into_iter().zip(sizes.into_iter().map(interval)).collect();
        if self.offset != 0 {
            sizes.push(("OFFSET", interval(self.offset)));
        }
        if draft.dice.chance(15) {
            let named: Vec<String> = sizes.iter().map(|(name, size)| format!("{name} => {size}")).collect();
            return format!("TABLE({name}(DATA => TABLE {table}, TIMECOL => DESCRIPTOR({time}), {}))", named.join(", "));
        }
        let sizes: Vec<String> = sizes.into_iter().map(|(_, size)| size).collect();
        let call = format!("{name}(TABLE {table}, DESCRIPTOR({time}), {})", sizes.join(", "));
        if draft.dice.chance(10) { call } else { format!("TABLE({call})") }
    }

    /// Name and sizes in the order of the call.
    pub fn parts(&self) -> (&'static str, Vec<Micros>) {
        match self.window {
            Window::Tumble { size } => ("TUMBLE", vec![size]),
            Window::Hop { slide, size } => ("HOP", vec![slide, size]),
            Window::Cumulate { step, size } => ("CUMULATE", vec![step, size]),
        }
    }

    /// Rows of the oracle with the columns of their windows: a row for each window that a row lies in.
    pub fn rows(&self, draft: &mut Draft, input: &Rel, time: &str) -> String {
        let (table, plain) = (&input.name, time);
        let last = "window_end - INTERVAL '1' MILLISECOND AS window_time";
        let shifted = draft.bug == Some(Bug::EdgeShifted);
        if let Window::Tumble { size } = self.window {
            let time = if shifted { format!("{time} - INTERVAL '1' MICROSECOND") } else { time.to_owned() };
            let start = format!("date_bin({}, {time}, {})", interval(size), literal(self.offset));
            let starts = format!("SELECT *, {start} AS window_start FROM {table}");
            let ends = format!("SELECT *, window_start + {} AS window_end FROM ({starts})", interval(size));
            return draft.define_batch(format!("SELECT *, {last} FROM ({ends})"));
        }
        let (every, lengths): (Micros, Vec<(Micros, Micros)>) = match self.window {
            Window::Tumble { size } => (size, vec![(0, size)]),
            Window::Hop { slide, size } => (slide, (0..(size + slide - 1) / slide).map(|n| (n * slide, size)).collect()),
            Window::Cumulate { step, size } => (size, (1..=size / step).map(|n| (0, n * step)).collect()),
        };
        let values: Vec<String> = lengths.iter().map(|(back, size)| format!("({}, {})", interval(*back), interval(*size))).collect();
        let (time, before) = if shifted { (format!("{time} - INTERVAL '1' MICROSECOND"), "<=") } else { (time.to_owned(), "<") };
        let starts = format!(
            "SELECT {table}.*, date_bin({}, {time}, {}) - w.back AS window_start, w.size FROM {table} CROSS JOIN (VALUES {}) AS w(back, size)",
            interval(every),
            literal(self.offset),
            values.join(", ")
        );
        let ends = format!("SELECT *, window_start + size AS window_end FROM ({starts})");
        draft.define_batch(format!("SELECT *, {last} FROM ({ends}) WHERE {} {before} window_end", plain))
    }
}
