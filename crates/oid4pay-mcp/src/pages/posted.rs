//! What a form of ours sends.

use axum::extract::Form;
use axum::extract::rejection::FormRejection;
use axum::http::StatusCode;
use jose::constant_time_eq;
use oid4pay::approvals::Passphrase;
use serde::Deserialize;

use super::html::Problem;

/// What a form of ours sends. No `Debug`: it holds the passphrase.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Posted {
    pub(super) csrf: String,
    #[serde(default = "nothing_typed", deserialize_with = "passphrase")]
    pub(super) passphrase: Passphrase,
    #[serde(default)]
    pub(super) decision: String,
    #[serde(default)]
    pub(super) shown: String,
}

impl Posted {
    /// The form, if a page of this visitor's sent it: one with their `csrf`.
    pub(super) fn of(csrf: &str, form: Result<Form<Self>, FormRejection>) -> Result<Self, Problem> {
        let Ok(Form(posted)) = form else {
            return Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "This cannot be read",
                "It is no form of this dashboard.",
            ));
        };
        if !constant_time_eq(posted.csrf.as_bytes(), csrf.as_bytes()) {
            let why = "The form is not from a page of yours that is still good. Reload the page and try again.";
            return Err(Problem::new(StatusCode::FORBIDDEN, "Nothing was changed", why));
        }
        Ok(posted)
    }
}

fn passphrase<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Passphrase, D::Error> {
    String::deserialize(deserializer).map(Passphrase::new)
}

fn nothing_typed() -> Passphrase {
    Passphrase::new(String::new())
}
