//! Two whole services with one ledger on a server: what is everybody's is so for both of them together.

use std::time::Duration;

use crisp_sync::{
    app::Service,
    sandbox::{Fault, OpenChat},
    server::Server,
    worker::Step,
};
use futures_util::future::join;
use serde_json::Value as Json;

use crate::world::{Setup, World};

const ADA: &str = "ada@northwind.example";
const MINUTE: Duration = Duration::from_mins(1);

struct Two {
    world: World,
    other: Box<Service>,
    server: Server,
}

impl Two {
    /// `None` where there is no server.
    async fn with(change: impl FnOnce(&mut Setup)) -> Option<Self> {
        let world = World::on_a_server_with(change).await?;
        let (other, server) = world.replica(|_| {}).await;
        Some(Self {
            world,
            other,
            server,
        })
    }

    /// Both work at the same time what is due, until neither finds anything.
    async fn work(&self) {
        for _ in 0..100 {
            self.world.hooks_arrive().await;
            let (one, two) = join(self.world.service.worker.step(), self.other.worker.step()).await;
            let steps = [one, two].map(|step| step.expect("the ledger works"));
            if steps == [Step::Idle, Step::Idle] {
                return;
            }
        }
        panic!("they do not come to rest");
    }

    async fn finish(mut self) {
        self.server.drain().await;
        self.server.close().await;
        self.other.ledger.close().await.expect("closed");
        self.world.pass(MINUTE).await;
        self.world.finish().await;
    }
}

/// Each asks what both have used before it begins a row, and counts the row's calls when it is done.
#[tokio::test]
async fn two_spend_one_quota_and_at_most_what_they_have_in_hand_beyond() {
    const QUOTA: usize = 100;
    // What conversations leave to operators is 5 %.
    const CONVERSATIONS: usize = QUOTA * 95 / 100;
    const IN_HAND: usize = 2 * 8;
    // A contact's data, and a read and a write of its profile: the most of a row that sends no event.
    const A_ROW: usize = 3;
    let quota = format!("[crisp]\ndaily_quota = {QUOTA}\n");
    let Some(mut two) = Two::with(|setup| setup.add(&quota)).await else {
        return;
    };
    for number in 0..70 {
        let email = format!("m{number}@northwind.example");
        two.world.add_user(&format!("m{number}"), &email).await;
        two.world.sandbox.open_chat(OpenChat::by(&email).proven());
    }
    two.world.hooks_arrive().await;
    two.world.clock.advance(2 * MINUTE);
    two.work().await;
    let made = two.world.calls_since(0).len();
    assert!(made > CONVERSATIONS - A_ROW, "{made}: both worked");
    assert!(made <= CONVERSATIONS + IN_HAND * A_ROW, "{made}");
    for path in [
        two.world.ops_url("/status"),
        format!(
            "http://{}/status",
            two.server.ops_address.expect("it listens")
        ),
    ] {
        let answer = World::http().get(path).send().await.expect("an answer");
        let status: Json =
            serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON");
        assert_eq!(status["quota"]["calls"], made, "each call is counted once");
    }
    // Nothing is begun any more, by neither.
    two.world.clock.advance(20 * MINUTE);
    two.work().await;
    assert_eq!(two.world.calls_since(0).len(), made);
    // The next day serves who waits.
    two.world.clock.advance(Duration::from_hours(16));
    two.work().await;
    assert!(two.world.calls_since(0).len() > made);
    two.world.clock.advance(Duration::from_hours(24));
    two.work().await;
    two.world.clock.advance(Duration::from_hours(24));
    two.work().await;
    two.finish().await;
}

#[tokio::test]
async fn what_one_was_refused_pauses_the_other() {
    let Some(mut two) = Two::with(|_| {}).await else {
        return;
    };
    two.world.add_user("u1", ADA).await;
    let session = two.world.open(OpenChat::by(ADA).proven()).await;
    let refused = Fault::status("conversation.get", 429).times(0);
    two.world.sandbox.fault(refused);
    two.world.change_user("u1", "plan = 'starter'").await;
    two.world.sandbox.operator_opens(&session).expect("there");
    two.world.hooks_arrive().await;
    two.world.step().await;
    let marker = two.world.marker();
    let second = two.world.sandbox.open_chat(OpenChat::by(ADA).proven());
    two.world.hooks_arrive().await;
    for _ in 0..14 {
        two.world.clock.advance(MINUTE);
        two.work().await;
    }
    assert_eq!(two.world.calls_since(marker), [""; 0], "by neither");
    two.world.clock.advance(MINUTE);
    two.work().await;
    assert_eq!(
        two.world.calls_since(marker),
        ["conversation.get"],
        "one probe for both"
    );
    two.world.sandbox.clear_faults();
    two.world.clock.advance(15 * MINUTE);
    two.work().await;
    two.world.clock.advance(MINUTE);
    two.work().await;
    for session in [&session, &second] {
        assert_eq!(two.world.data(session, "plan"), "starter");
    }
    two.finish().await;
}
