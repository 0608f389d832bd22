//! What sending would ask of Crisp, with nothing sent: for `plan` and `observe`.

use std::collections::BTreeMap;

use super::{
    Mode, ReconcileError, Reconciler, Run,
    contact::person_ref,
    outbox::{Outbox, known},
};
use crate::{
    crisp::model::NewPeopleEvent,
    ids::WebsiteId,
    ledger::{ContactState, PersonMirror},
    lifecycle::{Edges, Fresh, Recheck, recheck},
    record::{Record, User},
};

impl Reconciler {
    /// `plan`: the calls that sending would make now.
    pub(super) async fn send_on_paper(
        &self,
        run: &mut Run,
        website: &WebsiteId,
        mirror: &PersonMirror,
        user: &User,
        (rows, edges): (&BTreeMap<String, Vec<Record>>, &Edges),
        outbox: &Outbox,
    ) -> Result<(), ReconcileError> {
        let remembered = outbox.known();
        let creates = self.rules.creates_contacts();
        let mut is_read = false;
        for key in outbox.turns(mirror, creates, run.now) {
            let Some(row) = outbox.rows.get(&key) else {
                continue;
            };
            let as_known = known(row);
            let fresh = Fresh {
                user: Some(user),
                rows,
                edges,
            };
            let memory = outbox.memory(&remembered);
            let Ok(Recheck::Send { text, color, data }) =
                recheck(&self.rules, &as_known, &fresh, &memory, run.now)
            else {
                continue;
            };
            if mirror.contact == ContactState::Removed {
                continue;
            }
            let person = person_ref(user);
            if run.hand.mode() == Mode::Plan
                && !is_read
                && self.rules.needs_timeline(&as_known, &outbox.gaps)
            {
                is_read = true;
                run.hand.timeline(website, &person, 1).await?;
            }
            let event = NewPeopleEvent {
                text,
                data,
                color: Some(color.as_str().to_owned()),
            };
            run.hand.add_event(website, &person, &event).await?;
        }
        Ok(())
    }
}
