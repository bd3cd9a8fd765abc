//! What single settings can be.

use std::ops::RangeInclusive;

use clap::ValueEnum;
use serde::Deserialize;

/// Which tools a server offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Toolset {
    /// Register, find merchants, pay, and what the person can see and do about it
    #[default]
    Oid4ac,
    /// The spending guard: policy, budgets, intents, evidence
    Spend,
    /// Both
    All,
}

impl Toolset {
    pub(crate) fn includes(self, other: Self) -> bool {
        self == Self::All || self == other
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Seconds; clients give up long before.
pub(super) const MAX_CONSENT_WAIT: u64 = 300;
/// Seconds.
pub(super) const CALL_DEADLINES: RangeInclusive<u64> = 1..=3600;
