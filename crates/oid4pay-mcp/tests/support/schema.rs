//! What standard output is held against: MCP's official schemas, the tools' own output schemas, the documented codes.
#![allow(clippy::print_stderr, reason = "a check that is skipped is told of")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Value, json};

use super::{Answer, Lifecycle};

/// Checks one message of a server. `asked` is the method of the request it answers.
pub fn check_line(lifecycle: Lifecycle, asked: Option<&str>, message: &Value) {
    let Some(schemas) = OFFICIAL.as_ref() else { return };
    let version = match lifecycle {
        Lifecycle::Handshake(version) => version,
        Lifecycle::Inline => "draft",
    };
    let Some(schema) = schemas.get(version) else { return };
    let definition = match (asked, message.get("result"), message.get("error")) {
        (_, _, Some(_)) if version == "2025-06-18" => "JSONRPCError",
        (_, _, Some(_)) => "JSONRPCErrorResponse",
        (None, None, None) if message.get("id").is_some() => "ServerRequest",
        (None, None, None) => "ServerNotification",
        (Some(_), _, _) if version == "2025-06-18" => "JSONRPCResponse",
        (Some(_), _, _) => "JSONRPCResultResponse",
        (None, ..) => "JSONRPCMessage",
    };
    schema.check(definition, message);
    let result = match asked {
        Some("tools/call") if message["result"]["resultType"] == "input_required" => "InputRequiredResult",
        Some("initialize") => "InitializeResult",
        Some("tools/list") => "ListToolsResult",
        Some("tools/call") => "CallToolResult",
        Some("server/discover") => "DiscoverResult",
        Some("prompts/list") => "ListPromptsResult",
        Some("prompts/get") => "GetPromptResult",
        Some("resources/list") => "ListResourcesResult",
        Some("resources/read") => "ReadResourceResult",
        Some("resources/templates/list") => "ListResourceTemplatesResult",
        _ => return,
    };
    if let Some(value) = message.get("result") {
        schema.check(result, value);
    }
}

/// Checks a tool's answer: shape, output schema, documented code.
pub fn check_result(tool: &str, answer: &Answer) {
    let content = answer.result["content"].as_array().unwrap();
    assert_eq!(content.len(), 2, "{}", answer.result);
    let structured = answer.result.get("structuredContent");
    if answer.is_error() {
        assert!(structured.is_none(), "a refusal has no structured content: {}", answer.result);
        assert!(answer.text(0).starts_with(tool), "{}", answer.text(0));
        let object: Value = serde_json::from_str(answer.text(1)).unwrap();
        assert_eq!(object["success"], false);
        let error = object["error"].as_object().unwrap();
        assert_eq!(error.keys().collect::<Vec<_>>(), ["code", "context", "hint", "message", "retryable"]);
        assert_eq!(error["message"], answer.text(0));
        assert!(error["context"].is_object() && error["retryable"].is_boolean());
        let code = error["code"].as_str().unwrap();
        assert!(documented_codes().any(|known| known == code), "{code} is not in docs/errors.md");
        return;
    }
    let structured = structured.expect("structured content");
    assert_eq!(serde_json::from_str::<Value>(answer.text(0)).unwrap(), *structured);
    assert!(!answer.text(1).is_empty() && !answer.text(1).starts_with('{'));
    let validator = jsonschema::validator_for(&definition(tool)["outputSchema"]).unwrap();
    if let Err(error) = validator.validate(structured) {
        panic!("{tool}'s output breaks its schema: {error}\n{structured:#}");
    }
}

/// The names of all tools, as the source has them, sorted.
pub fn all_tools() -> Vec<String> {
    let files = std::fs::read_dir(Path::new(DEFINITIONS)).unwrap();
    let name = |file: std::fs::DirEntry| Some(file.file_name().to_str()?.strip_suffix(".json")?.to_owned());
    let mut names: Vec<_> = files.filter_map(|file| name(file.unwrap())).collect();
    names.sort();
    names
}

/// Those of the toolset `oid4ac`.
pub fn oid4ac_tools() -> Vec<String> {
    let is_oid4ac = |name: &String| name.starts_with("agent_") || name.starts_with("discovery_");
    all_tools().into_iter().filter(is_oid4ac).collect()
}

/// A tool's definition, as the source has it.
pub fn definition(tool: &str) -> Value {
    let path = Path::new(DEFINITIONS).join(format!("{tool}.json"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The codes in the tables of `docs/errors.md`.
pub fn documented_codes() -> impl Iterator<Item = &'static str> {
    let rows = DOCUMENTED.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split_once('`').map(|(code, _)| code))
}

const DEFINITIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/mcp/tools");
const DOCUMENTED: &str = include_str!("../../../../docs/errors.md");

/// MCP's schemas by version, where they are.
static OFFICIAL: LazyLock<Option<BTreeMap<&'static str, Official>>> = LazyLock::new(|| {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors/mcp-schema"));
    if !folder.is_dir() {
        assert!(std::env::var_os("VECTORS_REQUIRED").is_none(), "{} is missing", folder.display());
        eprintln!("skipped: lines are not held against MCP's schemas, {} is missing", folder.display());
        return None;
    }
    let read = |version: &'static str| (version, Official::read(&folder.join(format!("{version}.schema.json"))));
    Some(["2025-06-18", "2025-11-25", "draft"].into_iter().map(read).collect())
});

struct Official(Value);

impl Official {
    fn read(path: &Path) -> Self {
        Self(serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
    }

    fn check(&self, definition: &str, value: &Value) {
        let place = if self.0.get("$defs").is_some() { "$defs" } else { "definitions" };
        assert!(self.0[place].get(definition).is_some(), "the schema has no {definition}");
        let mut schema = json!({"$ref": format!("#/{place}/{definition}"), place: self.0[place]});
        if let Some(dialect) = self.0.get("$schema") {
            schema["$schema"] = dialect.clone();
        }
        let validator: Validator = jsonschema::validator_for(&schema).unwrap();
        if let Err(error) = validator.validate(value) {
            panic!("not a {definition}: {error} at {}\n{value:#}", error.instance_path());
        }
    }
}
