//! Whether a job may take room on the disk. Invariant: where only the log may take more, a job writes nothing, unless retention waits
//! for it: then what it has read frees more than what it writes takes.

use super::job::JobSpec;
use super::supervisor::Environment;
use crate::error::Result;
use crate::ids::Offset;
use crate::room;

/// `held` is from where the job keeps each of its partitions. Errors: `Unavailable`; the job waits.
pub(super) fn check(spec: &JobSpec, environment: &Environment, held: &[Offset]) -> Result<()> {
    let overdue = |(place, &held): (super::job::Place, &Offset)| held < spec.logs[place.scan].overdue(place.partition);
    match room::check(&*environment.disk, &environment.directory) {
        Err(_) if spec.places().into_iter().zip(held).any(overdue) => Ok(()),
        checked => checked,
    }
}
