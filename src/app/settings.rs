//! From the configuration to what each component takes. Nothing is decided here; that was done when the file was read.

use std::{num::NonZeroUsize, thread};

use crate::{
    alerts::AlertSettings,
    config::{Config, Mode as ConfiguredMode, TriggerName, WebhookSettings},
    crisp::quota::QuotaSettings,
    ledger::Trigger,
    reconcile::{GapSettings, Mode, ReconcileSettings},
    server::{
        HookKeys, Keys, OpsToken, ServerSettings, interest::InterestSettings,
        webhooks::ReceiverSettings,
    },
    worker::{RetryPolicy, WorkerSettings},
};

/// The listeners' part.
pub(super) fn server(config: &Config) -> ServerSettings {
    let tokens = [
        (&config.server.ops_read_token, false),
        (&config.server.ops_act_token, true),
    ];
    ServerSettings {
        listen: config.server.listen,
        ops_listen: Some(config.server.ops_listen),
        ops_tokens: tokens
            .into_iter()
            .filter_map(|(secret, may_act)| {
                let secret = secret.clone()?;
                Some(OpsToken { secret, may_act })
            })
            .collect(),
        path_prefix: config.server.path_prefix.clone(),
        threads: config
            .server
            .workers
            .map_or_else(processors, NonZeroUsize::get),
        max_connections: config.server.max_connections,
        drain: config.server.shutdown_deadline,
        quota: quota(config),
        receiver: ReceiverSettings {
            keys: HookKeys::new(keys(&config.webhooks)),
            max_body: config.server.max_body,
            body_memory: config.server.body_memory,
            body_timeout: config.server.request_timeout,
            accept_deadline: config.webhooks.accept_deadline,
            late_after: config.webhooks.max_age,
            interest: InterestSettings {
                websites: config.crisp.websites.clone(),
                triggers: config.triggers.on.iter().copied().map(trigger).collect(),
                debounce: config.triggers.debounce,
                fresh_for: config.triggers.fresh_for,
            },
        },
    }
}

/// What webhooks are checked with.
pub(super) fn keys(webhooks: &WebhookSettings) -> Keys {
    Keys {
        signing_secrets: webhooks.signing_secrets.clone(),
        website_keys: webhooks.website_keys.clone(),
    }
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

fn trigger(name: TriggerName) -> Trigger {
    match name {
        TriggerName::MessageSend => Trigger::MessageSend,
        TriggerName::SetEmail => Trigger::SetEmail,
        TriggerName::UpdateVerify => Trigger::UpdateVerify,
        TriggerName::SetState => Trigger::SetState,
        TriggerName::SetOpened => Trigger::SetOpened,
        TriggerName::RequestInitiated => Trigger::RequestInitiated,
        TriggerName::BindSession => Trigger::BindSession,
    }
}

/// The use case's part.
pub(super) fn reconcile(config: &Config) -> ReconcileSettings {
    ReconcileSettings {
        mode: match config.mode {
            ConfiguredMode::Live => Mode::Live,
            ConfiguredMode::Observe => Mode::Observe,
        },
        websites: config.crisp.websites.iter().cloned().collect(),
        policy: config.identity.policy,
        channels: config.identity.channels.clone(),
        verification_address: config.identity.verification_address,
        gap: GapSettings {
            every: config.gap.every,
            window: config.gap.window,
            silence: config.gap.silence,
            // One call in twenty.
            daily_calls: config.crisp.daily_quota.get() / 20,
        },
        ..ReconcileSettings::default()
    }
}

/// The worker's part.
pub(super) fn worker(config: &Config) -> WorkerSettings {
    WorkerSettings {
        concurrency: config.worker.concurrency.get(),
        lease: config.worker.lease,
        call_timeout: config.crisp.client.timeout,
        retry: RetryPolicy {
            base: config.worker.backoff_min,
            longest: config.worker.backoff_max,
            attempts: config.worker.attempts.get(),
        },
        probe_every: config.crisp.pause,
        keep: config.keep,
        quota: quota(config),
        chance: config.worker.chance.clone(),
    }
}

/// The part of alerts.
pub(super) fn alerts(config: &Config) -> AlertSettings {
    AlertSettings {
        url: config.alerts.url.clone(),
        proxy: config.crisp.client.proxy.clone(),
        name: config.alerts.name.clone(),
        signature_failures: config.alerts.signature_failures.get().into(),
        quota: quota(config),
        sweeps_every: (config.users.sweep.is_some()).then_some(config.rules.sweep().every),
    }
}

/// How the day's quota is shared.
fn quota(config: &Config) -> QuotaSettings {
    QuotaSettings {
        daily: config.crisp.daily_quota.get(),
        unproven_percent: config.crisp.unproven_share,
        reserve_percent: config.crisp.reserve,
        day_begins: config.crisp.day_begins,
    }
}
