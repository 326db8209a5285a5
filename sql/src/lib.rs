//! SQL: text becomes statements, and statements become plans. Invariant: nothing is planned that the engine would run
//! differently from what the text says; whatever is not supported is refused with its place in the text and a hint.
//!
//! ```text
//! text ─► parser (our words, positions) ─► bind (which table is meant, what is refused, names as declared)
//!                                            ├─ only lake tables ─► batch: DataFusion plans and runs it
//!                                            └─ a stream ─► lower: DataFusion resolves names and types,
//!                                                                  then the plan becomes `engine::plan::JobPlan`
//! ```
//!
//! Reading order: [`session`], `parser`, `bind`, `lower`, `batch`. [`lint`] reads the same statements with another engine in mind.

pub mod lint;
pub mod session;
pub mod settings;

mod diagnostics;
mod functions;
mod stack;
mod types;

mod parser;

mod batch;
mod bind;
mod lower;
mod tables;

pub use batch::{BatchQuery, BatchStream};
pub use parser::{SavepointWanted, ScriptStatement, without_secrets};
pub use session::{Session, SessionConfig, Statement};
pub use settings::{JobSettings, SETTINGS, SettingChange, Settings, without_settings};
pub use tables::{
    Classification, LakeCatalog, LakeFile, LakeFiles, Sample, SampleFormat, StreamInput, StreamSampler, TableDefinition, TableKind, Tier,
};
