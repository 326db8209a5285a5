//! Checks of what has to last. Invariant: whatever lies between the two manipulations of a check, its validation finds what it finds if
//! nothing lies there; and a file of a version that is not known stops who needs it, with words that say what to do, and is not changed.
//!
//! ```text
//! init ─► records, manipulation ─► nothing, restart, kill, upgrade or downgrade ─► manipulation, records ─► validation
//! ```
//!
//! An upgrade begins with files of an earlier version. `fixtures/data-<version>/` is the directory of a server of that version that was
//! killed: log, checkpoints, lake, references and statements. `fixtures/state-<version>/` is one with state of each kind of step, of a
//! server that was stopped. They are never written again; a version that changes a format adds its own. With `UPDATE_FIXTURES` set, one
//! that is missing is written. A downgrade is what an earlier version finds: files of versions that it does not know (`versions`).

mod checks;
mod support;
mod versions;

use std::path::{Path, PathBuf};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use checks::{CHECKS, Check, SITES, SITES_FILE, Since, TELEMETRY};
use futures::TryStreamExt;
use support::{close, committed, copy, record, run, wait};
use thalweg::app::Core;
use thalweg::config::Config;
use thalweg::server::{SqlOutcome, SqlService};
use thalweg::sql_service::Service;
use thalweg_devices::{Principal, Role};
use thalweg_engine::error::Result;
use thalweg_engine::ids::Name;
use versions::{FORMATS, Format, lasting};

const JOBS: [&str; 3] = ["windows", "totals", "archive.telemetry"];
/// Records in the fixture: devices 0 to 3, seconds 0 to 24, the value is the sum of both; one that is late, and one that cannot be read.
const RECORDS: i64 = 4 * 25 + 2;

/// Seconds of the first half of the records, of those that a process took before it was killed, and of all.
const HALF: i64 = 25;
const KILLED: i64 = 30;
const WHOLE: i64 = 50;

/// What lies between the manipulations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Nothing,
    Restart,
    Kill,
    Upgrade,
    Downgrade,
}

const ARCHIVE: &str = "archive.telemetry";
/// Jobs that read each record once, and are never stopped.
const READ_ONCE: [&str; 2] = [ARCHIVE, "sessions"];

/// What a check found.
struct Found {
    name: &'static str,
    half: String,
    whole: String,
}

impl Way {
    fn checks(self) -> Vec<&'static Check> {
        CHECKS.iter().filter(|check| self != Self::Upgrade || check.since == Since::First).collect()
    }

    /// Takes every check this way.
    async fn take(self, home: &Path) -> Vec<Found> {
        let (checks, data) = (self.checks(), home.join(format!("{self:?}")));
        let core = match self {
            Self::Upgrade => {
                copy_fixture("state-0.1.0", &data);
                open(&data).unwrap()
            }
            _ => first_half(&data, &checks).await,
        };
        let core = self.between(core, &data).await;
        let half = results(&core, &checks).await;
        for check in &checks {
            give(&core, check.manipulate[1]).await;
        }
        let from = if self == Self::Kill { KILLED } else { HALF };
        feed(&core, from..WHOLE);
        settled(&core, &checks, WHOLE).await;
        let whole = results(&core, &checks).await;
        close(core).await;
        checks.iter().zip(half).zip(whole).map(|((check, half), whole)| Found { name: check.name, half, whole }).collect()
    }

    async fn between(self, core: Core, data: &Path) -> Core {
        match self {
            Self::Nothing => core,
            Self::Kill => {
                feed(&core, HALF..KILLED);
                wait(&core, &READ_ONCE, |status| status.counters.consumed == sent(KILLED)).await.unwrap();
                // What is on the disk while it runs is what it leaves when it is killed.
                let killed = data.with_extension("killed");
                copy(data, &killed);
                close(core).await;
                open(&killed).unwrap()
            }
            Self::Restart | Self::Upgrade => {
                close(core).await;
                open(data).unwrap()
            }
            Self::Downgrade => {
                close(core).await;
                for format in FORMATS {
                    refused(data, format).await;
                }
                open(data).unwrap()
            }
        }
    }
}

