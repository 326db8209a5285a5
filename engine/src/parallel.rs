//! Work that several threads share. Invariant: every task is done once, by whichever thread is free, and all threads have ended when the
//! call returns: who calls knows of no threads afterwards.

use std::sync::{Mutex, PoisonError};
use std::thread::Builder;

use thread_priority::{ThreadPriority, ThreadPriorityValue, set_current_thread_priority};

use crate::error::{Error, Result};

/// Priority of work in the background, from 0 to 99: on Linux a nice value of 10, a tenth of a core that others want.
const BACKGROUND: u8 = 22;

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

/// Has the calling thread give way to all that did not call this, for as long as it lives.
pub fn give_way() {
    let priority = ThreadPriorityValue::try_from(BACKGROUND).map_or(ThreadPriority::Min, ThreadPriority::Crossplatform);
    if let Err(error) = set_current_thread_priority(priority) {
        tracing::debug!(?error, "a thread in the background does not give way to others");
    }
}

/// Has the calling thread wake up when a sleep is over, for as long as it lives: Linux lets threads lie 50 µs longer, to wake several at
/// once.
pub fn wake_in_time() {
    #[cfg(target_os = "linux")]
    let set = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
    #[cfg(not(target_os = "linux"))]
    let set = std::io::Result::Ok(());
    if let Err(error) = set {
        tracing::debug!(%error, "a thread sleeps a little longer than it is to");
    }
}

/// Does `work` on a thread of its own that gives way to all others, and waits for it: for what can wait when others cannot. Errors: those
/// of the work; `Internal` if it panics.
pub fn in_background<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let run = || {
        give_way();
        work()
    };
    std::thread::scope(|scope| {
        let thread = Builder::new().name("background".into()).spawn_scoped(scope, run)?;
        thread.join().unwrap_or_else(|_| Err(Error::internal("work in the background panicked")))
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

    #[cfg(target_os = "linux")]
    #[test]
    fn work_in_the_background_gives_way_and_its_caller_does_not() {
        let nice = || {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            stat.rsplit_once(") ").unwrap().1.split(' ').nth(16).unwrap().parse::<i32>().unwrap()
        };
        let own = nice();
        assert_eq!(in_background(|| Ok(nice())).unwrap(), 10);
        assert_eq!(nice(), own);
        assert!(in_background(|| -> Result<()> { panic!("seeded") }).unwrap_err().message().contains("panicked"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn only_a_thread_that_asks_for_it_wakes_in_time() {
        let slack = || rustix::thread::current_timer_slack().unwrap();
        let own = slack();
        let other = std::thread::spawn(move || {
            wake_in_time();
            slack()
        });
        assert_eq!(other.join().unwrap(), 1);
        assert_eq!(slack(), own);
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
