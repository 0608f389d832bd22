//! Who is in Harbor's database, each in a few words, and what can happen to them next.
//!
//! The words are made from the rows as they are, never from the seed: after an action they say what the action did.

use jiff::{SpanRound, Timestamp, Unit};
use sqlx::{FromRow, Row as _, SqlitePool, sqlite::SqliteRow};

use super::{SampleError, action::Action};

/// One address that can open a chat.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Person {
    /// The user's id in Harbor; a stranger has one of their own.
    pub(crate) id: String,
    /// Their name.
    pub(crate) name: String,
    /// The address they chat under.
    pub(crate) email: String,
    /// Where they stand, in a few words.
    pub(crate) summary: String,
    /// What can happen to them now.
    pub(crate) actions: Vec<Offer>,
}

/// Something that can happen, for a button.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Offer {
    /// What [`act`](super::act) takes.
    pub(crate) id: &'static str,
    /// What the button says.
    pub(crate) label: &'static str,
}

/// A visitor whom Harbor has never heard of, until they sign up.
pub(super) mod stranger {
    pub(in super::super) const ID: &str = "visitor_robin";
    pub(in super::super) const NAME: &str = "Robin Ashe";
    pub(in super::super) const EMAIL: &str = "robin.ashe@quayside.example";
}

/// One account, as the app's own pages would read it.
struct Account {
    id: String,
    email: String,
    name: String,
    role: String,
    marketing_opt_in: bool,
    onboarded: bool,
    tenant: String,
    plan: Option<String>,
    status: Option<String>,
    trial_ends_at: Option<String>,
    ends_at: Option<String>,
    importing: bool,
    last_import: Option<String>,
}

impl FromRow<'_, SqliteRow> for Account {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            email: row.try_get("email")?,
            name: row.try_get("name")?,
            role: row.try_get("role")?,
            marketing_opt_in: row.try_get("marketing_opt_in")?,
            onboarded: row.try_get("onboarded")?,
            tenant: row.try_get("tenant")?,
            plan: row.try_get("plan")?,
            status: row.try_get("status")?,
            trial_ends_at: row.try_get("trial_ends_at")?,
            ends_at: row.try_get("ends_at")?,
            importing: row.try_get("importing")?,
            last_import: row.try_get("last_import")?,
        })
    }
}

const ACCOUNTS: &str = "
SELECT u.id, u.email, u.name, u.role, u.marketing_opt_in, u.onboarded_at IS NOT NULL AS onboarded, t.name AS tenant,
       replace(replace(replace(s.price_id, 'price_', ''), '_month', ' monthly'), '_year', ' yearly') AS plan,
       s.status, s.trial_ends_at, s.ends_at,
       EXISTS (SELECT 1 FROM imports i WHERE i.user_id = u.id AND i.finished_at IS NULL) AS importing,
       (SELECT max(i.finished_at) FROM imports i WHERE i.user_id = u.id) AS last_import
FROM users u
JOIN tenants t ON t.id = u.tenant_id
LEFT JOIN subscriptions s ON s.tenant_id = u.tenant_id
WHERE u.deleted_at IS NULL
ORDER BY u.rowid";

/// Everybody who can open a chat: Harbor's users, one entry per address, and the stranger while they are one.
pub(crate) async fn people(pool: &SqlitePool, now: Timestamp) -> Result<Vec<Person>, SampleError> {
    let accounts: Vec<Account> = sqlx::query_as(ACCOUNTS)
        .fetch_all(pool)
        .await
        .map_err(SampleError::database("read"))?;
    let mut people: Vec<Person> = Vec::with_capacity(accounts.len() + 1);
    for account in &accounts {
        match people
            .iter_mut()
            .find(|person| person.email == account.email)
        {
            Some(person) => {
                person.summary += "; ";
                person.summary += &place(account, now);
            }
            None => people.push(Person {
                id: account.id.clone(),
                name: account.name.clone(),
                email: account.email.clone(),
                summary: summary(account, now),
                actions: offers(account),
            }),
        }
    }
    if people.iter().all(|person| person.email != stranger::EMAIL) {
        people.push(Person {
            id: stranger::ID.to_owned(),
            name: stranger::NAME.to_owned(),
            email: stranger::EMAIL.to_owned(),
            summary: "no account: writes from the website".to_owned(),
            actions: vec![Action::SignUp.offer()],
        });
    }
    Ok(people)
}

fn summary(account: &Account, now: Timestamp) -> String {
    let mut words = place(account, now);
    if account.role == "member" {
        words += ", not the owner";
    }
    if !account.onboarded {
        words += ", not onboarded";
    }
    if account.importing {
        words += ", import running";
    } else if account
        .last_import
        .as_deref()
        .is_some_and(|at| hours_until(at, now) == Some(0))
    {
        words += ", just finished an import";
    }
    if !account.marketing_opt_in {
        words += ", wants no marketing";
    }
    words
}

