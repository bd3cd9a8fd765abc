//! Putting a server into Codex' TOML file without touching anything else in it.

use anyhow::Context as _;
use serde_json::json;
use toml::{Table, Value};

use super::{Launch, NAME};

/// The table of this server. A JSON string is a TOML one too, as long as nothing but text is in it.
pub(super) fn section(launch: &Launch) -> String {
    let quoted = |text: &str| json!(text).to_string();
    let args: Vec<_> = launch.args.iter().map(|arg| quoted(arg)).collect();
    let mut text = format!("[{TABLE}.{NAME}]\ncommand = {}\nargs = [{}]\n", quoted(&launch.command), args.join(", "));
    if !launch.env.is_empty() {
        text.push_str(&format!("\n[{TABLE}.{NAME}.env]\n"));
        launch.env.iter().for_each(|(name, value)| text.push_str(&format!("{} = {}\n", quoted(name), quoted(value))));
    }
    text
}

/// `old` with the table of this server, in the place of the one that was there, else at the end. What is in the environment
/// of one that was there stays, where `launch` does not set it.
pub(super) fn merge(old: &str, launch: &Launch) -> anyhow::Result<String> {
    let mut expected: Table = toml::from_str(old).context("it is not TOML")?;
    let section = with_env_of(&expected, launch).context("its oid4pay has an env that is not text")?;
    let new: Table = toml::from_str(&section).context("the table cannot be written as TOML")?;
    let mut text = without(old);
    if !text.is_empty() {
        text.truncate(text.trim_end().len());
        text.push_str("\n\n");
    }
    text.push_str(&section);
    // What was put in is all that may have changed.
    let servers = expected.entry(TABLE).or_insert_with(|| Table::new().into());
    let server = new.get(TABLE).and_then(|servers| servers.get(NAME)).cloned().context("no table")?;
    servers.as_table_mut().context("its mcp_servers is no table")?.insert(NAME.to_owned(), server);
    let unchanged = toml::from_str::<Table>(&text).is_ok_and(|read| Value::Table(read) == Value::Table(expected));
    anyhow::ensure!(unchanged, "it could not be changed safely");
    Ok(text)
}

/// The table of this server, with the variables of the one in `old` that `launch` does not set itself.
fn with_env_of(old: &Table, launch: &Launch) -> Option<String> {
    let present = old.get(TABLE).and_then(|servers| servers.get(NAME)?.get("env"));
    let mut env = Vec::new();
    for (name, value) in present.map(Value::as_table).unwrap_or(Some(&Table::new()))? {
        if launch.env.iter().all(|(set, _)| set != name) {
            env.push((name.clone(), value.as_str()?.to_owned()));
        }
    }
    env.extend(launch.env.iter().cloned());
    Some(section(&Launch { command: launch.command.clone(), args: launch.args.clone(), env }))
}

/// Without the tables of this server, each from its header to the next one's.
fn without(old: &str) -> String {
    let own = [format!("[{TABLE}.{NAME}]"), format!("[{TABLE}.\"{NAME}\"]")];
    let below = [format!("[{TABLE}.{NAME}."), format!("[{TABLE}.\"{NAME}\".")];
    let mut is_own = false;
    let mut kept = String::with_capacity(old.len());
    for line in old.split_inclusive('\n') {
        let start = line.trim_start();
        if start.starts_with('[') {
            is_own = own.iter().chain(&below).any(|header| start.starts_with(header.as_str()));
        }
        if !is_own {
            kept.push_str(line);
        }
    }
    kept
}

const TABLE: &str = "mcp_servers";

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(command: &str) -> Launch {
        Launch {
            command: command.to_owned(),
            args: vec!["--log".into(), "json".into()],
            env: vec![("A".into(), "b".into())],
        }
    }

    #[test]
    fn everything_else_stays_and_the_table_is_replaced() {
        let old = "# mine\nmodel = \"m\" # the model\n\n[mcp_servers.other]\ncommand = \"x\"\n";
        let new = merge(old, &launch("one")).unwrap();
        assert!(new.starts_with(old), "{new}");
        assert_eq!(merge(&new, &launch("one")).unwrap(), new, "a second time changes nothing");
        let more = format!("{new}\n[tail]\nx = 1\n");
        let replaced = merge(&more, &launch("two")).unwrap();
        assert!(replaced.contains("# the model") && replaced.contains("[tail]\nx = 1\n"), "{replaced}");
        assert!(!replaced.contains("\"one\"") && replaced.matches("[mcp_servers.oid4pay]").count() == 1, "{replaced}");
    }

    #[test]
    fn variables_that_others_set_stay() {
        let old = "[mcp_servers.oid4pay]\ncommand = \"b\"\nenv = { OID4PAY_CLIENT_ID = \"agent_x\", A = \"1\" }\n";
        let new = merge(old, &launch("one")).unwrap();
        let new: Table = toml::from_str(&new).unwrap();
        let env = &new[TABLE][NAME]["env"];
        assert_eq!((env["OID4PAY_CLIENT_ID"].as_str(), env["A"].as_str()), (Some("agent_x"), Some("b")));
    }

    #[test]
    fn what_is_not_understood_is_left_alone() {
        for old in ["a = ", "mcp_servers = 1", "mcp_servers.oid4pay.command = \"x\"", "[mcp_servers]\noid4pay = {}"] {
            assert!(merge(old, &launch("one")).is_err(), "{old}");
        }
    }
}
