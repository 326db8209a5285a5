//! A simulated world for the log: disk, clock, and a run of both against the real log. Invariant: same seed, same run; a run
//! that fails names its seed.

mod clock;
mod damage;
mod disk;
mod oracle;
mod plan;
mod run;

pub use clock::SimClock;
pub use disk::{Faults, SimDisk};
pub use plan::{Lie, Plan};
pub use run::{Ran, simulate};
