//! The script, scene by scene.

mod customer;
mod impostor;
mod others;

use std::collections::BTreeSet;

use super::play::Play;
use crate::sandbox::{HookState, LabelEdit};

/// Everything, in order.
pub(super) async fn play(play: &mut Play<'_>) -> anyhow::Result<()> {
    let maren = customer::first_sight(play).await?;
    // What waits until an address is old enough begins early, and is looked at late.
    let claimed = impostor::claims(play).await?;
    let ingrid = impostor::unproven(play).await?;
    customer::agents_own(play, &maren).await?;
    customer::catches_up(play, &maren).await?;
    customer::leaves(play, &maren).await?;
    others::by_mail(play).await?;
    others::several_accounts(play).await?;
    others::without_consent(play).await?;
    others::staff(play).await?;
    others::unknown(play).await?;
    others::missed_before(play).await?;
    others::other_standings(play).await?;
    impostor::marked(play, &claimed, &ingrid).await?;
    impostor::forges(play, &claimed).await?;
    in_the_end(play).await
}

/// Segments added by hand.
fn add_segment(name: &str) -> LabelEdit {
    LabelEdit {
        segments: vec![name.to_owned()],
        ..LabelEdit::default()
    }
}

/// Data added by hand.
fn add_data(key: &str, value: &str) -> LabelEdit {
    LabelEdit {
        data: [(key.to_owned(), value.into())].into_iter().collect(),
        ..LabelEdit::default()
    }
}

/// What has to be true of the whole play.
async fn in_the_end(play: &mut Play<'_>) -> anyhow::Result<()> {
    crate::cli::output::line("\n   in the end");
    let sandbox = &play.stage.sandbox;
    let (people, events, distinct, unexpected, undelivered) = sandbox.look(|state| {
        let references: Vec<&str> = state
            .contacts()
            .iter()
            .flat_map(|contact| &contact.events)
            .filter_map(|event| event.data.get("ref")?.as_str())
            .collect();
        let events: usize = state
            .contacts()
            .iter()
            .map(|contact| contact.events.len())
            .sum();
        (
            state.contacts().len(),
            events,
            references.iter().collect::<BTreeSet<_>>().len(),
            state.calls().unexpected().len(),
            state
                .hooks()
                .iter()
                .filter(|hook| hook.state != HookState::Accepted)
                .count(),
        )
    });
    let health = play
        .stage
        .service
        .ledger
        .health(crate::clock::Clock::System.now())
        .await?;
    play.expect("at least twelve people were seen", people >= 12);
    play.same("every event on a timeline is another one", distinct, events);
    play.same("no request was one that Crisp would refuse", unexpected, 0);
    play.same("every webhook was accepted", undelivered, 0);
    play.same("no work was given up", health.dead, 0);
    Ok(())
}
