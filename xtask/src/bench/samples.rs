//! What was measured. Invariant: a line is a measurement that ended well; nothing is overwritten, only forgotten on request.
//!
//! ```text
//! tumbling    Thalweg    10000000    2    seconds=4.0210 rows=5050 peak_bytes=157286400        row, who, events, run, figures
//! ```

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::rows::{Row, Who};

/// One run of one program.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    row: String,
    who: String,
    events: u64,
    run: usize,
    figures: Vec<(String, String)>,
}

/// All of them, in a file.
#[derive(Debug)]
pub struct Samples {
    path: PathBuf,
    all: Vec<Sample>,
}

impl Samples {
    /// Those of earlier runs; lines that cannot be read are left out.
    pub fn open(path: &Path) -> Result<Self, String> {
        let text = match std::fs::read_to_string(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            other => other.map_err(|e| format!("{}: {e}", path.display()))?,
        };
        Ok(Self { path: path.to_owned(), all: text.lines().filter_map(Sample::parse).collect() })
    }

    /// Forgets what was measured for these rows.
    pub fn forget(&mut self, rows: &[&Row]) -> Result<(), String> {
        self.all.retain(|s| rows.iter().all(|r| r.name != s.row));
        self.save()
    }

    /// Whether this was measured already.
    pub fn has(&self, row: &str, who: Who, events: u64, run: usize) -> bool {
        self.all.iter().any(|s| s.row == row && s.who == who.name() && s.events == events && s.run == run)
    }

    /// Takes the words `name=value` that a program printed.
    pub fn add(&mut self, row: &str, who: Who, events: u64, run: usize, words: &str) -> Result<(), String> {
        let line = format!("{row}\t{}\t{events}\t{run}\t{words}", who.name());
        let sample = Sample::parse(&line).ok_or_else(|| format!("{row}: {} printed no figures: {words}", who.name()))?;
        self.all.push(sample);
        self.save()
    }

    /// Every value of a figure, sorted.
    pub fn values(&self, row: &str, who: Who, events: u64, figure: &str) -> Vec<f64> {
        let of = |s: &&Sample| s.row == row && s.who == who.name() && s.events == events;
        let mut values: Vec<f64> = self.all.iter().filter(of).filter_map(|s| s.text(figure)?.parse().ok()).collect();
        values.sort_by(f64::total_cmp);
        values
    }

    /// The median of a figure, if it was measured.
    pub fn median(&self, row: &str, who: Who, events: u64, figure: &str) -> Option<f64> {
        median(&self.values(row, who, events, figure))
    }

    /// A word that some run printed.
    pub fn word(&self, who: Who, figure: &str) -> Option<&str> {
        self.all.iter().filter(|s| s.who == who.name()).find_map(|s| s.text(figure))
    }

    fn save(&self) -> Result<(), String> {
        let mut text = String::new();
        for Sample { row, who, events, run, figures } in &self.all {
            let words: Vec<String> = figures.iter().map(|(name, value)| format!("{name}={value}")).collect();
            writeln!(text, "{row}\t{who}\t{events}\t{run}\t{}", words.join(" ")).map_err(|e| e.to_string())?;
        }
        std::fs::write(&self.path, text).map_err(|e| format!("{}: {e}", self.path.display()))
    }
}

impl Sample {
    fn parse(line: &str) -> Option<Self> {
        let mut parts = line.splitn(5, '\t');
        let (row, who) = (parts.next()?.to_owned(), parts.next()?.to_owned());
        let (events, run) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let pair = |word: &str| word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        let figures: Vec<_> = parts.next()?.split_whitespace().filter_map(pair).collect();
        (!figures.is_empty()).then_some(Self { row, who, events, run, figures })
    }

    fn text(&self, figure: &str) -> Option<&str> {
        self.figures.iter().find(|(name, _)| name == figure).map(|(_, value)| value.as_str())
    }
}

/// The middle of sorted values, or the mean of the two in the middle.
fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

#[cfg(test)]
impl Samples {
    /// Samples that are in no file.
    pub fn of(lines: &[(&str, Who, u64, &str)]) -> Self {
        let sample = |(row, who, events, words): &(&str, Who, u64, &str)| {
            Sample::parse(&format!("{row}\t{}\t{events}\t1\t{words}", who.name())).expect("a test writes whole lines")
        };
        Self { path: PathBuf::new(), all: lines.iter().map(sample).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_of_what_was_measured() {
        let samples = Samples::of(&[
            ("a", Who::Thalweg, 1, "seconds=3"),
            ("a", Who::Thalweg, 1, "seconds=1"),
            ("a", Who::Thalweg, 1, "seconds=8 version=2"),
            ("a", Who::DuckDb, 1, "seconds=5"),
            ("a", Who::Thalweg, 2, "seconds=7"),
            ("a", Who::Thalweg, 2, "seconds=8"),
        ]);
        assert_eq!(samples.median("a", Who::Thalweg, 1, "seconds"), Some(3.0));
        assert_eq!(samples.median("a", Who::Thalweg, 2, "seconds"), Some(7.5));
        assert_eq!(samples.median("a", Who::Flink, 1, "seconds"), None);
        assert_eq!(samples.word(Who::Thalweg, "version"), Some("2"));
        assert!(samples.has("a", Who::DuckDb, 1, 1) && !samples.has("a", Who::DuckDb, 1, 2));
    }

    #[test]
    fn a_line_without_figures_is_no_sample() {
        assert_eq!(Sample::parse("a\tThalweg\t1\t1\tkilled"), None);
        assert_eq!(Sample::parse("a\tThalweg\tmany\t1\tseconds=1"), None);
    }
}
