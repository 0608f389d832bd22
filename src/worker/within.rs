//! A limit on the time of an attempt that a process frozen meanwhile keeps to.
//!
//! `tokio::time::timeout` asks what it limits before it looks at the time. A process that was stopped past its deadline, by a
//! debugger, a hypervisor or a full disk, would go on with the request for which it waited, while another worker holds the
//! row. Here the time comes first.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use tokio::time::{Instant, timeout_at};

/// Works until `limit` is over. `None`: it is, and the work was dropped where it stood.
pub(super) async fn within<Work: Future>(limit: Duration, work: Work) -> Option<Work::Output> {
    let deadline = Instant::now() + limit;
    let mut work = pin!(timeout_at(deadline, work));
    poll_fn(|context| {
        if Instant::now() >= deadline {
            return Poll::Ready(None);
        }
        work.as_mut().poll(context).map(Result::ok)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn where_no_time_is_left_nothing_is_begun() {
        for (left, done) in [
            (Duration::ZERO, None),
            (Duration::from_mins(1), Some("done")),
        ] {
            let mut is_begun = false;
            let ended = within(left, async {
                is_begun = true;
                "done"
            });
            assert_eq!(ended.await, done, "{left:?}");
            assert_eq!(is_begun, done.is_some(), "{left:?}");
        }
    }

    #[tokio::test]
    async fn what_never_ends_ends_at_its_deadline() {
        let pending = std::future::pending::<()>();
        assert_eq!(within(Duration::from_millis(1), pending).await, None);
    }
}
