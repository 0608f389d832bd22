//! What can happen to a person in Harbor, each as one or two honest SQL statements.
//!
//! An action is refused unless [`people`](super::people()) offers it to that person as they stand.

use jiff::Timestamp;
use sqlx::SqlitePool;

use super::{
    Offer, SampleError, instant,
    people::{people, stranger},
};

/// Something the app does to its own rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// A visitor makes an account and starts a trial.
    SignUp,
    /// A trial is bought, or a plan becomes the next larger one.
    Upgrade,
    /// The owner cancels; access stays until the period ends.
    Cancel,
    /// The paid period of a canceled subscription is over.
    PeriodEnds,
    /// A canceled subscription is kept, or one that ended begins anew.
    Resubscribe,
    /// An overdue invoice is paid.
    PayInvoice,
    /// The guided tour is done.
    FinishOnboarding,
    /// A CSV import is done.
    FinishImport,
    /// They want no marketing any more.
    OptOut,
    /// They want marketing again.
    OptIn,
}

impl Action {
    const ALL: [Self; 10] = [
        Self::SignUp,
        Self::Upgrade,
        Self::Cancel,
        Self::PeriodEnds,
        Self::Resubscribe,
        Self::PayInvoice,
        Self::FinishOnboarding,
        Self::FinishImport,
        Self::OptOut,
        Self::OptIn,
    ];

    /// The action by its id; `None` when there is none of that name.
    pub(crate) fn parse(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.offer().id == id)
    }

    /// How a page offers it.
    pub(crate) const fn offer(self) -> Offer {
        let (id, label) = match self {
            Self::SignUp => ("sign_up", "Signs up"),
            Self::Upgrade => ("upgrade", "Buys the next plan"),
            Self::Cancel => ("cancel", "Cancels"),
            Self::PeriodEnds => ("period_ends", "The paid period ends"),
            Self::Resubscribe => ("resubscribe", "Comes back"),
            Self::PayInvoice => ("pay_invoice", "Pays the invoice"),
            Self::FinishOnboarding => ("finish_onboarding", "Finishes onboarding"),
            Self::FinishImport => ("finish_import", "Finishes an import"),
            Self::OptOut => ("opt_out", "Wants no marketing"),
            Self::OptIn => ("opt_in", "Wants marketing again"),
        };
        Offer { id, label }
    }

    /// The statements, run in order: `?1` is now, `?2` the user's id, `?3` and `?4` the stranger's address and name.
    const fn statements(self) -> &'static [&'static str] {
        match self {
            Self::SignUp => &[SIGN_UP_TENANT, SIGN_UP_USER, SIGN_UP_TRIAL],
            Self::Upgrade => &[UPGRADE, INVOICE],
            Self::Cancel => &[CANCEL],
            Self::PeriodEnds => &[PERIOD_ENDS],
            Self::Resubscribe => &[RESUBSCRIBE],
            Self::PayInvoice => &[PAY, PAID_UP],
            Self::FinishOnboarding => &["UPDATE users SET onboarded_at = ?1 WHERE id = ?2"],
            Self::FinishImport => &[BEGIN_IMPORT, FINISH_IMPORT],
            Self::OptOut => &["UPDATE users SET marketing_opt_in = FALSE WHERE id = ?2"],
            Self::OptIn => &["UPDATE users SET marketing_opt_in = TRUE WHERE id = ?2"],
        }
    }

    /// What a page says once it is done.
    const fn done(self) -> &'static str {
        match self {
            Self::SignUp => "signed up and started a trial",
            Self::Upgrade => "bought the next plan",
            Self::Cancel => "canceled; access stays until the period ends",
            Self::PeriodEnds => "has no access any more: the period ended",
            Self::Resubscribe => "came back",
            Self::PayInvoice => "paid what was overdue",
            Self::FinishOnboarding => "finished onboarding",
            Self::FinishImport => "finished an import",
            Self::OptOut => "wants no marketing",
            Self::OptIn => "wants marketing again",
        }
    }
}

const SIGN_UP_TENANT: &str =
    "INSERT INTO tenants (id, name, country) VALUES ('ten_quayside', 'Quayside', 'GB')";
const SIGN_UP_USER: &str = "INSERT INTO users (id, tenant_id, email, name, role, marketing_opt_in, created_at) \
     VALUES (?2, 'ten_quayside', ?3, ?4, 'owner', TRUE, ?1)";
