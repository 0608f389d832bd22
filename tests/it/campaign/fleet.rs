//! The replicas of one site: alive, dead or frozen.

use std::time::Duration;

use crisp_sync::sandbox::WebhookSettings;

use crate::binary::{
    process::Serving,
    site::{SECRET, Site},
};

/// Nobody listens there: a webhook fails at once and is sent again.
const NOWHERE: &str = "http://127.0.0.1:9/";

/// One replica.
enum Replica {
    Alive(Serving),
    Frozen(Serving),
    Dead,
}

pub(super) struct Fleet<'site> {
    site: &'site Site,
    replicas: Vec<Replica>,
}

impl<'site> Fleet<'site> {
    pub(super) async fn launch(site: &'site Site, replicas: usize) -> Self {
        let mut fleet = Self {
            site,
            replicas: (0..replicas).map(|_| Replica::Dead).collect(),
        };
        let raised =
            futures_util::future::join_all((0..replicas).map(|number| fleet.start(number)));
        let raised = raised.await.into_iter().map(Replica::Alive).collect();
        fleet.replicas = raised;
        fleet.aim(0);
        fleet
    }

    /// Starts a replica that is dead.
    pub(super) async fn raise(&mut self, number: usize) {
        self.replicas[number] = Replica::Alive(self.start(number).await);
        self.aim(number);
    }

    async fn start(&self, number: usize) -> Serving {
        let log = self.site.path(&format!("replica-{number}.log"));
        Serving::start(self.site.command(&["serve"]), &log).await
    }

    /// `kill -9`.
    pub(super) fn kill(&mut self, number: usize) {
        let replica = std::mem::replace(&mut self.replicas[number], Replica::Dead);
        if let Replica::Alive(mut serving) | Replica::Frozen(mut serving) = replica {
            serving.kill();
        }
        self.aim(number);
    }

    /// Stops a replica in its tracks: it holds what it holds, and does not know that time passes.
    pub(super) fn freeze(&mut self, number: usize) {
        let replica = std::mem::replace(&mut self.replicas[number], Replica::Dead);
        self.replicas[number] = match replica {
            Replica::Alive(serving) => {
                serving.signal("STOP");
                Replica::Frozen(serving)
            }
            other => other,
        };
        self.aim(number);
    }

    /// Lets it go on, as if nothing had been.
    pub(super) fn thaw(&mut self, number: usize) {
        let replica = std::mem::replace(&mut self.replicas[number], Replica::Dead);
        self.replicas[number] = match replica {
            Replica::Frozen(serving) => {
                serving.signal("CONT");
                Replica::Alive(serving)
            }
            other => other,
        };
        self.aim(number);
    }

    /// Lets webhooks go to one that lives; the choice falls on the one after `number`.
    pub(super) fn aim(&self, number: usize) {
        let count = self.replicas.len();
        let alive = (1..=count).find_map(|step| match &self.replicas[(number + step) % count] {
            Replica::Alive(serving) => Some(serving.public),
            Replica::Frozen(_) | Replica::Dead => None,
        });
        let url = alive.map_or_else(
            || NOWHERE.to_owned(),
            |address| format!("http://{address}/webhooks/crisp"),
        );
        self.site
            .sandbox
            .set_webhook(Some(WebhookSettings::signed(url, SECRET)));
    }

    /// Ends all of them in order.
    pub(super) async fn land(self) {
        for replica in self.replicas {
            if let Replica::Alive(mut serving) = replica {
                serving.signal("TERM");
                assert_eq!(serving.wait_end().await.code(), Some(0));
            }
        }
    }
}

/// Time that a frozen process does not see, or that a server is away.
pub(super) async fn wait_for_a_while(time: Duration) {
    tokio::time::sleep(time).await;
}
