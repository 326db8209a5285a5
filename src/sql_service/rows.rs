//! Rows as answers. Invariant: a live answer ends its query when its reader goes away, and a reader who is too slow is told how
//! much it missed; a finite one ends whole, or with the bound that it met.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;
use futures::{Stream, StreamExt, stream};
use thalweg_engine::error::{Error, Result};
use thalweg_engine::lake::{DamagedTable, LakeTable};
use thalweg_engine::limits::QUERY_ROWS_MAX;
use thalweg_engine::runtime::{JobState, JobStatus, Tail};
use thalweg_engine::state::Savepoint;
use thalweg_engine::time::{self, Micros, SECOND};
use thalweg_sql::{BatchQuery, BatchStream, TableDefinition, TableKind, without_secrets, without_settings};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use super::jobs::seconds;
use super::pool::QueryPool;
use crate::server::{Rows, RowsEnd, SqlOutcome};
use crate::units;

/// How often rows that do not come are asked about.
const LIVE_LOOK: Duration = Duration::from_secs(1);

/// The result of a query over the lake, which has to end within `time`.
pub(super) async fn batch(query: BatchQuery, time: Duration, pool: &QueryPool) -> Result<SqlOutcome> {
    let (schema, rows) = pool.run(query.execute()).await?;
    let stream = pool.compute(bounded(rows, QUERY_ROWS_MAX, time))?;
    Ok(SqlOutcome::Rows(Rows { schema, stream, end: RowsEnd::Finite }))
}

/// Rows up to a number and for a time; an error where they are cut.
fn bounded(rows: BatchStream, rows_max: u64, time: Duration) -> impl Stream<Item = Result<RecordBatch>> + Send {
    enum Next {
        Read(BatchStream, u64),
        Cut,
    }
    let deadline = Instant::now() + time;
    stream::unfold(Some(Next::Read(rows, rows_max)), move |next| async move {
        let (mut rows, left) = match next? {
            Next::Read(rows, left) => (rows, left),
            Next::Cut => return Some((Err(too_many_rows(rows_max)), None)),
        };
        match tokio::time::timeout_at(deadline, rows.next()).await {
            Err(_) => Some((Err(too_slow(time)), None)),
            Ok(None) => None,
            Ok(Some(Err(e))) => Some((Err(e), None)),
            Ok(Some(Ok(batch))) => match left.checked_sub(batch.num_rows() as u64) {
                Some(left) => Some((Ok(batch), Some(Next::Read(rows, left)))),
                // Fewer rows than the batch has, so the number fits.
                None => Some((Ok(batch.slice(0, left as usize)), Some(Next::Cut))),
            },
        }
    })
}

fn too_many_rows(rows_max: u64) -> Error {
    Error::invalid(format!("the result has more than {rows_max} rows and was cut there"))
        .hint("add LIMIT, or group the rows; whole tables are read from the lake's files, see the catalog")
}

fn too_slow(time: Duration) -> Error {
    Error::unavailable(format!("the query took longer than {} s and was ended", time.as_secs_f64()))
        .hint("read fewer days, rows or columns; the setting query-timeout allows more")
}

/// Rows that are there.
pub(super) fn finite(rows: RecordBatch) -> SqlOutcome {
    SqlOutcome::Rows(Rows { schema: rows.schema(), stream: stream::iter([Ok(rows)]).boxed(), end: RowsEnd::Finite })
}

/// Rows as they come. They end with the error of their query, if it fails.
pub(super) fn live(schema: SchemaRef, tail: Tail) -> SqlOutcome {
    let next = |tail: Option<Tail>| async move {
        let mut tail = tail?;
        loop {
            // The channel does not close when the query ends, since `tail` has a part in it: so the query is looked at.
            let closed = match tokio::time::timeout(LIVE_LOOK, tail.results.recv()).await {
                Ok(Ok(rows)) => return Some((Ok(rows), Some(tail))),
                Ok(Err(RecvError::Lagged(missed))) => {
                    let error = Error::unavailable(format!("the reader is too slow: {missed} batches were dropped"));
                    return Some((Err(error.hint("read faster, or let an INSERT job write a table")), Some(tail)));
                }
                Ok(Err(RecvError::Closed)) => true,
                Err(_) => false,
            };
            let life = tail.status().life;
            // What it gave last comes before its end.
            match life {
                _ if !tail.results.is_empty() => {}
                JobState::Failed(why) => return Some((Err(Error::unavailable(format!("the query has ended: {why}"))), None)),
                JobState::Stopped => return None,
                _ if closed => return None,
                JobState::Starting | JobState::Running | JobState::Restarting(_) => {}
            }
        }
    };
    SqlOutcome::Rows(Rows { schema, stream: stream::unfold(Some(tail), next).boxed(), end: RowsEnd::Live })
}

