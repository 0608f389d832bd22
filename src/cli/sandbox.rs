//! `sandbox`: the Crisp stand-in alone, for your own tests.

use anyhow::Context as _;

use super::{Ended, output, values};
use crate::{
    app::Signals,
    clock::Clock,
    sandbox::{Sandbox, SandboxSettings, TokenSettings, WebhookSettings},
};

/// Options of `sandbox`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Where it listens; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8787", value_name = "ADDRESS")]
    listen: String,
    /// Where it sends signed webhooks
    #[arg(long, value_name = "URL", value_parser = values::URL)]
    webhook: Option<String>,
    /// The secret it signs them with
    #[arg(
        long,
        env = "CRISP_SANDBOX_SECRET",
        hide_env_values = true,
        default_value = "sandbox-secret"
    )]
    secret: String,
    /// A website it stands in for; may be given several times
    #[arg(long = "website", value_name = "ID", value_parser = values::WEBSITE)]
    websites: Vec<String>,
    /// The token it takes, as `identifier:key`
    #[arg(
        long,
        env = "CRISP_SANDBOX_TOKEN",
        hide_env_values = true,
        value_name = "IDENTIFIER:KEY",
        value_parser = values::TOKEN
    )]
    token: Option<String>,
}

pub(super) async fn run(options: Options) -> anyhow::Result<Ended> {
    let mut signals = Signals::listen().context("could not take over the signals")?;
    let mut settings = SandboxSettings {
        bind: options.listen,
        webhook: options
            .webhook
            .map(|url| WebhookSettings::signed(url, options.secret)),
        ..SandboxSettings::default()
    };
    if !options.websites.is_empty() {
        settings.websites = options.websites;
    }
    if let Some(token) = options.token {
        let (identifier, key) = token.split_once(':').context("the token has no `:`")?;
        settings.tokens = vec![TokenSettings {
            identifier: identifier.to_owned(),
            key: key.to_owned(),
            ..TokenSettings::default()
        }];
    }
    let websites = settings.websites.join(", ");
    let token = settings.tokens.first().cloned().unwrap_or_default();
    let sandbox = Sandbox::start(settings, Clock::System)?;
    output::line(&format!("page      {}/", sandbox.url()));
    output::line(&format!("REST      {}", sandbox.rest_url()));
    output::line(&format!("website   {websites}"));
    output::line(&format!(
        "token     {}:{} (tier {})",
        token.identifier, token.key, token.tier
    ));
    output::line(
        "control   /sandbox/state, /sandbox/conversations, /sandbox/faults … (docs/sandbox.md)",
    );
    signals.next().await;
    sandbox.stop().await;
    Ok(Ended::Well)
}
