//! A partition that has much to read, on a thread of its own. Invariant: it hands on what the partition would have handed on at home,
//! in the same order, and goes home when there is little left to do.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam::channel::Sender;

use super::worker::{Item, TICK, Worker};
use crate::error::Result;
use crate::ids::Offset;
use crate::limits::{APART_QUIET_MS, APART_ROWS_MIN, GATHER_MS_MIN};

/// Runs until the worker goes home, the driver goes away, or an error.
pub fn run(mut worker: Box<Worker>, sender: &Sender<Item>) -> Result<()> {
    let clock = worker.clock.clone();
    let mut busy = clock.monotonic();
    while !worker.shared.exit.load(Ordering::Acquire) {
        let from = worker.position;
        if let Some(item) = worker.step()? {
            if sender.send(item).is_err() {
                return Ok(());
            }
            let rows: Offset = worker.position - from;
            if rows >= APART_ROWS_MIN {
                busy = clock.monotonic();
            }
            continue;
        }
        if worker.is_held_back() {
            busy = clock.monotonic();
            std::thread::sleep(TICK);
            continue;
        }
        if clock.monotonic().saturating_sub(busy) >= Duration::from_millis(APART_QUIET_MS) {
            // Nobody there any more is no error.
            let _ = sender.send(Item::Home(worker));
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(GATHER_MS_MIN));
        if !worker.look() && worker.reader.wait(worker.position, TICK) {
            worker.look();
        }
    }
    Ok(())
}
