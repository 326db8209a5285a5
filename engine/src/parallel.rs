//! Work that several threads share. Invariant: every task is done once, by whichever thread is free, and all threads have ended when the
//! call returns: who calls knows of no threads afterwards.

use std::sync::{Mutex, PoisonError};
use std::thread::Builder;

use crate::error::{Error, Result};

/// Does `work` on each task with at most `threads` threads, of which the caller's is one; with fewer if no more can be started. Errors: one
/// of those of the tasks; those that a thread had not begun by then may not be done. `Internal` if a task panics on another thread than the
/// caller's.
pub fn share_out<T: Send>(threads: usize, tasks: Vec<T>, work: impl Fn(T) -> Result<()> + Sync) -> Result<()> {
    let threads = threads.min(tasks.len());
    if threads <= 1 {
        return tasks.into_iter().try_for_each(work);
    }
    let tasks = Mutex::new(tasks.into_iter());
    let run = || -> Result<()> {
        loop {
            let task = tasks.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(task) = task else { return Ok(()) };
            work(task)?;
        }
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map_while(|_| Builder::new().spawn_scoped(scope, run).ok()).collect();
        let mine = run();
        let gone = |_| Err(Error::internal("a thread that shared the work of a step panicked"));
        others.into_iter().map(|t| t.join().unwrap_or_else(gone)).chain([mine]).collect()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn each_task_is_done_once_whatever_the_number_of_threads() {
        for threads in [0, 1, 2, 7, 100] {
            let mut done = vec![0_u8; 50];
            share_out(threads, done.iter_mut().collect(), |task| {
                *task += 1;
                Ok(())
            })
            .unwrap();
            assert!(done.iter().all(|n| *n == 1), "{threads} threads: {done:?}");
        }
    }

    #[test]
    fn a_task_that_fails_or_panics_is_told_and_the_others_end() {
        let done = AtomicUsize::new(0);
        let count = |n: usize| match n {
            3 => Err(Error::invalid("the third")),
            _ => {
                done.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
        };
        assert_eq!(share_out(2, (0..20).collect(), count).unwrap_err().message(), "the third");
        assert!((3..20).contains(&done.load(Ordering::Relaxed)));
        // The caller's own thread takes one task and waits for the other to be taken, so that a spawned thread panics.
        let caller = std::thread::current().id();
        let panics = |_: usize| {
            assert!(std::thread::current().id() == caller, "seeded");
            std::thread::sleep(std::time::Duration::from_millis(50));
            Ok(())
        };
        assert!(share_out(2, vec![0, 1], panics).unwrap_err().message().contains("panicked"));
    }
}
