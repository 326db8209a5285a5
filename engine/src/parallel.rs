//! Work that several threads share. Invariant: every task is done once, by whichever thread is free, and who waits for tasks does those
//! that nobody has begun: nobody waits for a thread that may not come.
//!
//! ```text
//! begin    tasks ─► waiting ─► helpers take one after the other ─► done
//! finish   the caller takes too, until none waits; then it waits for those that others have begun
//! ```

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::thread::{Builder, JoinHandle};

use crossbeam::channel::{Receiver, Sender, bounded};
use thread_priority::{ThreadPriority, ThreadPriorityValue, set_current_thread_priority};

use crate::error::{Error, Result};

/// Priority of work in the background, from 0 to 99: on Linux a nice value of 10, a tenth of a core that others want.
const BACKGROUND: u8 = 22;

/// Does tasks until none waits.
type Turn = Arc<dyn Fn() + Send + Sync>;

/// Threads that help with tasks. They start with the first tasks, sleep while there are none, and have ended when this is dropped.
#[derive(Debug)]
pub struct Helpers {
    threads: usize,
    pool: OnceLock<Pool>,
}

#[derive(Debug)]
struct Pool {
    /// Holds as many calls as there are threads; who finds no room in it does without.
    calls: Sender<Turn>,
    threads: Vec<JoinHandle<()>>,
}

/// Tasks that were begun. Dropped, they are let go of: those that nobody has begun may not be done.
pub struct Tasks<T> {
    count: usize,
    turn: Turn,
    done: Receiver<(usize, Result<T>)>,
}

impl Helpers {
    /// So many threads in all: one is that of whoever waits for the tasks.
    pub fn new(threads: usize) -> Self {
        Self { threads, pool: OnceLock::new() }
    }

    /// As many as the machine has cores, but no more than `most`.
    pub fn of_machine(most: usize) -> Self {
        Self::new(std::thread::available_parallelism().map_or(1, usize::from).min(most))
    }

    /// Threads in all.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Does `work` on each task with at most `threads` threads, of which the caller's is one; with fewer if the others are busy or cannot be
    /// started. Gives the tasks back in their order. Errors: one of those of the tasks, all of which are gone then; `Internal` if one panics
    /// while several threads share them.
    pub fn share_out<T: Send + 'static>(
        &self,
        threads: usize,
        tasks: Vec<T>,
        work: impl Fn(&mut T) -> Result<()> + Send + Sync + 'static,
    ) -> Result<Vec<T>> {
        if threads.min(self.threads).min(tasks.len()) <= 1 {
            return tasks.into_iter().map(|mut task| work(&mut task).map(|()| task)).collect();
        }
        self.begin(threads, tasks, work).finish()
    }

    /// Like `share_out`, but the others begin while the caller does something else.
    pub fn begin<T: Send + 'static>(
        &self,
        threads: usize,
        tasks: Vec<T>,
        work: impl Fn(&mut T) -> Result<()> + Send + Sync + 'static,
    ) -> Tasks<T> {
        let count = tasks.len();
        let (wait, waiting) = bounded(count);
        let (tell, done) = bounded(count);
        for task in tasks.into_iter().enumerate() {
            // There is room for all of them.
            let _ = wait.send(task);
        }
        let turn: Turn = Arc::new(move || {
            while let Ok((place, mut task)) = waiting.try_recv() {
                let ended = catch_unwind(AssertUnwindSafe(|| work(&mut task)));
                let ended = ended.unwrap_or_else(|_| Err(Error::internal("a task that threads share panicked")));
                if tell.send((place, ended.map(|()| task))).is_err() {
                    return;
                }
            }
        });
        self.call(threads.min(self.threads).saturating_sub(1).min(count), &turn);
        Tasks { count, turn, done }
    }

    fn call(&self, helpers: usize, turn: &Turn) {
        if helpers == 0 {
            return;
        }
        let pool = self.pool.get_or_init(|| Pool::start(self.threads - 1));
        for _ in 0..helpers.min(pool.threads.len()) {
            let _ = pool.calls.try_send(turn.clone());
        }
    }
}

