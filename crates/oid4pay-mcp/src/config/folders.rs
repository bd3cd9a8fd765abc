//! The default folders of this program.

use std::path::PathBuf;

/// This program's folders, where there is a home to have them in.
pub(crate) fn project_dirs() -> Option<directories::ProjectDirs> {
    directories::ProjectDirs::from("", "", "oid4pay-mcp")
}

/// This program's folder for state, which is never inside the one for data.
pub(super) fn state_dir() -> Option<PathBuf> {
    let usual = project_dirs().and_then(|directories| directories.state_dir().map(ToOwned::to_owned));
    usual.or_else(|| Some(directories::BaseDirs::new()?.home_dir().join(".local/state/oid4pay-mcp")))
}
