//! The comparison of both sides. Invariant: a case is right if the rows that the stream's query leaves are those of the batch query, and no
//! change takes back a row that is not there.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::error::ArrowError;
use thalweg_engine::changes::{Changes, RowKind};
use thalweg_engine::error::Error;
use thalweg_engine::plan::JobPlan;
use thalweg_replay::{Before, Database, Ran, run_pieces, shown};

use crate::bugs::Bug;
use crate::case::Case;
use crate::data::{self, Entry, batches, records};
use crate::fate::{Fate, check_late};
use crate::oracle::Oracle;
use crate::tables::{TABLES, create_reference};
use crate::values::{Row, Value, differences, rows};
use crate::way::Way;

/// What became of a case.
#[derive(Debug)]
pub enum Verdict {
    /// So many rows, the same on both sides, without so many that are late.
    Same {
        /// Rows.
        rows: usize,
        /// Late ones.
        late: usize,
    },
    /// The stream's query is refused.
    Refused(String),
    /// The oracle fails, or what is late is in doubt.
    NotJudged(String),
    /// They differ.
    Differs(Difference),
}

/// How the sides differ.
#[derive(Debug, Clone)]
pub enum Difference {
    /// A side failed.
    Failed(String),
    /// Rows that only one side has: the stream, the oracle.
    Rows(Vec<Row>, Vec<Row>),
}

/// Both sides, ready for cases.
pub struct Judge {
    database: Database,
    oracle: Oracle,
    bug: Option<Bug>,
}

impl Judge {
    /// With the tables of all cases.
    pub fn new(bug: Option<Bug>) -> Result<Self, String> {
        let mut database = Database::new().map_err(|e| e.to_string())?;
        let (reference, file) = create_reference();
        let (path, content) = file.split_once('\n').unwrap_or((&file, ""));
        database.file(path, &format!("{content}\n")).map_err(|e| e.to_string())?;
        for create in TABLES.iter().map(|t| t.create()).chain([reference]) {
            database.prepare(&create).map_err(|e| format!("{create}: {e}"))?;
        }
        Ok(Self { database, oracle: Oracle::new().map_err(|e| e.to_string())?, bug })
    }

    /// Judges a case.
    pub fn judge(&mut self, case: &Case) -> Verdict {
        self.judge_rows(case, &case.entries, &case.way)
    }

