//! What marketers and operators are told before anything happens, and what they decide afterwards.

mod decide;
pub(crate) mod everybody;
mod testers;

const SIGNUP: &str = "user:signup";
