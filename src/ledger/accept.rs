//! The writer: gathers what waits for the disk and commits it together.
//!
//! There is no timer. While one commit is under way the next batch gathers by itself, so that a slow disk makes larger
//! batches, not a longer queue; whoever is about to hand something over when a batch begins is let go first. To wake a task
//! of another thread is dear, so that one of each thread is told what became of a batch, and tells the others there.
//!
//! A batch that holds a row which cannot be stored, or meets one that cannot be read, is halved until that row is alone: it
//! is set aside, its caller gets the error, and its neighbours are committed. So is one that makes us panic: the task goes
//! on, and the process with it. When the storage itself fails, everybody who waits gets the error at once.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, ThreadId},
};

use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio::{
    sync::{Mutex, Notify, mpsc, oneshot},
    task::JoinHandle,
};

use crate::telemetry::events;

use super::{Acceptance, LedgerError, Source, again::again, store::Store};

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

/// What a batch is committed by.
trait Commits {
    /// Commits a batch whole or not at all.
    fn take(
        &self,
        batch: &[(&Acceptance, Timestamp)],
    ) -> impl Future<Output = Result<(), LedgerError>> + Send;
}

impl Commits for Store {
    async fn take(&self, batch: &[(&Acceptance, Timestamp)]) -> Result<(), LedgerError> {
        self.accept(batch).await
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

    /// Ends when the task ended: nothing is accepted any more.
    pub(super) async fn ended(&self) {
        self.queue.closed().await;
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
        commit(&*store, batch, &quarantined).await;
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
async fn commit(store: &impl Commits, batch: Vec<Waiting>, quarantined: &AtomicU64) {
    let mut parts = vec![batch];
    while let Some(mut part) = parts.pop() {
        if part.is_empty() {
            continue;
        }
        let acceptances: Vec<_> = part
            .iter()
            .map(|waiting| (&waiting.acceptance, waiting.now))
            .collect();
        let attempt = async { again!(store.take(&acceptances)) };
        // What was begun in the ledger is taken back when it is dropped, so that nothing half done is seen again.
        let result = AssertUnwindSafe(attempt).catch_unwind().await;
        match result.unwrap_or_else(|_told_on_standard_error| Err(panicked())) {
            Err(error) if error.is_of_a_row() && part.len() > 1 => {
                let second = part.split_off(part.len() / 2);
                parts.push(second);
                // The first half goes first: effects keep their order.
                parts.push(part);
            }
            result => {
                if let Err(error) = &result
                    && error.is_of_a_row()
                {
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

/// What is told of a row over which we panicked.
fn panicked() -> LedgerError {
    LedgerError::Refused {
        what: "commit deliveries",
        source: Source::told("a panic, which is a fault of crisp-sync's".to_owned()),
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
    use crate::{ids::WebsiteId, ledger::Delivery};

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

    /// Takes what is told, but stumbles over some of it.
    #[derive(Default)]
    struct Stumbles(std::sync::Mutex<Vec<String>>);

    impl Commits for Stumbles {
        async fn take(&self, batch: &[(&Acceptance, Timestamp)]) -> Result<(), LedgerError> {
            let events: Vec<_> = batch
                .iter()
                .map(|(acceptance, _)| acceptance.delivery.event.clone())
                .collect();
            assert!(!events.contains(&"panics".to_owned()), "as it must not");
            if events.contains(&"torn".to_owned()) {
                return Err(LedgerError::Unreadable { what: "a row" });
            }
            if events.contains(&"full".to_owned()) {
                return Err(LedgerError::Saturated);
            }
            self.0.lock().expect("no panic here").extend(events);
            Ok(())
        }
    }

    async fn told(store: &Stumbles, events: &[&str]) -> (Vec<Result<(), LedgerError>>, u64) {
        let quarantined = AtomicU64::new(0);
        let (batch, answers): (Vec<_>, Vec<_>) = events
            .iter()
            .map(|event| {
                let (answer, answered) = oneshot::channel();
                let delivery = Delivery {
                    website: WebsiteId::parse("w-1").expect("an id"),
                    event: (*event).to_owned(),
                    session: None,
                    people: None,
                    hook: "plugin",
                    origin: None,
                    attempt: None,
                    signed_at: None,
                    event_at: None,
                    bytes: 0,
                };
                let waiting = Waiting {
                    acceptance: Acceptance {
                        delivery,
                        effects: Vec::new(),
                    },
                    now: Timestamp::UNIX_EPOCH,
                    answer,
                    thread: thread::current().id(),
                };
                (waiting, answered)
            })
            .unzip();
        commit(store, batch, &quarantined).await;
        // Side by side: one of them is told, and tells the others.
        let results = answers
            .into_iter()
            .map(async |answer| answer.await.expect("told").result);
        let results = futures_util::future::join_all(results).await;
        (results, quarantined.into_inner())
    }

    #[tokio::test]
    async fn a_row_that_makes_the_writer_panic_is_refused_alone_and_the_writer_goes_on() {
        let store = Stumbles::default();
        let (results, quarantined) = told(&store, &["a", "b", "panics", "c", "d"]).await;
        assert!(matches!(results[2], Err(LedgerError::Refused { .. })));
        let refused = results.iter().filter(|result| result.is_err()).count();
        assert_eq!((refused, quarantined), (1, 1), "{results:?}");
        let (results, _) = told(&store, &["e"]).await;
        assert!(results[0].is_ok(), "{results:?}");
        let taken = store.0.into_inner().expect("no panic here");
        assert_eq!(taken, ["a", "b", "c", "d", "e"], "in order");
    }

    #[tokio::test]
    async fn a_row_that_meets_what_cannot_be_read_is_refused_alone() {
        let store = Stumbles::default();
        let (results, quarantined) = told(&store, &["torn", "a", "b"]).await;
        assert!(matches!(results[0], Err(LedgerError::Unreadable { .. })));
        assert!(results[1].is_ok() && results[2].is_ok(), "{results:?}");
        assert_eq!(quarantined, 1);
    }

    #[tokio::test]
    async fn when_the_storage_fails_everybody_is_told_at_once() {
        let (results, quarantined) = told(&Stumbles::default(), &["a", "full", "b"]).await;
        assert!(results.iter().all(Result::is_err), "{results:?}");
        assert_eq!(quarantined, 0);
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