impl Pool {
    /// With fewer threads if no more can be started.
    fn start(count: usize) -> Self {
        let (calls, called) = bounded::<Turn>(count);
        let start = |_| {
            let called = called.clone();
            Builder::new().name("helper".into()).spawn(move || called.iter().for_each(|turn| turn())).ok()
        };
        Self { calls, threads: (0..count).map_while(start).collect() }
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        let Some(Pool { calls, threads }) = self.pool.take() else { return };
        drop(calls);
        // The last to hold on to it may be a task.
        let own = std::thread::current().id();
        for thread in threads.into_iter().filter(|t| t.thread().id() != own) {
            // What panics in a task was told to whoever waited for it.
            let _ = thread.join();
        }
    }
}

impl<T> Tasks<T> {
    /// Takes part, and waits until all are done. Gives them back in their order. Errors: as `Helpers::share_out`.
    pub fn finish(self) -> Result<Vec<T>> {
        (self.turn)();
        let mut ended: Vec<(usize, Result<T>)> = self.done.iter().take(self.count).collect();
        ended.sort_unstable_by_key(|(place, _)| *place);
        ended.into_iter().map(|(_, result)| result).collect()
    }
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
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn each_task_is_done_once_whatever_the_number_of_threads() {
        for threads in [0, 1, 2, 7, 40] {
            let helpers = Helpers::new(threads);
            for most in [0, 1, 3, usize::MAX] {
                let tasks: Vec<(i32, i32)> = (0..50).map(|n| (n, 0)).collect();
                let done = helpers.share_out(most, tasks, |(_, times)| {
                    *times += 1;
                    Ok(())
                });
                assert!(done.unwrap().into_iter().eq((0..50).map(|n| (n, 1))), "{most} of {threads} threads");
            }
        }
    }

    #[test]
    fn tasks_go_on_while_their_owner_does_something_else() {
        let helpers = Helpers::new(2);
        let (tell, told) = bounded(2);
        let tasks = helpers.begin(2, vec![1_i32, 2], move |n| {
            let _ = tell.send(*n);
            Ok(())
        });
        assert_eq!((told.recv(), told.recv()), (Ok(1), Ok(2)));
        assert_eq!(tasks.finish().unwrap(), [1, 2]);
        assert!(Helpers::new(2).begin(2, Vec::<i32>::new(), |_| Ok(())).finish().unwrap().is_empty());
    }

    #[test]
    fn tasks_may_share_out_tasks() {
        let helpers = Arc::new(Helpers::new(3));
        let same = helpers.clone();
        let sums = helpers.share_out(3, vec![0_i32; 8], move |sum| {
            let doubled = same.share_out(3, (0..8).collect(), |n: &mut i32| {
                *n *= 2;
                Ok(())
            });
            *sum = doubled?.into_iter().sum();
            Ok(())
        });
        assert_eq!(sums.unwrap(), [56; 8]);
    }

    #[test]
    fn threads_end_with_their_owner() {
        let helpers = Helpers::new(2);
        let (here, gone) = bounded::<()>(0);
        // The helper keeps what it was given until it ends: `gone` is told when the other side is dropped there.
        drop(helpers.begin(2, vec![here], |_| Ok(())));
        drop(helpers);
        assert!(gone.try_recv().is_err_and(|e| e.is_disconnected()));
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
    fn a_task_that_fails_or_panics_is_told_and_the_threads_go_on() {
        let helpers = Helpers::new(3);
        let third = |n: &mut usize| if *n == 3 { Err(Error::invalid("the third")) } else { Ok(()) };
        assert_eq!(helpers.share_out(3, (0..20).collect(), third).unwrap_err().message(), "the third");
        assert_eq!(helpers.share_out(1, (0..20).collect(), third).unwrap_err().message(), "the third");
        for _ in 0..5 {
            let panics = |n: &mut usize| -> Result<()> { panic!("seeded {n}") };
            let told = helpers.share_out(3, (0..20).collect(), panics).unwrap_err();
            assert_eq!((told.kind(), told.message()), (ErrorKind::Internal, "a task that threads share panicked"));
        }
        assert_eq!(helpers.share_out(3, vec![1, 2, 3], |_| Ok(())).unwrap(), [1, 2, 3]);
    }
}
