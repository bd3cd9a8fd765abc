//! Putting a server into a JSON file without touching anything else in it, spaces and order included.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::NAME;

/// `old` with `entry` under `member`. What is in the environment of one that was there stays, where `entry` does not set it.
pub(super) fn merge(old: &str, member: &str, entry: &Value) -> anyhow::Result<String> {
    let old = if old.trim().is_empty() { "{}\n" } else { old };
    let is_plain = serde_json::from_str(old).context("it is not plain JSON (comments or a trailing comma, perhaps)");
    let mut expected: Map<String, Value> = is_plain?;
    let entry = &with_env_of(expected.get(member).and_then(|servers| servers.get(NAME)), entry);
    let text = put_in(old, member, entry).context("it could not be changed safely")?;
    // What was put in is all that may have changed.
    let servers = expected.entry(member).or_insert_with(|| Map::new().into());
    servers
        .as_object_mut()
        .with_context(|| format!("its {member} is no object"))?
        .insert(NAME.to_owned(), entry.clone());
    anyhow::ensure!(serde_json::from_str::<Value>(&text)? == Value::Object(expected), "it could not be changed safely");
    Ok(text)
}

/// `entry`, with the variables of `present` that it does not set itself.
fn with_env_of(present: Option<&Value>, entry: &Value) -> Value {
    let mut entry = entry.clone();
    if let Some(kept) = present.and_then(|present| present.get("env")?.as_object()).filter(|env| !env.is_empty()) {
        let mut env = kept.clone();
        if let Some(Value::Object(set)) = entry.get("env") {
            env.extend(set.clone());
        }
        entry["env"] = env.into();
    }
    entry
}

fn put_in(old: &str, member: &str, entry: &Value) -> anyhow::Result<String> {
    let members = Object::read(old)?;
    let Some(servers) = members.get(member) else {
        let object = serde_json::json!({ NAME: entry });
        return Ok(insert(old, 0, &members, member, &indented(&object, 1), 1));
    };
    let at = offset(old, servers);
    let known = Object::read(servers)?;
    Ok(match known.get(NAME) {
        Some(present) => {
            let start = offset(old, present);
            let mut text = old.to_owned();
            text.replace_range(start..start + present.len(), &indented(entry, 2));
            text
        }
        None => insert(old, at, &known, NAME, &indented(entry, 2), 2),
    })
}

/// An object's members, each with its text as it stands.
#[derive(Deserialize)]
struct Object<'a>(#[serde(borrow)] BTreeMap<Cow<'a, str>, &'a RawValue>);

impl<'a> Object<'a> {
    fn read(text: &'a str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).map(|value| value.get())
    }
}

/// Where `part`, which is borrowed from `whole`, begins in it.
fn offset(whole: &str, part: &str) -> usize {
    part.as_ptr().addr() - whole.as_ptr().addr()
}

/// Puts a first member into the object that begins at or after `at`.
fn insert(text: &str, at: usize, object: &Object<'_>, name: &str, value: &str, depth: usize) -> String {
    let brace = at + text[at..].find('{').unwrap_or_default();
    let (before, after) = text.split_at(brace + 1);
    let indent = "  ".repeat(depth);
    if object.0.is_empty() {
        let rest: Range<usize> = after.find('}').unwrap_or_default()..after.len();
        let closing = "  ".repeat(depth - 1);
        return format!("{before}\n{indent}{}: {value}\n{closing}{}", Value::from(name), &after[rest]);
    }
    format!("{before}\n{indent}{}: {value},{after}", Value::from(name))
}

/// Pretty JSON that continues at this depth.
fn indented(value: &Value, depth: usize) -> String {
    format!("{value:#}").replace('\n', &format!("\n{}", "  ".repeat(depth)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn merged(old: &str) -> String {
        merge(old, "mcpServers", &json!({"command": "c"})).unwrap()
    }

    #[test]
    fn an_empty_or_absent_file_gets_the_server_alone() {
        let expected = "{\n  \"mcpServers\": {\n    \"oid4pay\": {\n      \"command\": \"c\"\n    }\n  }\n}\n";
        assert_eq!(merged(""), expected);
        assert_eq!(merged("{}\n"), expected);
    }

    #[test]
    fn everything_else_stays_octet_for_octet() {
        let old = "{\n\t\"z\": 1.50, \"mcpServers\": { \"other\": {\"command\": \"x\"}\n\t}, \"a\": [1,2]\n}";
        let new = merged(old);
        for part in ["{\n\t\"z\": 1.50, \"mcpServers\": {", " \"other\": {\"command\": \"x\"}\n\t}, \"a\": [1,2]\n}"] {
            assert!(new.contains(part), "{new}");
        }
        assert_eq!(merged(&new), new, "a second time changes nothing");
        let replaced = merge(&new, "mcpServers", &json!({"command": "d"})).unwrap();
        assert_eq!(replaced, new.replace("\"c\"", "\"d\""));
        let without = merged("{ \"a\": \"}{\" }");
        assert!(without.ends_with(" \"a\": \"}{\" }"), "{without}");
    }

    #[test]
    fn variables_that_others_set_stay() {
        let old = r#"{"mcpServers": {"oid4pay": {"command": "b", "env": {"OID4PAY_CLIENT_ID": "agent_x", "A": "1"}}}}"#;
        let new = merge(old, "mcpServers", &json!({"command": "c", "env": {"A": "2"}})).unwrap();
        let new: Value = serde_json::from_str(&new).unwrap();
        let expected = json!({"command": "c", "env": {"OID4PAY_CLIENT_ID": "agent_x", "A": "2"}});
        assert_eq!(new["mcpServers"]["oid4pay"], expected);
    }

    #[test]
    fn what_is_not_understood_is_left_alone() {
        for old in ["{ // comment\n}", "[]", "{\"mcpServers\": []}", "{\"mcpServers\": {}, }", "nonsense"] {
            assert!(merge(old, "mcpServers", &json!({})).is_err(), "{old}");
        }
    }
}
