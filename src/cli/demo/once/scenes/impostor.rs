//! Addresses that nobody has proven, and a visitor who lies.

use std::collections::BTreeSet;

use super::super::{
    play::Play,
    sight::{Cost, keys, segments, value},
};
use crate::{
    context::UNVERIFIED,
    sandbox::{Author, LabelEdit, OpenChat, State},
};

/// Whose proven conversation the impostor takes over, and what the agent's screen calls them.
const WHO: &str = "Samuel Okafor";
/// Who opens a chat without proof.
const UNPROVEN: &str = "Ingrid Solheim";

fn nothing() -> BTreeSet<&'static str> {
    BTreeSet::new()
}

/// A visitor with an address of their own claims somebody else's.
pub(super) async fn claims(play: &mut Play<'_>) -> anyhow::Result<String> {
    let (session, turn) = play
        .opens(
            "usr_samuel",
            "opens a chat with a proven address",
            |email| OpenChat::by(email).proven(),
        )
        .await?;
    play.same(
        "their plan is shown",
        value(&turn.after.session, "plan"),
        "starter",
    );
    play.same(
        "an import that nobody told Crisp of is told now",
        turn.news(),
        ["user:import:completed green"],
    );
    let what = "the visitor claims to be Tomás Ribeiro, without proof";
    let turn = play.claims(WHO, &session, "usr_tomas", what).await?;
    play.same(
        "the session data is empty: neither their own nor the other's",
        keys(&turn.after.session),
        nothing(),
    );
    play.same(
        "the agent sees whom they claim to be",
        segments(&turn.after.session),
        ["onboarded", "plan-pro", "status-active"],
    );
    play.same(
        "the contact is Tomás's",
        value(&turn.after.contact, "tenant"),
        "Tejo Shipping",
    );
    Ok(session)
}

/// An address without proof: the agent is helped, the visitor learns nothing.
pub(super) async fn unproven(play: &mut Play<'_>) -> anyhow::Result<String> {
    let (session, turn) = play
        .opens("usr_ingrid", "opens a chat without proof", OpenChat::by)
        .await?;
    play.same(
        "the session data is empty",
        keys(&turn.after.session),
        nothing(),
    );
    play.same(
        "the conversation has the segments",
        segments(&turn.after.session),
        ["onboarded", "plan-enterprise", "status-active"],
    );
    play.same(
        "the contact has the data",
        value(&turn.after.contact, "plan"),
        "enterprise",
    );
    let first = Cost {
        conversation: 2,
        data: 1,
        profile: 2,
        events: 0,
    };
    play.same("it cost as much as with proof", turn.cost(), first);
    Ok(session)
}

/// Once an address is five seconds old and still not proven, an agent is told.
pub(super) async fn marked(
    play: &mut Play<'_>,
    claimed: &str,
    unproven: &str,
) -> anyhow::Result<()> {
    for (who, session) in [(WHO, claimed), (UNPROVEN, unproven)] {
        let turn = play
            .awaits(
                who,
                session,
                "the conversation is marked `unverified`",
                |state| is_marked(state, session),
            )
            .await?;
        play.same(
            "the session data is still empty",
            keys(&turn.after.session),
            nothing(),
        );
    }
    Ok(())
}

fn is_marked(state: &State, session: &str) -> bool {
    state
        .conversation(session)
        .is_some_and(|found| found.labels.segments.iter().any(|name| name == UNVERIFIED))
}

/// What a browser forges under our names goes, and nothing else comes.
pub(super) async fn forges(play: &mut Play<'_>, session: &str) -> anyhow::Result<()> {
    let forged = LabelEdit {
        segments: vec!["plan-enterprise".to_owned()],
        data: [("plan".to_owned(), "enterprise".into())]
            .into_iter()
            .collect(),
        ..LabelEdit::default()
    };
    let what = "the visitor forges the segment `plan-enterprise` and the key `plan`";
    let turn = play
        .edits(WHO, session, Author::Visitor, what, forged)
        .await?;
    play.same(
        "the forged segment is gone, the mark stays",
        segments(&turn.after.session),
        ["onboarded", "plan-pro", "status-active", UNVERIFIED],
    );
    play.same(
        "the session data is empty",
        keys(&turn.after.session),
        nothing(),
    );
    play.same(
        "the contact says the truth",
        value(&turn.after.contact, "plan"),
        "pro",
    );
    play.same("no event came of it", turn.after.events.len(), 0);

    let turn = play
        .agent_opens(WHO, session, "an agent opens the conversation")
        .await?;
    play.expect("nothing changed", turn.is_unchanged());
    play.same("it cost nothing", turn.calls.len(), 0);
    Ok(())
}
