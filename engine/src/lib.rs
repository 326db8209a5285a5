//! The engine: log, decode, operators, lake, runtime. Invariant: it never sees SQL text, a protocol or HTTP, and modules
//! import only modules of a lower rank (the order below; `cargo xtask tidy` checks it).

// rank 0: words
pub mod batch;
pub mod changes;
pub mod decimal;
pub mod error;
pub mod ids;
pub mod json;
pub mod limits;
pub mod locks;
pub mod metrics;
pub mod parallel;
pub mod time;
pub mod topic;

// rank 1: laws
pub mod contract;

// rank 2: parts
pub mod decode;
pub mod log;
pub mod plan;
pub mod reference;
pub mod room;
pub mod state;
pub mod system;

// rank 3: steps
pub mod operators;

// rank 4: storage for good
pub mod lake;

// rank 5: life
pub mod runtime;
