//! The routes of Crisp's REST API that the sandbox answers: one table, matched by hand.
//!
//! A contact's address stands raw or encoded in a path, and `+` is a plus there, so segments are split before they are
//! decoded.

/// One route.
#[derive(Debug)]
pub(super) struct Route {
    /// Short name, for journals and faults.
    pub name: &'static str,
    /// HTTP method. A `HEAD` is answered like its `GET`.
    pub method: &'static str,
    /// Path under `/v1` with placeholders.
    pub template: &'static str,
    /// The scope a token must hold, and whether for writing.
    pub scope: Option<(&'static str, bool)>,
    /// What it does.
    pub action: Action,
}

/// What a route does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    PluginSession,
    PluginAccount,
    PluginWebsites,
    WebsiteGet,
    Conversations,
    ConversationCreate,
    ConversationGet,
    ConversationRemove,
    ConversationInitiate,
    MetasGet,
    MetasUpdate,
    StateGet,
    StateUpdate,
    OpenUpdate,
    VerifyGet,
    VerifyUpdate,
    Profiles,
    ProfileCreate,
    ProfileGet,
    ProfileSave,
    ProfileUpdate,
    ProfileRemove,
    DataGet,
    DataSave,
    DataUpdate,
    EventAdd,
    Events,
    PeopleConversations,
}

const SESSIONS: &str = "website:conversation:sessions";
const STATES: &str = "website:conversation:states";
const ACTIONS: &str = "website:conversation:actions";
const INITIATE: &str = "website:conversation:initiate";
const PROFILES: &str = "website:people:profiles";
const DATA: &str = "website:people:data";
const EVENTS: &str = "website:people:events";
const CONVERSATIONS: &str = "website:people:conversations";

macro_rules! routes {
    ($($name:literal $method:literal $template:literal $scope:expr => $action:ident;)*) => {
        /// Every route.
        pub(super) const ROUTES: &[Route] = &[
            $(Route { name: $name, method: $method, template: $template, scope: $scope, action: Action::$action },)*
        ];
    };
}

routes! {
    "plugin.session" "HEAD" "/plugin/connect/session" None => PluginSession;
    "plugin.account" "GET" "/plugin/connect/account" None => PluginAccount;
    "plugin.websites" "GET" "/plugin/connect/websites/all/{page}" None => PluginWebsites;
    "website.get" "GET" "/website/{website_id}" None => WebsiteGet;
    "conversations.list" "GET" "/website/{website_id}/conversations/{page}" Some((SESSIONS, false)) => Conversations;
    "conversation.create" "POST" "/website/{website_id}/conversation" Some((INITIATE, true)) => ConversationCreate;
    "conversation.get" "GET" "/website/{website_id}/conversation/{session_id}" Some((SESSIONS, false)) => ConversationGet;
    "conversation.remove" "DELETE" "/website/{website_id}/conversation/{session_id}" Some((SESSIONS, true)) => ConversationRemove;
    "conversation.initiate" "POST" "/website/{website_id}/conversation/{session_id}/initiate" Some((INITIATE, true)) => ConversationInitiate;
    "metas.get" "GET" "/website/{website_id}/conversation/{session_id}/meta" Some((SESSIONS, false)) => MetasGet;
    "metas.update" "PATCH" "/website/{website_id}/conversation/{session_id}/meta" Some((SESSIONS, true)) => MetasUpdate;
    "state.get" "GET" "/website/{website_id}/conversation/{session_id}/state" Some((STATES, false)) => StateGet;
    "state.update" "PATCH" "/website/{website_id}/conversation/{session_id}/state" Some((STATES, true)) => StateUpdate;
    "open.update" "PATCH" "/website/{website_id}/conversation/{session_id}/open" Some((ACTIONS, true)) => OpenUpdate;
    "verify.get" "GET" "/website/{website_id}/conversation/{session_id}/verify" Some((SESSIONS, false)) => VerifyGet;
    "verify.update" "PATCH" "/website/{website_id}/conversation/{session_id}/verify" Some((SESSIONS, true)) => VerifyUpdate;
    "profiles.list" "GET" "/website/{website_id}/people/profiles/{page}" Some((PROFILES, false)) => Profiles;
    "profile.create" "POST" "/website/{website_id}/people/profile" Some((PROFILES, true)) => ProfileCreate;
    "profile.get" "GET" "/website/{website_id}/people/profile/{people_id}" Some((PROFILES, false)) => ProfileGet;
    "profile.save" "PUT" "/website/{website_id}/people/profile/{people_id}" Some((PROFILES, true)) => ProfileSave;
    "profile.update" "PATCH" "/website/{website_id}/people/profile/{people_id}" Some((PROFILES, true)) => ProfileUpdate;
    "profile.remove" "DELETE" "/website/{website_id}/people/profile/{people_id}" Some((PROFILES, true)) => ProfileRemove;
    "people_data.get" "GET" "/website/{website_id}/people/data/{people_id}" Some((DATA, false)) => DataGet;
    "people_data.save" "PUT" "/website/{website_id}/people/data/{people_id}" Some((DATA, true)) => DataSave;
    "people_data.update" "PATCH" "/website/{website_id}/people/data/{people_id}" Some((DATA, true)) => DataUpdate;
    "people_event.add" "POST" "/website/{website_id}/people/events/{people_id}" Some((EVENTS, true)) => EventAdd;
    "people_events.list" "GET" "/website/{website_id}/people/events/{people_id}/list/{page}" Some((EVENTS, false)) => Events;
    "people_conversations.list" "GET" "/website/{website_id}/people/conversations/{people_id}/list/{page}" Some((CONVERSATIONS, false)) => PeopleConversations;
}

