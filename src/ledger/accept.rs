//! The writer: gathers what waits for the disk and commits it together.
//!
//! There is no timer. While one commit is under way the next batch gathers by itself, so that a slow disk makes larger
//! batches, not a longer queue; whoever is about to hand something over when a batch begins is let go first. To wake a task
//! of another thread is dear, so that one of each thread is told what became of a batch, and tells the others there.
//!
//! A batch that holds a row which cannot be stored is halved until that row is alone: it is
//! set aside, its caller gets the error, and its neighbours are committed. When the storage itself fails, everybody who
//! waits gets the error at once.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, ThreadId},
};

use jiff::Timestamp;
use tokio::{
    sync::{Mutex, Notify, mpsc, oneshot},
    task::JoinHandle,
};

use crate::telemetry::events;

use super::{Acceptance, LedgerError, again::again, store::Store};

/// Somebody who waits for the disk.
struct Waiting {
    acceptance: Acceptance,
    now: Timestamp,
    answer: oneshot::Sender<Answer>,
    /// Where they wait.
    thread: ThreadId,
}

/// What somebody is told.
#[derive(Debug)]
struct Answer {
    result: Result<(), LedgerError>,
    /// For others who wait on the same thread.
    others: Answers,
}

/// Answers on their way. Dropped, they are given: also by somebody who was told and has gone meanwhile.
#[derive(Debug, Default)]
struct Answers(Vec<(oneshot::Sender<Answer>, Result<(), LedgerError>)>);

impl Drop for Answers {
    fn drop(&mut self) {
        for (sender, result) in self.0.drain(..) {
            let others = Self::default();
            // Who does not wait any more does not want to know.
            drop(sender.send(Answer { result, others }));
        }
    }
}

enum Message {
    Accept(Box<Waiting>),
    Close,
}

/// The way to the writer's task.
#[derive(Debug)]
pub(super) struct Writer {
    queue: mpsc::Sender<Message>,
    task: Mutex<Option<JoinHandle<()>>>,
    quarantined: Arc<AtomicU64>,
}

impl Writer {
    /// Starts the task. It holds the store only while it commits, so that dropping the ledger closes it.
    pub(super) fn start(
        store: &Arc<Store>,
        wake: &Arc<Notify>,
        waiting_limit: usize,
        batch_limit: usize,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(waiting_limit.max(1));
        let quarantined = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(run(
            Arc::downgrade(store),
            Arc::clone(wake),
            waiting,
            batch_limit.max(1),
            Arc::clone(&quarantined),
        ));
        Self {
            queue,
            task: Mutex::new(Some(task)),
            quarantined,
        }
    }

    /// Hands an acceptance over and waits for its commit.
    pub(super) async fn accept(
        &self,
        acceptance: Acceptance,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let (answer, answered) = oneshot::channel();
        let waiting = Box::new(Waiting {
            acceptance,
            now,
            answer,
            thread: thread::current().id(),
        });
        self.queue
            .try_send(Message::Accept(waiting))
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => LedgerError::Saturated,
                mpsc::error::TrySendError::Closed(_) => LedgerError::Closed,
            })?;
        let answer = answered.await.map_err(|_gone| LedgerError::Closed)?;
        drop(answer.others);
        answer.result
    }

    /// How many acceptances were set aside.
    pub(super) fn quarantined(&self) -> u64 {
        self.quarantined.load(Ordering::Relaxed)
    }

    /// Commits what waits and ends the task.
    pub(super) async fn close(&self) {
        // A task that is gone already has nothing to be told.
        let _gone = self.queue.send(Message::Close).await;
        if let Some(task) = self.task.lock().await.take() {
            // It can only have panicked or been cancelled with its runtime; either way nothing waits any more.
            let _ended = task.await;
        }
    }
}

