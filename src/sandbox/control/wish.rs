//! What may stand in a body or a query of the control API.

use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::super::{
    labels::LabelEdit,
    settings::{TokenSettings, WebhookSettings},
    state::Author,
};

#[derive(Deserialize)]
pub(super) struct Since {
    #[serde(default)]
    pub(super) after: u64,
    #[serde(default)]
    pub(super) wait: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Text {
    pub(super) text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Identity {
    pub(super) email: Option<String>,
    #[serde(default)]
    pub(super) verified: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StateChange {
    pub(super) state: String,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Edit {
    pub(super) by: Editor,
    pub(super) data: Map<String, Json>,
    pub(super) remove_data: Vec<String>,
    pub(super) segments: Vec<String>,
    pub(super) remove_segments: Vec<String>,
}

impl Edit {
    pub(super) fn parts(self) -> (Author, LabelEdit) {
        let edit = LabelEdit {
            data: self.data,
            remove_data: self.remove_data,
            segments: self.segments,
            remove_segments: self.remove_segments,
        };
        (self.by.into(), edit)
    }
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub(super) enum Editor {
    #[default]
    Agent,
    Visitor,
}

impl From<Editor> for Author {
    fn from(editor: Editor) -> Self {
        match editor {
            Editor::Agent => Self::Agent,
            Editor::Visitor => Self::Visitor,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewContact {
    pub(super) website: Option<String>,
    pub(super) email: String,
    #[serde(default)]
    pub(super) nickname: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewEvent {
    pub(super) text: String,
    #[serde(default)]
    pub(super) data: Map<String, Json>,
    pub(super) color: Option<String>,
    /// Now, unless given.
    pub(super) timestamp: Option<i64>,
    #[serde(default)]
    pub(super) by: Editor,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Subscription {
    pub(super) website_id: String,
    pub(super) bound: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewHook {
    pub(super) event: String,
    pub(super) session_id: Option<String>,
    pub(super) people_id: Option<String>,
    #[serde(default)]
    pub(super) data: Map<String, Json>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Held {
    pub(super) held: bool,
    #[serde(default)]
    pub(super) reverse: bool,
}

/// Settings to change; what is left out stays.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Switches {
    pub(super) behaviour: Option<Map<String, Json>>,
    pub(super) webhook: Option<WebhookSettings>,
    pub(super) tokens: Option<Vec<TokenSettings>>,
}