    /// Judges a case with other rows and run in another way. A panic is a difference like any other.
    pub fn judge_rows(&mut self, case: &Case, entries: &[Entry], way: &Way) -> Verdict {
        let judged = catch_unwind(AssertUnwindSafe(|| self.compare(case, entries, way)));
        judged.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
            failed(&format!("a panic: {}", text.unwrap_or("without a message")))
        })
    }

    fn compare(&mut self, case: &Case, entries: &[Entry], way: &Way) -> Verdict {
        // What the case before has set is not for this one.
        let plan = match self.database.prepare("RESET").and_then(|_| self.database.plan(&case.query.stream)) {
            Ok(Some(plan)) => plan,
            Ok(None) => return failed("it is not a query over streams"),
            Err(e) => return Verdict::Refused(reason(e.message())),
        };
        let fates: Vec<Fate> = TABLES.iter().map(|t| Fate::of(&plan, t.name)).collect();
        let fed: Vec<Entry> = entries.iter().filter(|e| !e.stray || fates[e.table] != Fate::Open).cloned().collect();
        let Some(late) = data::late(&fed, way.partitions) else {
            return Verdict::NotJudged("what is late is in doubt".to_owned());
        };
        let is_left_out = |(e, late): (&Entry, bool)| late && matches!(fates[e.table], Fate::Late { .. });
        let left_out: Vec<bool> = fed.iter().zip(late).map(is_left_out).collect();
        let want = match self.want(case, &fed, &left_out) {
            Ok(rows) => rows,
            Err(e) => return Verdict::NotJudged(cause(&e.to_string())),
        };
        let ran = match self.ran(&plan, &fed, way) {
            Ok(ran) => ran,
            Err(e) => return failed(&format!("the stream: {e}")),
        };
        if self.bug.is_none()
            && let Err(e) = check_late(&ran.late, &fed, &left_out, &fates)
        {
            return failed(&e);
        }
        match self.got(&plan, &ran) {
            Ok(got) => match differences(&got, &want) {
                (a, b) if a.is_empty() && b.is_empty() => Verdict::Same { rows: want.len(), late: left_out.iter().filter(|l| **l).count() },
                (a, b) => Verdict::Differs(Difference::Rows(a, b)),
            },
            Err(e) => failed(&format!("the stream: {e}")),
        }
    }

    fn want(&self, case: &Case, entries: &[Entry], left_out: &[bool]) -> Result<Vec<Row>, datafusion::error::DataFusionError> {
        let missing = (self.bug == Some(Bug::NullIsZero)).then_some(0);
        let counts = |(e, out): (&Entry, &bool)| (!out || self.bug == Some(Bug::LateKept)).then(|| e.clone());
        let known: Vec<Entry> = entries.iter().zip(left_out).filter_map(counts).collect();
        self.oracle.fill(batches(&known, missing)?)?;
        self.oracle.rows(&case.query.batch)
    }

    fn ran(&self, plan: &JobPlan, entries: &[Entry], way: &Way) -> Result<Ran, Error> {
        let mut fed = records(entries);
        match (self.bug, fed.len() / 2) {
            (Some(Bug::RecordLost), middle) if middle > 0 => drop(fed.remove(middle)),
            (Some(Bug::RecordRepeated), middle) if middle > 0 => fed.insert(middle, fed[middle].clone()),
            _ => {}
        }
        let again = if self.bug == Some(Bug::StateForgotten) { Before::Forget } else { Before::Restart };
        run_pieces(plan, &self.database.needed(plan), way.pieces(&fed, again), way.partitions, way.threads)
    }

    fn got(&self, plan: &JobPlan, ran: &Ran) -> Result<Vec<Row>, Error> {
        let output = plan.outputs.first().ok_or_else(|| Error::internal("a plan without an output"))?;
        let changes = ran.outputs.first().map_or(&[][..], Vec::as_slice);
        if !output.updating && changes.iter().any(|c| c.kinds.is_some()) {
            return Err(Error::internal("rows change that were planned not to"));
        }
        self.left(changes)
    }

    /// What is left of all changes.
    fn left(&self, changes: &[Changes]) -> Result<Vec<Row>, Error> {
        let mut left: BTreeMap<Vec<String>, (Row, i64)> = BTreeMap::new();
        for batch in changes {
            let values = rows(&batch.rows).map_err(|e: ArrowError| Error::internal(e.to_string()))?;
            for (i, (text, row)) in shown(&batch.rows)?.into_iter().zip(values).enumerate() {
                if self.bug == Some(Bug::OldRowsKept) && batch.kind(i) == RowKind::UpdateBefore {
                    continue;
                }
                let (_, count) = left.entry(text.clone()).or_insert((row, 0));
                *count += if batch.kind(i).adds() { 1 } else { -1 };
                if *count < 0 {
                    return Err(Error::internal(format!("{text:?} is taken back and was not there")));
                }
            }
        }
        let times = |(row, count): (Row, i64)| std::iter::repeat_n(row, usize::try_from(count).unwrap_or(0));
        Ok(left.into_values().flat_map(times).collect())
    }
}

/// The first line of a refusal, without the place.
fn reason(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ':' || c == ' ').to_owned()
}

/// What an error of the oracle is about, without the names and values of one case.
fn cause(error: &str) -> String {
    let line = error.lines().next().unwrap_or_default();
    line.split(['(', '\'', '"']).next().unwrap_or_default().trim_end().to_owned()
}

fn failed(what: &str) -> Verdict {
    Verdict::Differs(Difference::Failed(what.to_owned()))
}

/// What a side has and the other has not, some lines.
pub fn told(rows: &[Row], most: usize) -> Vec<String> {
    let line = |row: &Row| row.iter().map(Value::to_string).collect::<Vec<_>>().join(" | ");
    let mut lines: Vec<String> = rows.iter().take(most).map(line).collect();
    if rows.len() > most {
        lines.push(format!("and {} more", rows.len() - most));
    }
    lines
}