/// `SHOW JOBS`: what to look at first, as wide as a terminal; `DESCRIBE JOB` tells the rest, and figures in full.
pub(super) fn jobs(list: &[JobStatus], now: Micros) -> Result<SqlOutcome> {
    let text = |f: &dyn Fn(&JobStatus) -> String| -> ArrayRef { Arc::new(StringArray::from_iter_values(list.iter().map(f))) };
    let number = |f: &dyn Fn(&JobStatus) -> u64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(list.iter().map(|s| i64::try_from(f(s)).unwrap_or(i64::MAX))))
    };
    // To the second: the rest is of no use in a list.
    let watermark = list.iter().map(|s| s.watermark.map(|t| t.div_euclid(SECOND) * SECOND));
    let watermark = TimestampMicrosecondArray::from_iter(watermark).with_timezone("UTC");
    let checkpoint = StringArray::from_iter(list.iter().map(|s| checkpoint(s, now)));
    Ok(finite(RecordBatch::try_from_iter([
        ("job", text(&|s| s.name.clone())),
        ("state", text(&|s| state(&s.life).0.to_owned())),
        ("rate", text(&|s| units::rate(s.rate))),
        ("lag", text(&lag)),
        ("watermark", Arc::new(watermark) as ArrayRef),
        ("late", number(&|s| s.counters.late)),
        ("rejected", number(&|s| s.counters.rejected)),
        ("memory", text(&|s| units::bytes(s.usage.bytes))),
        ("checkpoint", Arc::new(checkpoint)),
        ("restarts", number(&|s| s.restarts)),
    ])?))
}

/// Records that were not read yet, and by how much the newest of them was received after the last one that was, if that is known.
fn lag(status: &JobStatus) -> String {
    let records = units::count(status.lag);
    match status.lag_time.filter(|_| status.lag > 0) {
        Some(time) => format!("{records}, {}", units::duration(time)),
        None => records,
    }
}

/// How long ago the last checkpoint was taken, and how long it took, if that is known.
fn checkpoint(status: &JobStatus, now: Micros) -> Option<String> {
    let age = units::duration(now.saturating_sub(status.checkpoint_at?));
    let took = status.checkpoint_took.map(|took| format!(", {}", units::duration(took.as_micros().try_into().unwrap_or(Micros::MAX))));
    Some(age + &took.unwrap_or_default())
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// Why a job does not go on, and when it is tried again.
fn problem(status: &JobStatus) -> Option<String> {
    let why = state(&status.life).1?;
    Some(match status.next_attempt.filter(|_| matches!(status.life, JobState::Restarting(_))) {
        Some(at) => format!("{why}; next attempt at {}", time::format(at)),
        None => why.to_owned(),
    })
}

/// `SHOW SAVEPOINTS`.
pub(super) fn savepoints(list: &[Savepoint]) -> Result<SqlOutcome> {
    let text = |f: &dyn Fn(&Savepoint) -> String| -> ArrayRef { Arc::new(StringArray::from_iter_values(list.iter().map(f))) };
    let number = |f: &dyn Fn(&Savepoint) -> u64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(list.iter().map(|s| i64::try_from(f(s)).unwrap_or(i64::MAX))))
    };
    let at = TimestampMicrosecondArray::from_iter(list.iter().map(|s| Some(s.at))).with_timezone("UTC");
    Ok(finite(RecordBatch::try_from_iter([
        ("savepoint", text(&|s| s.name.clone())),
        ("job", text(&|s| s.job.clone())),
        ("checkpoint", number(&|s| s.epoch)),
        ("taken_at", Arc::new(at) as ArrayRef),
        ("records", number(&|s| s.consumed)),
        ("bytes", number(&|s| s.bytes)),
        ("statement", text(&|s| without_secrets(without_settings(&s.sql).1))),
    ])?))
}

/// The life of a job as a word, and what is wrong with it.
fn state(life: &JobState) -> (&'static str, Option<&str>) {
    match life {
        JobState::Starting => ("starting", None),
        JobState::Running => ("running", None),
        JobState::Restarting(why) => ("restarting", Some(why)),
        JobState::Stopped => ("stopped", None),
        JobState::Failed(why) => ("failed", Some(why)),
    }
}

