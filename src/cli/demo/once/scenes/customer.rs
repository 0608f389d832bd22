//! A customer on trial: first sight, an agent's own notes, missed events, the end of the subscription.

use super::{
    super::{
        play::Play,
        sight::{Cost, keys, segments, value},
    },
    add_data, add_segment,
};
use crate::sandbox::{Author, OpenChat};

const WHO: &str = "Maren Vogt";

/// A proven address: an agent and the visitor may see everything.
pub(super) async fn first_sight(play: &mut Play<'_>) -> anyhow::Result<String> {
    let (session, turn) = play
        .opens("usr_maren", "opens a chat with a proven address", |email| {
            OpenChat::by(email).proven()
        })
        .await?;
    let seen = &turn.after;
    let trial = ["plan-pro", "status-trialing", "trial"];
    play.same(
        "the conversation has the segments",
        segments(&seen.session),
        trial,
    );
    play.same("so has the contact", segments(&seen.contact), trial);
    play.same("the plan is shown", value(&seen.session, "plan"), "pro");
    play.same(
        "the days left are a number",
        seen.session.data.get("trial_days_left").cloned(),
        Some(2.into()),
    );
    play.expect(
        "the age of the context is shown",
        keys(&seen.contact).contains("context_as_of"),
    );
    play.expect(
        "what is for agents only is not in the visitor's reach",
        keys(&seen.contact).contains("admin") && !keys(&seen.session).contains("admin"),
    );
    play.same("a sign-up of long ago is no news", turn.news(), [""; 0]);
    let first = Cost {
        conversation: 2,
        data: 1,
        profile: 2,
        events: 0,
    };
    play.same(
        "it cost 2 calls, 1 for contact data, 2 for the profile",
        turn.cost(),
        first,
    );

    let turn = play
        .writes_again(WHO, &session, "writes again, and nothing has happened")
        .await?;
    play.expect("nothing changed", turn.is_unchanged());
    play.same("it cost nothing", turn.calls.len(), 0);
    let turn = play.writes_again(WHO, &session, "and once more").await?;
    play.expect("nothing changed", turn.is_unchanged());
    play.same("it cost nothing", turn.calls.len(), 0);
    Ok(session)
}

/// An agent adds a segment, a key and a field; they cost nothing and stay.
pub(super) async fn agents_own(play: &mut Play<'_>, session: &str) -> anyhow::Result<()> {
    let what = "an agent adds the segment `vip`";
    let turn = play
        .edits(WHO, session, Author::Agent, what, add_segment("vip"))
        .await?;
    play.same("it cost nothing", turn.calls.len(), 0);
    let what = "an agent adds the session data `callback`";
    let edit = add_data("callback", "Tuesday 10:00");
    let turn = play.edits(WHO, session, Author::Agent, what, edit).await?;
    play.same("it cost nothing", turn.calls.len(), 0);
    let what = "an agent adds the contact field `notes` and the segment `key-account`";
    let mut edit = add_data("notes", "prefers e-mail");
    edit.segments = vec!["key-account".to_owned()];
    let turn = play.edits_contact(WHO, session, what, edit).await?;
    play.same("it cost nothing", turn.calls.len(), 0);
    Ok(())
}

/// Three things happen that nobody tells Crisp; the next opening does.
pub(super) async fn catches_up(play: &mut Play<'_>, session: &str) -> anyhow::Result<()> {
    play.app("usr_maren", "upgrade", 6).await?;
    play.app("usr_maren", "finish_onboarding", 5).await?;
    play.app("usr_maren", "finish_import", 4).await?;
    let turn = play
        .agent_opens(WHO, session, "an agent opens the conversation")
        .await?;
    let (session_now, contact) = (&turn.after.session, &turn.after.contact);
    play.same(
        "stale segments are gone, new ones are there, the agent's stays",
        segments(session_now),
        ["onboarded", "plan-pro", "status-active", "vip"],
    );
    play.same(
        "so on the contact",
        segments(contact),
        ["key-account", "onboarded", "plan-pro", "status-active"],
    );
    play.same(
        "the agent's session data stays",
        value(session_now, "callback"),
        "Tuesday 10:00",
    );
    play.same(
        "the agent's field stays",
        value(contact, "notes"),
        "prefers e-mail",
    );
    play.same(
        "the days of the trial are gone",
        value(session_now, "trial_days_left"),
        "",
    );
    play.same(
        "the missed events came, in order, in their colours",
        turn.news(),
        [
            "user:subscription:started green",
            "user:onboarding:completed green",
            "user:import:completed green",
        ],
    );
    let cost = turn.cost();
    play.same("the conversation cost 2 calls", cost.conversation, 2);
    play.same(
        "the contact data 1, its segments 2",
        (cost.data, cost.profile),
        (1, 2),
    );
    play.expect("each event at most 2", cost.events <= 6);

    let turn = play
        .agent_opens(WHO, session, "an agent opens it again")
        .await?;
    play.expect("nothing changed, no event came twice", turn.is_unchanged());
    play.same("it cost nothing", turn.calls.len(), 0);
    Ok(())
}

/// Canceled, then over: one event each, once.
pub(super) async fn leaves(play: &mut Play<'_>, session: &str) -> anyhow::Result<()> {
    play.app("usr_maren", "cancel", 3).await?;
    let turn = play
        .writes_again(WHO, session, "writes again after canceling")
        .await?;
    play.same(
        "access goes on, and so does the plan",
        segments(&turn.after.session),
        ["onboarded", "plan-pro", "status-canceled", "vip"],
    );
    play.expect(
        "the visitor may see until when",
        keys(&turn.after.session).contains("access_until"),
    );
    play.same(
        "the news",
        turn.news(),
        ["user:subscription:canceled orange"],
    );

    play.app("usr_maren", "period_ends", 2).await?;
    let turn = play
        .agent_opens(WHO, session, "an agent opens it after the period ended")
        .await?;
    play.same(
        "the plan is gone",
        segments(&turn.after.session),
        ["onboarded", "status-ended", "vip"],
    );
    play.same("the news", turn.news(), ["user:subscription:churned red"]);
    let turn = play.writes_again(WHO, session, "writes once more").await?;
    play.expect("nothing changed, no event came twice", turn.is_unchanged());
    play.same("it cost nothing", turn.calls.len(), 0);
    play.same(
        "the whole timeline has five events",
        turn.after.events.len(),
        5,
    );
    Ok(())
}
