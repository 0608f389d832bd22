//! What marketers and operators are told before anything happens, and what they decide afterwards.

mod decide;
mod everybody;
mod testers;

const SIGNUP: &str = "user:signup";
