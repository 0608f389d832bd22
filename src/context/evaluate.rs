//! Turns a user into a context.

use super::{Context, Definition, Layer, Profile, STAMPS, definition::Field};
use crate::{
    data::DataValue,
    expression::{EvalError, Scope, limits},
    record::User,
};

/// A user for whom the definition has no answer. The definition and the database do not fit; trying again does not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("could not work out `{path}`")]
pub struct EvaluateError {
    /// Where in the definition: `context.data.plan`.
    pub path: String,
    /// What failed there.
    #[source]
    pub source: EvalError,
}

/// What Crisp should show of this user. The stamps are left to [`Context::stamp`].
pub fn evaluate(
    definition: &Definition,
    user: &User,
    now: jiff::Timestamp,
) -> Result<Context, EvaluateError> {
    let scope = Scope {
        user,
        now,
        row: None,
    };
    let mut context = Context::default();
    for (key, field) in &definition.fields {
        let value = value(field, &scope).map_err(|source| EvaluateError {
            path: format!("context.data.{key}"),
            source,
        })?;
        let value = limits::fit(value, definition.longest);
        if field.target.is_session() {
            context.session.data.insert(key.clone(), value.clone());
        }
        if field.target.is_contact() {
            context.contact.data.insert(key.clone(), value);
        }
    }
    for (name, segment) in &definition.segments {
        let rendered = segment
            .render(&scope, definition.longest)
            .map_err(|source| EvaluateError {
                path: format!("context.segments.{name}"),
                source,
            })?;
        if let Some(rendered) = rendered {
            context.session.segments.insert(rendered.clone());
            context.contact.segments.insert(rendered);
        }
    }
    if !definition.as_of {
        unstamp(&mut context.session);
        unstamp(&mut context.contact);
    }
    context.profile = profile(definition, &scope)?;
    Ok(context)
}

fn value(field: &Field, scope: &Scope<'_>) -> Result<DataValue, EvalError> {
    let holds = field
        .when
        .as_ref()
        .map_or(Ok(true), |when| when.truth(scope))?;
    let value = if holds {
        field.value.value_opt(scope)?
    } else {
        None
    };
    Ok(value.unwrap_or_else(|| field.otherwise.clone()))
}

/// Stamps of a time when they were on are cleaned up like any retired key.
fn unstamp(layer: &mut Layer) {
    for stamp in STAMPS {
        layer.data.insert(stamp.to_owned(), DataValue::absent());
    }
}

fn profile(definition: &Definition, scope: &Scope<'_>) -> Result<Profile, EvaluateError> {
    let text = |name: &str| {
        let Some(template) = definition.profile.get(name) else {
            return Ok(None);
        };
        template
            .plain_text(scope)
            .map(|text| text.map(|text| limits::shorten(&text, definition.longest)))
            .map_err(|source| EvaluateError {
                path: format!("profile.{name}"),
                source,
            })
    };
    let address = |name: &str| {
        text(name).map(|text| {
            text.filter(|text| text.starts_with("https://") || text.starts_with("http://"))
        })
    };
    Ok(Profile {
        nickname: text("nickname")?,
        phone: text("phone")?,
        avatar: address("avatar")?,
        website: address("website")?,
        company: text("company")?,
    })
}
