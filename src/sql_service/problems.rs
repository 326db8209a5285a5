//! What is wrong with tables and jobs. Invariant: a problem is told for as long as it lasts, wherever somebody looks, and is logged
//! when it comes and when it goes.

use std::collections::BTreeMap;

use thalweg_engine::error::{ErrorKind, Result};
use thalweg_engine::metrics::JobCounters;
use thalweg_engine::runtime::JobState;

use super::{Engine, lock};

/// When a statement is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occasion {
    /// Somebody gives it, and is told what is wrong.
    Given,
    /// It is stored: a damaged table of the lake fails the jobs that write it, and nothing else.
    Restart,
}

impl Occasion {
    /// Damage as a value at a restart, as an error when somebody waits for an answer.
    pub(super) fn settle<T>(self, result: Result<T>) -> Result<Result<T>> {
        match result {
            Err(e) if self == Self::Restart && e.kind() == ErrorKind::Corrupt => Ok(Err(e)),
            other => other.map(Ok),
        }
    }
}

impl Engine {
    /// Problems of tables, jobs and savepoints, a sentence each.
    pub fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> = self.table_problems().into_values().collect();
        problems.extend(self.parts.supervisor.problems());
        for job in self.parts.supervisor.list() {
            problems.extend(imbalance(&job.name, &job.committed));
            if let JobState::Failed(why) | JobState::Restarting(why) = job.life {
                problems.push(format!("job {}: {why}", job.name));
            }
        }
        problems
    }

    /// Problems of tables by the name that `SHOW TABLES` prints.
    pub(super) fn table_problems(&self) -> BTreeMap<String, String> {
        let damaged = self.parts.lake.damaged().iter().map(|d| (d.full_name(), d.error.to_string()));
        let references = lock(&self.references);
        let unread = references.iter().filter_map(|(name, loaded)| Some((name.to_string(), loaded.problem()?)));
        damaged.chain(unread).collect()
    }
}

/// What is wrong with the counts of a job at its last checkpoint, where they must balance.
fn imbalance(job: &str, committed: &JobCounters) -> Option<String> {
    let (rows, windows) = (committed.row_balance(), committed.window_balance());
    let differ = |what: &str, by: i128| (by != 0).then(|| format!("{what} differ by {by}"));
    let found: Vec<String> =
        [differ("consumed and accounted rows", rows), differ("rows in windows and rows of closed and open windows", windows)]
            .into_iter()
            .flatten()
            .collect();
    (!found.is_empty()).then(|| {
        format!(
            "job {job}: {} at its last checkpoint: its results may lack rows or have them twice; keep the data directory and report this, \
             and write the results anew from the log with another job into another table",
            found.join(", ")
        )
    })
}

/// What became of a problem between two looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It is there, and was not before or was another one.
    Came,
    /// It is gone.
    Went,
    /// Nothing.
    None,
}

/// Compares a problem with the one of the last look.
pub(super) fn change(before: Option<&str>, now: Option<&str>) -> Change {
    match (before, now) {
        (before, Some(now)) if before != Some(now) => Change::Came,
        (Some(_), None) => Change::Went,
        _ => Change::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_that_do_not_balance_are_told_with_their_difference() {
        let fine = JobCounters { consumed: 9, filtered: 2, aggregated: 7, emitted: 4, open: 3, ..JobCounters::default() };
        assert_eq!(imbalance("j", &fine), None);
        let lost = imbalance("j", &JobCounters { filtered: 1, ..fine.clone() }).unwrap();
        assert!(lost.starts_with("job j: consumed and accounted rows differ by 1 at its last checkpoint: "), "{lost}");
        let doubled = imbalance("j", &JobCounters { consumed: 8, open: 4, ..fine }).unwrap();
        assert!(
            doubled.contains("accounted rows differ by -1, rows in windows and rows of closed and open windows differ by -1 at"),
            "{doubled}"
        );
    }

    #[test]
    fn a_problem_is_told_when_it_comes_changes_and_goes() {
        for (before, now, want) in [
            (None, None, Change::None),
            (None, Some("missing"), Change::Came),
            (Some("missing"), Some("missing"), Change::None),
            (Some("missing"), Some("broken"), Change::Came),
            (Some("broken"), None, Change::Went),
        ] {
            assert_eq!(change(before, now), want, "{before:?} {now:?}");
        }
    }
}