/// The company and what it pays for.
fn place(account: &Account, now: Timestamp) -> String {
    format!("{} · {}", account.tenant, standing(account, now))
}

/// The subscription in a few words: `trial of pro monthly, 2 days left`.
fn standing(account: &Account, now: Timestamp) -> String {
    let (Some(plan), Some(status)) = (&account.plan, &account.status) else {
        return "staff".to_owned();
    };
    match status.as_str() {
        "trialing" => match days_until(account.trial_ends_at.as_deref(), now) {
            Some(days) if days > 0 => format!("trial of {plan}, {} left", days_text(days)),
            _ => format!("trial of {plan} is over"),
        },
        "past_due" => format!("{plan}, payment overdue"),
        "canceled" => match days_until(account.ends_at.as_deref(), now) {
            Some(days) if days > 0 => {
                format!("{plan}, canceled, {} of access left", days_text(days))
            }
            _ => format!("{plan}, canceled"),
        },
        "ended" => format!("left {plan}"),
        _ => plan.clone(),
    }
}

fn days_text(days: i64) -> String {
    if days == 1 {
        "1 day".to_owned()
    } else {
        format!("{days} days")
    }
}

/// Days until `at`, a begun day counted whole.
fn days_until(at: Option<&str>, now: Timestamp) -> Option<i64> {
    let seconds = at?.parse::<Timestamp>().ok()?.as_second() - now.as_second();
    Some(seconds.div_euclid(86_400) + i64::from(seconds.rem_euclid(86_400) > 0))
}

/// Whole hours until `at`, towards zero.
fn hours_until(at: &str, now: Timestamp) -> Option<i64> {
    let at = at.parse::<Timestamp>().ok()?;
    let span = now
        .until(at)
        .ok()?
        .round(
            SpanRound::new()
                .largest(Unit::Hour)
                .smallest(Unit::Hour)
                .mode(jiff::RoundMode::Trunc),
        )
        .ok()?;
    Some(i64::from(span.get_hours()))
}

fn offers(account: &Account) -> Vec<Offer> {
    let mut actions = match (account.role.as_str(), account.status.as_deref()) {
        ("owner", Some("trialing")) => vec![Action::Upgrade],
        ("owner", Some("active")) => vec![Action::Upgrade, Action::Cancel],
        ("owner", Some("past_due")) => vec![Action::PayInvoice, Action::Cancel],
        ("owner", Some("canceled")) => vec![Action::Resubscribe, Action::PeriodEnds],
        ("owner", Some("ended")) => vec![Action::Resubscribe],
        _ => Vec::new(),
    };
    if !account.onboarded {
        actions.push(Action::FinishOnboarding);
    }
    // Staff import too, to try things out; a campaign must not hear of it.
    actions.push(Action::FinishImport);
    actions.push(if account.marketing_opt_in {
        Action::OptOut
    } else {
        Action::OptIn
    });
    actions.into_iter().map(Action::offer).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{noon, sample};
    use super::*;

    #[tokio::test]
    async fn everybody_is_described_by_their_rows() {
        let (_folder, pool) = sample().await;
        let lines: Vec<String> = people(&pool, noon())
            .await
            .expect("people")
            .into_iter()
            .map(|person| format!("{}: {}", person.name, person.summary))
            .collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        Maren Vogt: Nordkai Freight · trial of pro monthly, 2 days left, not onboarded
        Tomás Ribeiro: Tejo Shipping · pro monthly
        Ingrid Solheim: Fjordline Chartering · enterprise yearly
        Jonas Weber: Fjordline Chartering · enterprise yearly, not the owner, not onboarded
        Kofi Mensah: Volta Cargo · starter monthly, payment overdue
        Lucía Herrera: Herrera e Hijos · pro monthly, canceled, 9 days of access left
        Piotr Zieliński: Bursztyn Spedycja · left starter monthly
        Aiko Tanaka: Kaigan Logistics · trial of pro monthly, 14 days left, not onboarded, import running
        Samuel Okafor: Lagoon Forwarders · starter monthly, just finished an import
        Claire Dubois: Dubois Transit · pro yearly; Quai Neuf · trial of starter monthly, 8 days left
        Henrik Lund: Lund & Co · starter monthly, wants no marketing
        Nadia Kask: Baltic Brokers · trial of pro monthly is over
        Priya Raman: Harbor · staff
        Robin Ashe: no account: writes from the website
        ");
    }

    #[tokio::test]
    async fn an_address_is_listed_once() {
        let (_folder, pool) = sample().await;
        let people = people(&pool, noon()).await.expect("people");
        let mut emails: Vec<&str> = people.iter().map(|person| person.email.as_str()).collect();
        emails.sort_unstable();
        let listed = emails.len();
        emails.dedup();
        assert_eq!(emails.len(), listed);
        assert_eq!(listed, 14);
    }
}
