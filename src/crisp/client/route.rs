//! The routes of Crisp's API that we use: why, which scope they need, and how their paths are built.

use reqwest::Method;
use url::Url;

/// One kind of request.
#[derive(Debug)]
pub(super) struct Route {
    /// Why we make it; the label of its count.
    pub(super) purpose: &'static str,
    pub(super) method: Method,
    /// Below the base URL; each `{…}` is one segment, filled in order.
    pub(super) template: &'static str,
    /// The scope a plugin token needs for it.
    pub(super) scope: &'static str,
    /// What a 404 would be about.
    pub(super) subject: Subject,
}

/// What a route is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    Conversation,
    People,
    Other,
}

macro_rules! routes {
    ($($name:ident = $purpose:literal, $method:ident $template:literal, $scope:literal, $subject:ident;)*) => {
        $(
            pub(super) const $name: Route = Route {
                purpose: $purpose,
                method: Method::$method,
                template: $template,
                scope: $scope,
                subject: Subject::$subject,
            };
            const _: () = assert!(is_snake_case($purpose), "a purpose is a metric label");
        )*
    };
}

routes! {
    PROBE_PLUGIN = "probe", HEAD "plugin/connect/session", "(none)", Other;
    PROBE_WEBSITE = "probe", GET "website/{website_id}", "(none)", Other;
    READ_WEBSITE = "read_website", GET "website/{website_id}", "(none)", Other;
    LIST_CONVERSATIONS = "list_conversations", GET "website/{website_id}/conversations/{page}", "website:conversation:sessions read", Other;
    READ_CONVERSATION = "read_conversation", GET "website/{website_id}/conversation/{session_id}", "website:conversation:sessions read", Conversation;
    UPDATE_METAS = "update_metas", PATCH "website/{website_id}/conversation/{session_id}/meta", "website:conversation:sessions write", Conversation;
    READ_CONTACT = "read_contact", GET "website/{website_id}/people/profile/{people_id}", "website:people:profiles read", People;
    CREATE_CONTACT = "create_contact", POST "website/{website_id}/people/profile", "website:people:profiles write", People;
    UPDATE_CONTACT = "update_contact", PATCH "website/{website_id}/people/profile/{people_id}", "website:people:profiles write", People;
    REMOVE_CONTACT = "remove_contact", DELETE "website/{website_id}/people/profile/{people_id}", "website:people:profiles write", People;
    READ_CONTACT_DATA = "read_contact_data", GET "website/{website_id}/people/data/{people_id}", "website:people:data read", People;
    UPDATE_CONTACT_DATA = "update_contact_data", PATCH "website/{website_id}/people/data/{people_id}", "website:people:data write", People;
    READ_TIMELINE = "read_timeline", GET "website/{website_id}/people/events/{people_id}/list/{page}", "website:people:events read", People;
    ADD_EVENT = "add_event", POST "website/{website_id}/people/events/{people_id}", "website:people:events write", People;
}

const fn is_snake_case(text: &str) -> bool {
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        if !byte.is_ascii_lowercase() && *byte != b'_' {
            return false;
        }
        rest = after;
    }
    !text.is_empty()
}

impl Route {
    /// The URL with the placeholders filled. A value stays one segment whatever it holds: `/ ? # %` and blanks are
    /// encoded; `@` and `+`, which Crisp takes as they are, are not.
    pub(super) fn url(&self, base: &Url, values: &[&str]) -> Url {
        let mut url = base.clone();
        let mut values = values.iter();
        {
            let mut path = url
                .path_segments_mut()
                .expect("the base URL was checked to be http or https");
            path.pop_if_empty();
            for segment in self.template.split('/') {
                if segment.starts_with('{') {
                    let value = values.next().expect("one value for each placeholder");
                    path.push(value);
                } else {
                    path.push(segment);
                }
            }
        }
        debug_assert!(values.next().is_none(), "{}", self.template);
        url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stays_one_segment() {
        let base = Url::parse("https://api.crisp.chat/v1/").expect("a URL");
        for (value, path) in [
            ("ada@example.org", "ada@example.org"),
            ("ada+crisp@example.org", "ada+crisp@example.org"),
            ("a/b@example.org", "a%2Fb@example.org"),
            ("a?b#c%d@example.org", "a%3Fb%23c%25d@example.org"),
            ("a%2Fb@example.org", "a%252Fb@example.org"),
            ("a b@example.org", "a%20b@example.org"),
            ("a\\b@example.org", "a%5Cb@example.org"),
            ("é@example.org", "%C3%A9@example.org"),
            ("../x@example.org", "..%2Fx@example.org"),
        ] {
            assert_eq!(
                READ_CONTACT.url(&base, &["w", value]).as_str(),
                format!("https://api.crisp.chat/v1/website/w/people/profile/{path}")
            );
        }
    }

    #[test]
    fn the_base_may_lack_its_last_slash_and_may_have_a_prefix() {
        for base in ["http://127.0.0.1:8/a/v1", "http://127.0.0.1:8/a/v1/"] {
            let base = Url::parse(base).expect("a URL");
            assert_eq!(
                READ_TIMELINE.url(&base, &["w", "p", "2"]).as_str(),
                "http://127.0.0.1:8/a/v1/website/w/people/events/p/list/2"
            );
        }
    }
}