/// `DESCRIBE JOB`: everything about one job, a property a row.
pub(super) fn job(status: &JobStatus) -> Result<SqlOutcome> {
    let (word, problem) = (state(&status.life).0, problem(status));
    let c = &status.counters;
    let (settings, statement) = without_settings(&status.sql);
    let properties = [
        ("job", Some(status.name.clone())),
        ("state", Some(word.to_owned())),
        ("problem", problem),
        ("statement", Some(without_secrets(statement))),
        ("settings", Some(settings.to_owned()).filter(|s| !s.is_empty())),
        ("checkpoint", Some(status.epoch.to_string())),
        ("checkpoint_at", status.checkpoint_at.map(time::format)),
        ("checkpoint_ms", status.checkpoint_took.map(|d| millis(d).to_string())),
        ("restarts", Some(status.restarts.to_string())),
        ("state_bytes", Some(status.usage.bytes.to_string())),
        ("state_groups", Some(status.usage.groups.to_string())),
        ("watermark", status.watermark.map(time::format)),
        ("rate", Some(format!("{:.1}", status.rate))),
        ("lag", Some(status.lag.to_string())),
        ("lag_s", status.lag_time.map(|t| seconds(t).to_string())),
        ("consumed", Some(c.consumed.to_string())),
        ("lost", Some(c.lost.to_string())),
        ("expanded", Some(c.expanded.to_string())),
        ("filtered", Some(c.filtered.to_string())),
        ("aggregated", Some(c.aggregated.to_string())),
        ("passed", Some(c.passed.to_string())),
        ("late", Some(c.late.to_string())),
        ("rejected", Some(c.rejected.to_string())),
        ("emitted", Some(c.emitted.to_string())),
        ("open", Some(c.open.to_string())),
        ("held", Some(c.held.to_string())),
        ("windows", Some(c.windows.to_string())),
        ("written", Some(c.written.to_string())),
    ];
    let (names, values): (Vec<&str>, Vec<Option<String>>) = properties.into_iter().unzip();
    Ok(finite(RecordBatch::try_from_iter([
        ("property", Arc::new(StringArray::from(names)) as ArrayRef),
        ("value", Arc::new(StringArray::from(values))),
    ])?))
}

