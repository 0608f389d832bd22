//! The other people of Harbor, each for the sake of one rule.

use std::collections::BTreeSet;

use super::super::{
    play::Play,
    sight::{Cost, keys, segments, value},
};
use crate::sandbox::OpenChat;

fn proven(email: &str) -> OpenChat {
    OpenChat::by(email).proven()
}

/// A From line can be forged: by e-mail only the contact is written.
pub(super) async fn by_mail(play: &mut Play<'_>) -> anyhow::Result<()> {
    let (_, turn) = play
        .opens("usr_jonas", "writes an e-mail", |email| {
            OpenChat::by(email).by_email_channel()
        })
        .await?;
    let seen = &turn.after;
    play.same(
        "nothing is on the conversation",
        segments(&seen.session),
        [""; 0],
    );
    play.same("its data is empty", keys(&seen.session), BTreeSet::new());
    play.same(
        "the contact has the segments",
        segments(&seen.contact),
        ["plan-enterprise", "status-active"],
    );
    play.same("and the data", value(&seen.contact, "role"), "member");
    let cost = Cost {
        conversation: 1,
        data: 1,
        profile: 2,
        events: 0,
    };
    play.same(
        "a look at the conversation, 1 and 2 for the contact",
        turn.cost(),
        cost,
    );
    Ok(())
}

/// One address, two accounts: the query's order decides, and an agent is told.
pub(super) async fn several_accounts(play: &mut Play<'_>) -> anyhow::Result<()> {
    let (_, turn) = play
        .opens(
            "usr_claire",
            "opens a chat; the address has two accounts",
            proven,
        )
        .await?;
    let seen = &turn.after;
    play.same(
        "the paid account comes first, and the mark says that there are more",
        segments(&seen.session),
        ["onboarded", "plan-pro", "several-accounts", "status-active"],
    );
    play.same(
        "its company is shown",
        value(&seen.session, "tenant"),
        "Dubois Transit",
    );
    play.same(
        "the contact has the count",
        value(&seen.contact, "accounts"),
        "2",
    );
    play.expect(
        "the visitor is not told",
        !keys(&seen.session).contains("accounts"),
    );
    Ok(())
}

/// Who wants no marketing gets context, and no event.
pub(super) async fn without_consent(play: &mut Play<'_>) -> anyhow::Result<()> {
    play.app("usr_henrik", "finish_import", 3).await?;
    let (_, turn) = play
        .opens("usr_henrik", "opens a chat; wants no marketing", proven)
        .await?;
    play.same(
        "the context is there",
        value(&turn.after.session, "plan"),
        "starter",
    );
    play.same("no event came", turn.after.events.len(), 0);
    let outbox = play.outbox("usr_henrik").await?;
    play.expect(
        "the ledger says why",
        outbox.contains(&"user:import:completed no_consent".to_owned()),
    );
    Ok(())
}

/// Colleagues are no customers.
pub(super) async fn staff(play: &mut Play<'_>) -> anyhow::Result<()> {
    play.app("usr_priya", "finish_import", 3).await?;
    let (_, turn) = play
        .opens("usr_priya", "opens a chat; works at Harbor", proven)
        .await?;
    play.same(
        "there is no plan",
        segments(&turn.after.session),
        ["onboarded"],
    );
    play.same("no event came", turn.after.events.len(), 0);
    let outbox = play.outbox("usr_priya").await?;
    play.expect(
        "the ledger says why",
        outbox.contains(&"user:import:completed excluded".to_owned()),
    );
    Ok(())
}

/// Whom the app does not know gets nothing, until they sign up.
pub(super) async fn unknown(play: &mut Play<'_>) -> anyhow::Result<()> {
    let (session, turn) = play
        .opens(
            "visitor_robin",
            "opens a chat; the app does not know them",
            proven,
        )
        .await?;
    let seen = &turn.after;
    play.same(
        "nothing is written",
        (segments(&seen.session).len(), keys(&seen.contact).len()),
        (0, 0),
    );
    play.same("it cost one look", turn.calls, ["conversation.get"]);
    play.app("visitor_robin", "sign_up", 1).await?;
    let turn = play
        .writes_again("Robin Ashe", &session, "writes again after signing up")
        .await?;
    play.same(
        "the segments are there",
        segments(&turn.after.session),
        ["plan-pro", "status-trialing", "trial"],
    );
    play.same("the news", turn.news(), ["user:signup green"]);
    Ok(())
}

/// What happened before anybody looked is told at the first sight, if it is still true.
pub(super) async fn missed_before(play: &mut Play<'_>) -> anyhow::Result<()> {
    play.app("usr_aiko", "finish_import", 2).await?;
    let (_, turn) = play
        .opens(
            "usr_aiko",
            "opens a chat 40 minutes after signing up",
            proven,
        )
        .await?;
    play.same(
        "the missed events came, in order",
        turn.news(),
        ["user:signup green", "user:import:completed green"],
    );
    play.app("usr_tomas", "cancel", 3).await?;
    play.app("usr_tomas", "resubscribe", 2).await?;
    let (_, turn) = play
        .opens("usr_tomas", "opens a chat; canceled, and came back", proven)
        .await?;
    play.same(
        "they are a customer",
        segments(&turn.after.session),
        ["onboarded", "plan-pro", "status-active"],
    );
    play.same(
        "nobody is told farewell who came back",
        turn.after.events.len(),
        0,
    );
    Ok(())
}

/// The rest of the subscription's life.
pub(super) async fn other_standings(play: &mut Play<'_>) -> anyhow::Result<()> {
    for (person, what, expected) in [
        (
            "usr_kofi",
            "opens a chat; the payment is overdue",
            &["onboarded", "plan-starter", "status-past_due"][..],
        ),
        (
            "usr_lucia",
            "opens a chat; canceled days ago",
            &["onboarded", "plan-pro", "status-canceled"],
        ),
        (
            "usr_piotr",
            "opens a chat; left weeks ago",
            &["onboarded", "status-ended"],
        ),
        (
            "usr_nadia",
            "opens a chat; the trial is over",
            &["onboarded", "plan-pro", "status-trialing"],
        ),
    ] {
        let (_, turn) = play.opens(person, what, proven).await?;
        play.same("the segments", segments(&turn.after.session), expected);
        play.same("what is old is no news", turn.after.events.len(), 0);
    }
    Ok(())
}
