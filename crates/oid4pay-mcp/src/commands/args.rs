//! Arguments that several commands take.

use spend_guard::IntentId;

/// Whether output is for people or for programs.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Output {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which intent a command is about.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct About {
    /// The intent, as `approvals` lists it
    pub(super) id: IntentId,
}