/// `SHOW TABLES`: those that are declared, then those of the lake, each with what is wrong with it.
pub(super) fn tables(
    declared: &[Arc<TableDefinition>],
    lake: &[Arc<LakeTable>],
    damaged: &[DamagedTable],
    problems: &BTreeMap<String, String>,
) -> Result<SqlOutcome> {
    let about = |d: &TableDefinition| match &d.kind {
        TableKind::Log { input } => ("log", format!("stream {}", input.stream)),
        TableKind::Source { connector, input, .. } => ("source", format!("{} into stream {}", connector.name, input.stream)),
        TableKind::Reference { path, .. } => ("reference", path.clone()),
        TableKind::Lake { description, .. } => ("lake", description.clone()),
        TableKind::View { query, .. } => ("view", query.clone()),
    };
    let mut rows: Vec<(String, &str, String)> = Vec::new();
    for definition in declared {
        let (kind, text) = about(definition);
        rows.push((definition.name.to_string(), kind, text));
    }
    let mut stored: Vec<(String, &str, String)> = lake.iter().map(|t| (t.full_name(), "lake", t.about().description)).collect();
    stored.extend(damaged.iter().map(|t| (t.full_name(), "lake", "damaged".to_owned())));
    stored.sort();
    rows.extend(stored);
    // A table of results has the problem of what is behind it.
    let behind = |name: &str, kind: &str| problems.get(name).or_else(|| problems.get(&format!("warm.{name}")).filter(|_| kind == "lake"));
    let problem = StringArray::from_iter(rows.iter().map(|(name, kind, _)| behind(name, kind)));
    let text = |f: &dyn Fn(&(String, &str, String)) -> String| -> ArrayRef { Arc::new(StringArray::from_iter_values(rows.iter().map(f))) };
    Ok(finite(RecordBatch::try_from_iter([
        ("table", text(&|r| r.0.clone())),
        ("kind", text(&|r| r.1.to_owned())),
        ("about", text(&|r| r.2.clone())),
        ("problem", Arc::new(problem) as ArrayRef),
    ])?))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Schema;
    use arrow::util::pretty::pretty_format_batches;
    use futures::TryStreamExt;
    use thalweg_engine::contract::Usage;
    use thalweg_engine::error::ErrorKind;
    use thalweg_engine::log::sim::SimDisk;
    use thalweg_engine::metrics::JobCounters;
    use thalweg_engine::plan::JobPlan;
    use thalweg_engine::runtime::{Environment, JobKind, JobSpec, StartAt, Supervisor};
    use thalweg_engine::system::SystemClock;

    use super::*;

    #[tokio::test]
    async fn busy_jobs_are_as_wide_as_a_terminal_and_what_is_unknown_is_null() {
        let job = |name: &str| JobStatus {
            name: name.to_owned(),
            sql: String::new(),
            life: JobState::Running,
            epoch: 7,
            checkpoint_at: Some(0),
            watermark: Some(1_767_225_600_500_000),
            lag: 340_000,
            lag_time: Some(12 * SECOND),
            rate: 1_180_000.0,
            usage: Usage { bytes: 340_000, groups: 3 },
            checkpoint_took: Some(Duration::from_millis(40)),
            restarts: 0,
            next_attempt: None,
            counters: JobCounters { late: 120, rejected: 12_345_678, ..JobCounters::default() },
            committed: JobCounters::default(),
        };
        let quiet = JobStatus { watermark: None, lag: 0, checkpoint_at: None, checkpoint_took: None, ..job("new") };
        let SqlOutcome::Rows(shown) = jobs(&[job("archive.telemetry"), quiet], 11 * SECOND).unwrap() else { panic!() };
        let shown = pretty_format_batches(&shown.stream.try_collect::<Vec<_>>().await.unwrap()).unwrap().to_string();
        let lines: Vec<String> = shown.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(lines[1], "| job | state | rate | lag | watermark | late | rejected | memory | checkpoint | restarts |");
        let busy =
            "| archive.telemetry | running | 1.2 M/s | 340 k, 12 s | 2026-01-01T00:00:00Z | 120 | 12345678 | 340 kB | 11 s, 40 ms | 0 |";
        assert_eq!(lines[3], busy);
        assert_eq!(lines[4], "| new | running | 1.2 M/s | 0 | | 120 | 12345678 | 340 kB | | 0 |");
        assert!(shown.lines().all(|line| line.chars().count() <= 130), "{shown}");
    }

    fn numbers(batches: usize) -> BatchStream {
        let batch = || RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from_iter_values(0..10)) as ArrayRef)]);
        stream::iter((0..batches).map(move |_| Ok(batch()?))).boxed()
    }

    #[tokio::test]
    async fn a_result_is_cut_after_so_many_rows_and_says_so() {
        let whole: Vec<RecordBatch> = bounded(numbers(3), 30, Duration::from_secs(9)).try_collect().await.unwrap();
        assert_eq!(whole.len(), 3);
        let cut: Vec<Result<RecordBatch>> = bounded(numbers(3), 25, Duration::from_secs(9)).collect().await;
        let rows: usize = cut.iter().flatten().map(RecordBatch::num_rows).sum();
        let error = cut.last().unwrap().as_ref().unwrap_err();
        assert_eq!((rows, error.kind()), (25, ErrorKind::Invalid));
        assert!(error.message().contains("more than 25 rows") && error.hint_text().unwrap().contains("LIMIT"), "{error}");
    }

    #[tokio::test]
    async fn a_live_query_that_fails_ends_with_the_reason() {
        let environment = Environment {
            disk: Arc::new(SimDisk::default()),
            clock: Arc::new(SystemClock::new()),
            directory: "checkpoints".into(),
            checkpoint_interval: Duration::from_secs(1),
        };
        let plan = JobPlan { scans: vec![], inputs: vec![], steps: vec![], outputs: vec![], parallelism: 1 };
        let tail = Supervisor::new(environment).tail(JobSpec {
            name: "tail".to_owned(),
            sql: String::new(),
            kind: JobKind::Query { plan, references: vec![] },
            logs: vec![],
            sinks: Box::new(|| Err(Error::invalid("it cannot be"))),
            start: StartAt::Latest,
            state_memory: None,
        });
        let SqlOutcome::Rows(rows) = live(Arc::new(Schema::empty()), tail.unwrap()) else { panic!("no rows") };
        let ended: Vec<Result<RecordBatch>> = rows.stream.collect().await;
        assert_eq!(ended.len(), 1);
        assert_eq!(ended[0].as_ref().unwrap_err().message(), "the query has ended: it cannot be");
    }

    #[tokio::test]
    async fn a_query_that_takes_too_long_is_ended_and_says_so() {
        let rows = numbers(1).chain(stream::pending()).boxed();
        let ended: Vec<Result<RecordBatch>> = bounded(rows, 100, Duration::from_millis(50)).collect().await;
        let error = ended[1].as_ref().unwrap_err();
        assert_eq!((ended.len(), error.kind()), (2, ErrorKind::Unavailable));
        assert_eq!(error.message(), "the query took longer than 0.05 s and was ended");
    }
}