/// A start over files of a version that it does not know.
async fn refused(data: &Path, format: &Format) {
    let originals = format.put(data);
    let before = (lasting(data), format.files(data));
    let said = match open(data) {
        Err(e) => vec![e.to_string()],
        Ok(core) => {
            let mut said = Vec::new();
            for job in READ_ONCE {
                said.push(wait(&core, &[job], |_| false).await.unwrap_err());
            }
            close(core).await;
            said
        }
    };
    for said in said {
        assert!(said.contains(format.says) && said.contains("use the version of thalweg that wrote it"), "{}: {said}", format.name);
    }
    assert!((lasting(data), format.files(data)) == before, "{}: something was changed", format.name);
    for (path, bytes) in originals {
        std::fs::write(path, bytes).unwrap();
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn copy_fixture(name: &str, data: &Path) {
    copy(&fixture(name), data);
    for empty in ["spill", "lake/_scratch"] {
        // Version control keeps no empty directories.
        std::fs::create_dir_all(data.join(empty)).unwrap();
    }
}

fn open(data: &Path) -> Result<Core> {
    let checkpoint_interval = Duration::from_secs(3600);
    Core::open(Config { data: data.to_owned(), partitions: 2, segment_bytes: 64 << 10, checkpoint_interval, ..Config::default() })
}

/// A new directory with the first half of the records: devices 0 to 3, but for some seconds, so that sessions end.
async fn first_half(data: &Path, checks: &[&Check]) -> Core {
    let needs_sites = checks.iter().any(|check| check.since == Since::Later);
    if needs_sites {
        std::fs::create_dir_all(data.join("reference")).unwrap();
        std::fs::write(data.join("reference/sites.csv"), SITES_FILE).unwrap();
    }
    let core = open(data).unwrap();
    give(&core, if needs_sites { SITES } else { "" }).await;
    give(&core, TELEMETRY).await;
    for check in checks {
        give(&core, check.init).await;
    }
    feed(&core, 0..HALF);
    settled(&core, checks, HALF).await;
    for check in checks {
        give(&core, check.manipulate[0]).await;
    }
    core
}

async fn give(core: &Core, statements: &str) {
    if !statements.is_empty() {
        run(core, statements).await;
    }
}

fn is_sent(second: i64) -> bool {
    second % 7 < 4
}

/// Records before a second.
fn sent(seconds: i64) -> u64 {
    (0..seconds).filter(|s| is_sent(*s)).count() as u64 * 4
}

fn feed(core: &Core, seconds: std::ops::Range<i64>) {
    seconds.filter(|s| is_sent(*s)).for_each(|s| (0..4).for_each(|device| record(core, &format!("pump-{device}"), s, 10 * s + device)));
}

/// Waits until everything that was sent before a second is in the lake.
async fn settled(core: &Core, checks: &[&Check], seconds: i64) {
    let jobs: Vec<&str> = checks.iter().map(|check| check.name).chain([ARCHIVE]).collect();
    committed(core, &READ_ONCE, sent(seconds).cast_signed()).await.unwrap();
    wait(core, &jobs, |status| status.lag == 0).await.unwrap();
    core.engine.supervisor().checkpoint_all();
    wait(core, &jobs, |status| status.counters == status.committed).await.unwrap();
}

/// What the validation of each check finds.
async fn results(core: &Core, checks: &[&Check]) -> Vec<String> {
    let who = Principal { name: Name::new("tester").unwrap(), role: Role::Admin };
    let mut results = Vec::new();
    for Check { name, validate, .. } in checks {
        let SqlOutcome::Rows(rows) = Service(core.engine.clone()).execute(&who, validate).await.unwrap() else {
            panic!("{validate} gives rows")
        };
        let batches: Vec<RecordBatch> = rows.stream.try_collect().await.unwrap();
        results.push(format!("{name}\n{}", pretty_format_batches(&batches).unwrap()));
    }
    results
}

async fn query(core: &Core, sql: &str) -> i64 {
    run(core, sql).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_0_1_0_is_gone_on_from() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    copy_fixture("data-0.1.0", &data);
    for (start, records) in [(1, RECORDS), (2, RECORDS + 4 * 10)] {
        let core = Core::open(Config { data: data.clone(), ..Config::default() }).unwrap();
        if start == 2 {
            (25..35).for_each(|second| (0..4).for_each(|device| record(&core, &format!("pump-{device}"), second, device + second)));
        }
        committed(&core, &JOBS, records).await.unwrap();
        assert_eq!(query(&core, "SELECT COUNT(*) FROM cold.telemetry").await, records);
        // Windows of ten seconds that have closed; that of second 20 was half full when the directory was written.
        let windows = if start == 1 { 2 } else { 3 };
        assert_eq!(query(&core, "SELECT SUM(n) FROM windows").await, windows * 40, "start {start}");
        let sum: i64 = (0..windows * 10).map(|second| (0..4).map(|device| device + second).sum::<i64>()).sum();
        assert_eq!(query(&core, "SELECT SUM(total) FROM windows").await, sum);
        assert_eq!(query(&core, "SELECT COUNT(*) FROM totals").await, 4);
        let late = core.engine.supervisor().status("windows").unwrap().committed;
        assert_eq!((late.late, late.rejected), (1, 1));
        assert_eq!(query(&core, "SELECT COUNT(*) FROM late.windows WHERE reason IS NULL").await, 1);
        close(core).await;
    }
}

/// Writes the files of this version that a later one will begin with, if they are missing and wanted.
async fn update_fixture(home: &Path) {
    let golden = fixture("state-0.1.0");
    if !golden.exists() && std::env::var_os("UPDATE_FIXTURES").is_some() {
        let made = home.join("made");
        close(first_half(&made, &Way::Upgrade.checks()).await).await;
        copy(&made, &golden);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_lies_between_two_manipulations_the_validation_finds_the_same() {
    let home = tempfile::tempdir().unwrap();
    update_fixture(home.path()).await;
    let straight = Way::Nothing.take(home.path()).await;
    for Found { half, whole, .. } in &straight {
        assert!(half.lines().count() > 5 && half != whole, "the second half changes nothing: {half}");
    }
    for way in [Way::Restart, Way::Kill, Way::Upgrade, Way::Downgrade] {
        for found in way.take(home.path()).await {
            let want = straight.iter().find(|want| want.name == found.name).unwrap();
            assert_eq!(found.half, want.half, "{way:?}");
            assert_eq!(found.whole, want.whole, "{way:?}");
        }
    }
}