async fn run(
    store: Weak<Store>,
    wake: Arc<Notify>,
    mut waiting: mpsc::Receiver<Message>,
    batch_limit: usize,
    quarantined: Arc<AtomicU64>,
) {
    let mut messages = Vec::new();
    while waiting.recv_many(&mut messages, batch_limit).await > 0 {
        gather(&mut waiting, &mut messages, batch_limit);
        let mut batch = Vec::with_capacity(messages.len());
        for message in messages.drain(..) {
            match message {
                Message::Accept(one) => batch.push(*one),
                Message::Close => waiting.close(),
            }
        }
        // Without a store nobody holds the ledger any more: dropping the batch answers `Closed`.
        let Some(store) = store.upgrade() else { return };
        commit(&store, batch, &quarantined).await;
        wake.notify_one();
        store.ring_soon();
    }
}

/// Lets those go first who are about to hand something over, as long as there are any: on a busy core a batch would begin
/// with the first of many.
fn gather(waiting: &mut mpsc::Receiver<Message>, messages: &mut Vec<Message>, batch_limit: usize) {
    let mut gathered = 0;
    while gathered < messages.len() && messages.len() < batch_limit {
        gathered = messages.len();
        thread::yield_now();
        while messages.len() < batch_limit
            && let Ok(message) = waiting.try_recv()
        {
            messages.push(message);
        }
    }
}

/// Commits a batch, by halves if one of its rows cannot be stored.
async fn commit(store: &Store, batch: Vec<Waiting>, quarantined: &AtomicU64) {
    let mut parts = vec![batch];
    while let Some(mut part) = parts.pop() {
        if part.is_empty() {
            continue;
        }
        let acceptances: Vec<_> = part
            .iter()
            .map(|waiting| (&waiting.acceptance, waiting.now))
            .collect();
        let result = again!(store.accept(&acceptances));
        match result {
            Err(LedgerError::Refused { .. }) if part.len() > 1 => {
                let second = part.split_off(part.len() / 2);
                parts.push(second);
                // The first half goes first: effects keep their order.
                parts.push(part);
            }
            result => {
                if let Err(error @ LedgerError::Refused { .. }) = &result {
                    quarantined.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(
                        event = events::LEDGER_ROW_QUARANTINED,
                        "webhook.event" = part[0].acceptance.delivery.event.chars().take(64).collect::<String>(),
                        error = %Cause(error),
                        "an acceptance cannot be stored and was set aside"
                    );
                }
                tell(part, &result);
            }
        }
    }
}

/// Tells one of each thread, who tells the others there.
fn tell(batch: Vec<Waiting>, result: &Result<(), LedgerError>) {
    let mut threads: Vec<(ThreadId, Answers)> = Vec::new();
    for Waiting { answer, thread, .. } in batch {
        let answer = (answer, result.clone());
        match threads.iter_mut().find(|(id, _)| *id == thread) {
            Some((_, answers)) => answers.0.push(answer),
            None => threads.push((thread, Answers(vec![answer]))),
        }
    }
    for (_, mut others) in threads {
        if let Some((first, result)) = others.0.pop() {
            drop(first.send(Answer { result, others }));
        }
    }
}

/// An error with its causes, on one line.
struct Cause<'a>(&'a LedgerError);

impl std::fmt::Display for Cause<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.0)?;
        let mut source = std::error::Error::source(self.0);
        while let Some(cause) = source {
            write!(formatter, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two who wait on this thread.
    fn two() -> (Answers, [oneshot::Receiver<Answer>; 2]) {
        let ((first, one), (second, two)) = (oneshot::channel(), oneshot::channel());
        (Answers(vec![(first, Ok(())), (second, Ok(()))]), [one, two])
    }

    fn send(mut answers: Answers) -> Result<(), Answer> {
        let (first, result) = answers.0.pop().expect("somebody waits");
        first.send(Answer {
            result,
            others: answers,
        })
    }

    #[tokio::test]
    async fn whoever_left_before_the_answer_keeps_it_from_nobody() {
        let (answers, [other, left]) = two();
        drop(left);
        drop(send(answers));
        assert!(other.await.expect("told").result.is_ok());
    }

    #[tokio::test]
    async fn whoever_left_after_the_answer_keeps_it_from_nobody() {
        let (answers, [other, left]) = two();
        send(answers).expect("taken");
        drop(left);
        assert!(other.await.expect("told").result.is_ok());
    }
}
