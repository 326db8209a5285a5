//! Prepared statements. Invariant: a statement is plain data; nothing has happened when it is there.

use arrow::array::RecordBatch;
use thalweg_engine::ids::Name;
use thalweg_engine::plan::JobPlan;

use crate::batch::BatchQuery;
use crate::parser::SavepointWanted;
use crate::settings::{JobSettings, SettingChange};
use crate::tables::TableDefinition;

/// A prepared statement. Nothing has happened yet.
#[derive(Debug)]
pub enum Statement {
    /// Declare a table or a view: keep its text, then `Session::declare`.
    CreateTable {
        /// The table or view.
        definition: Box<TableDefinition>,
        /// What was assumed: `owner not given: using …`.
        notices: Vec<String>,
    },
    /// Forget a declared table or view: forget its text, then `Session::undeclare`.
    DropTable {
        /// The table or view; it is declared.
        name: Name,
    },
    /// `IF EXISTS` or `IF NOT EXISTS` left nothing to do.
    Nothing {
        /// Why.
        notice: String,
    },
    /// A job that runs until it is stopped.
    InsertJob {
        /// Its name: that of the first table it writes, if the settings give no other.
        name: Name,
        /// The declared tables of the lake that it writes, one an output of the plan.
        sinks: Vec<Name>,
        /// What it does.
        plan: Box<JobPlan>,
        /// Its text, behind the settings that it was planned with.
        sql: String,
        /// Changes when the state of older checkpoints no longer fits.
        fingerprint: String,
        /// What else the settings say of it.
        settings: JobSettings,
    },
    /// A stream that is watched as long as somebody looks.
    Tail {
        /// What it does.
        plan: Box<JobPlan>,
        /// Its text.
        sql: String,
    },
    /// A query over tables of the lake.
    Batch(Box<BatchQuery>),
    /// A plan as text.
    Explain {
        /// The text, several lines.
        text: String,
    },
    /// List the jobs.
    ShowJobs,
    /// List the declared tables and those of the lake.
    ShowTables,
    /// What the session itself knows: views, functions, settings, the text of a table.
    List {
        /// All of it.
        rows: RecordBatch,
    },
    /// Columns of a table.
    Describe {
        /// Name, type, nullable, key, extras.
        rows: RecordBatch,
    },
    /// Tell everything about a job.
    DescribeJob {
        /// Its name; it may not exist.
        name: String,
    },
    /// Stop a job.
    StopJob {
        /// Its name; it may not exist.
        name: String,
        /// Whether it leaves a savepoint.
        savepoint: SavepointWanted,
    },
    /// Forget a job that is stopped.
    DropJob {
        /// Its name; it may not exist.
        name: String,
    },
    /// Remove a savepoint.
    DropSavepoint {
        /// Its name; it may not exist.
        name: String,
    },
    /// List the savepoints.
    ShowSavepoints,
    /// Change the settings of the statements that follow; the change is possible.
    Setting(SettingChange),
}
