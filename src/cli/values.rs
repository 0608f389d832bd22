//! Values as an operator types them: one of the wrong form is wrong usage, and is told before anything is done.
//!
//! What is wrong is said without the value: it may be somebody's address, or a secret.

use std::{ffi::OsStr, num::NonZeroU64};

use clap::{
    Arg, Command, Error,
    builder::{PossibleValuesParser, StringValueParser, TypedValueParser},
    error::ErrorKind,
};

use crate::{
    ids::{Email, SessionId, UserKey, WebsiteId},
    lifecycle::OutboxState,
};

/// Text of one form.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    /// What is wrong with a text, if anything.
    fault: fn(&str) -> Option<String>,
}

impl TypedValueParser for Form {
    type Value = String;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<String, Error> {
        let text = StringValueParser::new().parse_ref(command, argument, value)?;
        let Some(fault) = (self.fault)(&text) else {
            return Ok(text);
        };
        let option = argument.map(ToString::to_string).unwrap_or_default();
        let told = format!("`{option}`: {fault}");
        Err(command.clone().error(ErrorKind::ValueValidation, told))
    }
}

/// Somebody's address.
pub(super) const EMAIL: Form = Form {
    fault: |text| Email::parse(text).err().map(|error| error.to_string()),
};

/// The app's own key of somebody.
pub(super) const USER: Form = Form {
    fault: |text| UserKey::parse(text).err().map(|error| error.to_string()),
};

/// A website's id.
pub(super) const WEBSITE: Form = Form {
    fault: |text| WebsiteId::parse(text).err().map(|error| error.to_string()),
};

/// A conversation's id.
pub(super) const SESSION: Form = Form {
    fault: |text| {
        let is_one = text.starts_with("session_") && SessionId::parse(text).is_ok();
        (!is_one).then(|| {
            "the value is not a session id: it begins with `session_`\nhint: it stands in the address of the conversation in Crisp's inbox, and in `crisp-sync deliveries list`".to_owned()
        })
    },
};

/// Where a request can be sent.
pub(super) const URL: Form = Form {
    fault: |text| {
        let is_one = url::Url::parse(text)
            .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        (!is_one).then(|| {
            "the value is not a URL: it takes one such as `http://127.0.0.1:8080/webhooks/crisp`"
                .to_owned()
        })
    },
};

/// A token of Crisp's.
pub(super) const TOKEN: Form = Form {
    fault: |text| {
        (!text.contains(':'))
            .then(|| "the value is not a token: write it as `identifier:key`".to_owned())
    },
};

/// A state of the outbox.
pub(super) fn state() -> PossibleValuesParser {
    PossibleValuesParser::new(OutboxState::ALL.map(OutboxState::as_str))
}

/// At most so many, and at least one.
pub(super) fn limit(text: &str) -> Result<u32, &'static str> {
    let limit: Option<NonZeroU64> = text.parse().ok();
    limit
        .map(|limit| u32::try_from(limit.get()).unwrap_or(u32::MAX))
        .ok_or("it takes a number from 1 on")
}