const SIGN_UP_TRIAL: &str = "INSERT INTO subscriptions (tenant_id, price_id, billing_period, seats, status, trial_ends_at) \
     SELECT tenant_id, 'price_pro_month', 'month', 1, 'trialing', strftime('%Y-%m-%dT%H:%M:%SZ', ?1, '+14 days') \
     FROM users WHERE id = ?2";
/// A trial is bought as it is; a paid plan becomes the next one, and the largest gets five seats more.
const UPGRADE: &str = "UPDATE subscriptions SET
       price_id = CASE WHEN status = 'trialing' THEN price_id
                       WHEN price_id LIKE 'price_starter%' THEN replace(price_id, 'starter', 'pro')
                       ELSE 'price_enterprise_year' END,
       billing_period = CASE WHEN status <> 'trialing' AND price_id NOT LIKE 'price_starter%' THEN 'year' ELSE billing_period END,
       seats = seats + CASE WHEN price_id = 'price_enterprise_year' THEN 5 ELSE 0 END,
       plan_started_at = CASE WHEN price_id = 'price_enterprise_year' AND status <> 'trialing' THEN plan_started_at ELSE ?1 END,
       renews_at = strftime('%Y-%m-%dT%H:%M:%SZ', ?1, '+1 ' || billing_period),
       status = 'active', trial_ends_at = NULL
     WHERE tenant_id = (SELECT tenant_id FROM users WHERE id = ?2)";
const INVOICE: &str = "INSERT INTO invoices (tenant_id, amount_cents, state, issued_at)
     SELECT tenant_id, seats * CASE price_id WHEN 'price_starter_month' THEN 1900 WHEN 'price_pro_month' THEN 4900
                                             WHEN 'price_pro_year' THEN 49000 ELSE 29500 END, 'paid', ?1
     FROM subscriptions WHERE tenant_id = (SELECT tenant_id FROM users WHERE id = ?2)";
const CANCEL: &str = "UPDATE subscriptions SET status = 'canceled', canceled_at = ?1, renews_at = NULL,
       ends_at = CASE WHEN renews_at > ?1 THEN renews_at ELSE strftime('%Y-%m-%dT%H:%M:%SZ', ?1, '+1 ' || billing_period) END
     WHERE tenant_id = (SELECT tenant_id FROM users WHERE id = ?2)";
const PERIOD_ENDS: &str = "UPDATE subscriptions SET status = 'ended', ends_at = ?1
     WHERE tenant_id = (SELECT tenant_id FROM users WHERE id = ?2)";
/// Keeping what was only canceled is no new subscription; coming back after the end is one.
const RESUBSCRIBE: &str = "UPDATE subscriptions SET
       plan_started_at = CASE status WHEN 'ended' THEN ?1 ELSE plan_started_at END,
       renews_at = CASE status WHEN 'ended' THEN strftime('%Y-%m-%dT%H:%M:%SZ', ?1, '+1 ' || billing_period) ELSE ends_at END,
       status = 'active', canceled_at = NULL, ends_at = NULL
     WHERE tenant_id = (SELECT tenant_id FROM users WHERE id = ?2)";
const PAY: &str = "UPDATE invoices SET state = 'paid'
     WHERE state = 'open' AND issued_at <= ?1 AND tenant_id = (SELECT tenant_id FROM users WHERE id = ?2)";
const PAID_UP: &str = "UPDATE subscriptions SET status = 'active',
       renews_at = strftime('%Y-%m-%dT%H:%M:%SZ', ?1, '+1 ' || billing_period)
     WHERE tenant_id = (SELECT tenant_id FROM users WHERE id = ?2)";
/// Where no import runs, a small one ran.
const BEGIN_IMPORT: &str = "INSERT INTO imports (user_id, module, file_name, row_count, started_at)
     SELECT ?2, 'contacts', 'brokers.csv', 240, ?1
     WHERE NOT EXISTS (SELECT 1 FROM imports WHERE user_id = ?2 AND finished_at IS NULL)";
const FINISH_IMPORT: &str =
    "UPDATE imports SET finished_at = ?1 WHERE user_id = ?2 AND finished_at IS NULL";

