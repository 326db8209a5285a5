//! What of one connection was settled together. Invariant: a counter that all connections share is added to once for all of it, and
//! not at all where there is nothing to add.

use thalweg_engine::contract::Arrival;
use thalweg_engine::metrics::GatewayCounters;

use super::intake::Promise;

/// Records that are durable, by what is counted.
#[derive(Default)]
pub(super) struct Sums {
    appended: u64,
    duplicate: u64,
    gaps: u64,
    unpromised: u64,
}

impl Sums {
    /// A record was answered with yes.
    pub(super) fn count(&mut self, arrival: Arrival, promise: Promise) {
        if arrival == Arrival::Duplicate {
            self.duplicate += 1;
            return;
        }
        self.appended += 1;
        self.gaps += u64::from(arrival == Arrival::AfterGap);
        self.unpromised += u64::from(promise == Promise::Nothing);
    }

    /// Adds them to what all connections share.
    pub(super) fn add_to(&self, counters: &GatewayCounters) {
        let sums = [
            (&counters.appended, self.appended),
            (&counters.duplicate, self.duplicate),
            (&counters.gaps, self.gaps),
            (&counters.unpromised, self.unpromised),
        ];
        for (counter, sum) in sums.into_iter().filter(|(_, sum)| *sum > 0) {
            counter.add(sum);
        }
    }
}