/// What stands in a path's placeholders.
#[derive(Debug, Clone, Default)]
pub(super) struct Params {
    pub website: Option<String>,
    pub session: Option<String>,
    pub people: Option<String>,
    pub page: Option<String>,
}

/// The route a request means; `path` starts behind `/v1`.
pub(super) fn find(method: &str, path: &str) -> Option<(&'static Route, Params)> {
    ROUTES.iter().find_map(|route| {
        let fits = route.method == method || (method == "HEAD" && route.method == "GET");
        fits.then(|| params(route.template, path))
            .flatten()
            .map(|params| (route, params))
    })
}

fn params(template: &str, path: &str) -> Option<Params> {
    let mut wanted = template.split('/');
    let mut given = path.trim_end_matches('/').split('/');
    let mut params = Params::default();
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(params),
            (Some(wanted), Some(given)) if wanted.starts_with('{') => {
                if given.is_empty() {
                    return None;
                }
                let given = Some(decode(given));
                match wanted {
                    "{website_id}" => params.website = given,
                    "{session_id}" => params.session = given,
                    "{people_id}" => params.people = given,
                    _ => params.page = given,
                }
            }
            (Some(wanted), Some(given)) if wanted == given => {}
            _ => return None,
        }
    }
}

/// Undoes percent-encoding; a `+` in a path is a plus.
pub(super) fn decode(segment: &str) -> String {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match (first, tail) {
            (b'%', [high, low, ..]) => hex::decode([*high, *low])
                .ok()
                .and_then(|decoded| decoded.first().copied()),
            _ => None,
        };
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_a_path_is_read_raw_and_encoded() {
        for path in [
            "/website/w/people/data/ada+x@example.org",
            "/website/w/people/data/ada%2Bx%40example.org",
        ] {
            let (route, params) = find("PATCH", path).expect(path);
            assert_eq!(route.name, "people_data.update");
            assert_eq!(params.people.as_deref(), Some("ada+x@example.org"));
        }
        let (_, params) =
            find("GET", "/website/w/people/data/a%2Fb%3F%25@example.org").expect("encoded");
        assert_eq!(params.people.as_deref(), Some("a/b?%@example.org"));
    }

    #[test]
    fn a_head_is_its_get_and_nothing_else_matches() {
        assert_eq!(
            find("HEAD", "/website/w").map(|(route, _)| route.name),
            Some("website.get")
        );
        assert_eq!(
            find("HEAD", "/plugin/connect/session").map(|(route, _)| route.name),
            Some("plugin.session")
        );
        for (method, path) in [
            ("GET", "/plugin/connect/session"),
            ("GET", "/website/w/x"),
            ("POST", "/website/w"),
            ("GET", "/website//"),
        ] {
            assert!(find(method, path).is_none(), "{method} {path}");
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = ROUTES.iter().map(|route| route.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ROUTES.len());
    }
}