/// Lets `action` happen to the person `id` at `now`, and says in words what happened.
pub(crate) async fn act(
    pool: &SqlitePool,
    id: &str,
    action: &str,
    now: Timestamp,
) -> Result<String, SampleError> {
    let refused = || SampleError::NotOffered {
        action: action.to_owned(),
    };
    let chosen = Action::parse(action).ok_or_else(refused)?;
    let person = people(pool, now)
        .await?
        .into_iter()
        .find(|person| person.id == id && person.actions.contains(&chosen.offer()))
        .ok_or_else(refused)?;
    let mut transaction = pool
        .begin()
        .await
        .map_err(SampleError::database("write to"))?;
    for statement in chosen.statements() {
        sqlx::query(*statement)
            .bind(instant(now))
            .bind(id)
            .bind(stranger::EMAIL)
            .bind(stranger::NAME)
            .execute(&mut *transaction)
            .await
            .map_err(SampleError::database("write to"))?;
    }
    transaction
        .commit()
        .await
        .map_err(SampleError::database("write to"))?;
    Ok(format!("{} {}", person.name, chosen.done()))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{noon, sample};
    use super::*;

    async fn summary(pool: &SqlitePool, id: &str) -> String {
        people(pool, noon())
            .await
            .expect("people")
            .into_iter()
            .find(|person| person.id == id)
            .expect("the person")
            .summary
    }

    #[tokio::test]
    async fn each_action_shows_in_the_rows() {
        let (_folder, pool) = sample().await;
        for (id, action, expected) in [
            (
                "usr_maren",
                "upgrade",
                "Nordkai Freight · pro monthly, not onboarded",
            ),
            (
                "usr_maren",
                "upgrade",
                "Nordkai Freight · enterprise yearly, not onboarded",
            ),
            (
                "usr_maren",
                "finish_onboarding",
                "Nordkai Freight · enterprise yearly",
            ),
            (
                "usr_tomas",
                "cancel",
                "Tejo Shipping · pro monthly, canceled, 11 days of access left",
            ),
            (
                "usr_lucia",
                "period_ends",
                "Herrera e Hijos · left pro monthly",
            ),
            ("usr_lucia", "resubscribe", "Herrera e Hijos · pro monthly"),
            ("usr_kofi", "pay_invoice", "Volta Cargo · starter monthly"),
            (
                "usr_kofi",
                "finish_import",
                "Volta Cargo · starter monthly, just finished an import",
            ),
            ("usr_henrik", "opt_in", "Lund & Co · starter monthly"),
            (
                "usr_henrik",
                "opt_out",
                "Lund & Co · starter monthly, wants no marketing",
            ),
            (
                "visitor_robin",
                "sign_up",
                "Quayside · trial of pro monthly, 14 days left, not onboarded",
            ),
        ] {
            act(&pool, id, action, noon()).await.expect(action);
            assert_eq!(summary(&pool, id).await, expected, "{action}");
        }
    }

    #[tokio::test]
    async fn only_what_is_offered_can_happen() {
        let (_folder, pool) = sample().await;
        for (id, action) in [
            ("usr_priya", "cancel"),
            ("usr_tomas", "period_ends"),
            ("usr_jonas", "cancel"),
            ("usr_nobody", "opt_out"),
            ("usr_tomas", "drop table"),
        ] {
            let error = act(&pool, id, action, noon()).await.expect_err(action);
            assert!(matches!(error, SampleError::NotOffered { .. }), "{error}");
        }
    }

    #[tokio::test]
    async fn keeping_a_subscription_is_no_new_one_and_coming_back_is() {
        let (_folder, pool) = sample().await;
        let started = async |tenant: &str| -> String {
            sqlx::query_scalar("SELECT plan_started_at FROM subscriptions WHERE tenant_id = ?")
                .bind(tenant)
                .fetch_one(&pool)
                .await
                .expect("a subscription")
        };
        let before = started("ten_herrera").await;
        act(&pool, "usr_lucia", "resubscribe", noon())
            .await
            .expect("kept");
        assert_eq!(started("ten_herrera").await, before);
        act(&pool, "usr_piotr", "resubscribe", noon())
            .await
            .expect("back");
        assert_eq!(started("ten_bursztyn").await, instant(noon()));
    }

    #[tokio::test]
    async fn a_running_import_is_the_one_that_finishes() {
        let (_folder, pool) = sample().await;
        act(&pool, "usr_aiko", "finish_import", noon())
            .await
            .expect("finished");
        let imports: Vec<(String, Option<String>)> =
            sqlx::query_as("SELECT file_name, finished_at FROM imports WHERE user_id = 'usr_aiko'")
                .fetch_all(&pool)
                .await
                .expect("imports");
        assert_eq!(
            imports,
            [("contacts.csv".to_owned(), Some(instant(noon())))]
        );
    }
}
