//! Threads of our own for hashing and compressing, so that the async runtime never waits for either.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::frame::Encoder;
use crate::{Compression, Error, Result};

type Job = Box<dyn FnOnce(&mut Encoder) + Send>;

/// Jobs are started in the order in which they were submitted; with one thread they also end in it. A job never waits
/// for anything but an earlier job. Threads start when there is work and end when the pool is closed or dropped.
pub(crate) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    compression: Compression,
}

struct State {
    jobs: VecDeque<Job>,
    idle: usize,
    threads: usize,
    most: usize,
    closed: bool,
}

impl Pool {
    pub(crate) fn new(threads: usize, compression: Compression) -> Self {
        let state = State {
            jobs: VecDeque::new(),
            idle: 0,
            threads: 0,
            most: threads.max(1),
            closed: false,
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                work: Condvar::new(),
                compression,
            }),
        }
    }

    /// Queues a job. What is returned errors when the pool was closed before the job ran.
    pub(crate) fn submit<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Encoder) -> T + Send + 'static,
    ) -> Result<Pending<T>> {
        let (sender, receiver) = oneshot::channel();
        // The receiver may be gone: then nobody wants the result.
        let job: Job = Box::new(move |encoder| drop(sender.send(job(encoder))));
        let mut state = self.shared.lock();
        if state.closed {
            return Err(Error::Closed);
        }
        state.jobs.push_back(job);
        if state.jobs.len() > state.idle && state.threads < state.most {
            let shared = Arc::clone(&self.shared);
            match std::thread::Builder::new()
                .name("archive".to_owned())
                .spawn(move || shared.work())
            {
                Ok(_) => state.threads += 1,
                // The others will do it.
                Err(_) if state.threads > 0 => {}
                Err(error) => {
                    state.jobs.pop_back();
                    return Err(error.into());
                }
            }
        }
        drop(state);
        self.shared.work.notify_one();
        Ok(Pending(receiver))
    }

    /// As [`Self::submit`], and waits for the result.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Encoder) -> T + Send + 'static,
    ) -> Result<T> {
        self.submit(job)?.wait().await
    }

    /// Drops every job that has not started.
    pub(crate) fn close(&self) {
        let mut state = self.shared.lock();
        state.closed = true;
        let dropped = std::mem::take(&mut state.jobs);
        drop(state);
        self.shared.work.notify_all();
        drop(dropped);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        /// Also when a job panics, the pool must know that it has one thread less.
        struct Gone<'a>(&'a Shared);
        impl Drop for Gone<'_> {
            fn drop(&mut self) {
                self.0.lock().threads -= 1;
            }
        }
        let _gone = Gone(self);
        let mut encoder = Encoder::new(self.compression);
        while let Some(job) = self.next() {
            job(&mut encoder);
        }
    }

    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if state.closed {
                return None;
            }
            state.idle += 1;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }
}

/// The result of a job.
pub(crate) struct Pending<T>(oneshot::Receiver<T>);

impl<T> Pending<T> {
    pub(crate) async fn wait(self) -> Result<T> {
        self.0.await.map_err(|_| Error::Closed)
    }

    /// The result, if it is there already.
    pub(crate) fn ready(&mut self) -> Option<Result<T>> {
        match self.0.try_recv() {
            Ok(value) => Some(Ok(value)),
            Err(oneshot::error::TryRecvError::Empty) => None,
            Err(oneshot::error::TryRecvError::Closed) => Some(Err(Error::Closed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_thread_keeps_the_order() {
        let pool = Pool::new(1, Compression::Fast);
        let seen = Arc::new(Mutex::new(Vec::new()));
        for n in 0..100 {
            let seen = Arc::clone(&seen);
            pool.submit(move |_| seen.lock().unwrap().push(n)).unwrap();
        }
        pool.run(|_| ()).await.unwrap();
        assert_eq!(*seen.lock().unwrap(), (0..100).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_closed_pool_drops_its_jobs() {
        let pool = Pool::new(1, Compression::Fast);
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let (started, start) = oneshot::channel();
        let first = pool
            .submit(move |_| started.send(()).and_then(|()| gone.recv().map_err(drop)).ok())
            .unwrap();
        let second = pool.submit(|_| 2).unwrap();
        start.await.unwrap();
        pool.close();
        assert!(matches!(second.wait().await, Err(Error::Closed)));
        go.send(()).unwrap();
        assert_eq!(first.wait().await.unwrap(), Some(()));
        assert!(pool.submit(|_| ()).is_err());
    }

    #[tokio::test]
    async fn a_panic_in_a_job_does_not_end_the_pool() {
        let pool = Pool::new(1, Compression::Fast);
        let lost = pool.submit(|_| panic!("on purpose")).unwrap();
        assert!(lost.wait().await.is_err());
        while pool.shared.lock().threads > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(pool.run(|_| 5).await.unwrap(), 5);
    }
}
