//! From a request to what it does: whose token it bears, what that may do, and which route it takes.

use base64::Engine as _;
use serde_json::{Value as Json, json};

use super::{
    super::{settings::TokenSettings, state::State},
    PLUGIN_ID, Request,
    answer::Answer,
    body::Refusal,
    routes::{Action, Params},
};

impl State {
    /// Does what a request asks for, if its token may.
    pub(super) fn execute(&mut self, request: &Request, now: i64) -> Result<Answer, Refusal> {
        let Some((route, params)) = &request.route else {
            return Err(Refusal::new(404, "route_not_found", "no such route"));
        };
        let token = self.token(request)?;
        if let Some((scope, write)) = route.scope
            && !token.allows(scope, write)
        {
            return Err(Refusal::new(
                403,
                "not_allowed",
                format!("the token lacks `{scope}`"),
            ));
        }
        let website = params.website.clone().unwrap_or_default();
        if params.website.is_some()
            && !self
                .websites
                .iter()
                .any(|known| known.website_id == website && known.subscribed)
        {
            return Err(Refusal::new(
                404,
                "not_subscribed",
                "the plugin is not installed there",
            ));
        }
        if !self.behaviour.cached_lists
            || !matches!(
                route.action,
                Action::Events | Action::Conversations | Action::Profiles
            )
        {
            return self.act_on(route.action, request, &website, params, now);
        }
        let place = format!("{}?{}", request.path, request.query);
        if let Some(kept) = self.cache.get(&place) {
            let mut answer = Answer::listed(kept.clone());
            answer.bloom = "HIT";
            return Ok(answer);
        }
        let answer = self.act_on(route.action, request, &website, params, now)?;
        self.cache.insert(place, answer.data.clone());
        Ok(answer)
    }

    fn token(&self, request: &Request) -> Result<TokenSettings, Refusal> {
        let refusal = || Refusal::new(401, "invalid_session", "no such token");
        let credentials = request
            .authorization
            .as_deref()
            .and_then(|value| value.strip_prefix("Basic "))
            .and_then(|encoded| {
                base64::engine::general_purpose::STANDARD
                    .decode(encoded)
                    .ok()
            })
            .and_then(|decoded| String::from_utf8(decoded).ok())
            .ok_or_else(refusal)?;
        let token = self
            .tokens
            .iter()
            .find(|token| credentials == format!("{}:{}", token.identifier, token.key))
            .ok_or_else(refusal)?;
        let tier = request.tier.as_deref().unwrap_or("user");
        if token.tier != tier {
            return Err(Refusal::new(
                403,
                "restricted_route_tier",
                "the token is of another tier",
            ));
        }
        Ok(token.clone())
    }

    fn act_on(
        &mut self,
        action: Action,
        request: &Request,
        website: &str,
        params: &Params,
        now: i64,
    ) -> Result<Answer, Refusal> {
        match action {
            Action::PluginSession => Ok(Answer::resolved(json!({}))),
            Action::PluginAccount => Ok(Answer::resolved(json!({"plugin_id": PLUGIN_ID}))),
            Action::PluginWebsites => {
                let first = page(request)? == 1;
                let websites: Vec<Json> = self
                    .websites
                    .iter()
                    .filter(|known| known.subscribed && first)
                    .map(|known| json!({"website_id": known.website_id, "settings": {}}))
                    .collect();
                Ok(Answer::listed(Json::Array(websites)))
            }
            Action::WebsiteGet => Ok(Answer::resolved(json!({
                "website_id": website,
                "name": "Sandbox",
                "domain": "sandbox.example",
                "logo": "",
                "verified": true,
                "institutional": false,
            }))),
            Action::Conversations => self.list_conversations(request, website, page(request)?),
            Action::ConversationCreate => Ok(self.create_conversation(website, now)),
            Action::Profiles => self.list_profiles(request, website, page(request)?),
            Action::ProfileCreate => self.create_profile(&request.body, website, now),
            _ => match (&params.session, &params.people) {
                (Some(session), _) => {
                    self.conversation_route(action, request, website, session, now)
                }
                (None, Some(people)) => self.people_route(action, request, website, people, now),
                (None, None) => Err(Refusal::new(404, "route_not_found", "no such route")),
            },
        }
    }
}

/// The page of a list, from 1.
pub(super) fn page(request: &Request) -> Result<usize, Refusal> {
    request
        .route
        .as_ref()
        .and_then(|(_, params)| params.page.as_deref())
        .and_then(|page| page.parse::<usize>().ok())
        .filter(|page| *page >= 1)
        .ok_or_else(|| Refusal::invalid("the page is not a number from 1"))
}
