//! The settings file.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use oid4ac_client::{AssertionAudience, Compatibility, Endpoint, Origin, RegisteredKeys, SetupTokenAs};
use oid4pay::settings::ServerSettings;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::{CALL_DEADLINES, LogFormat, MAX_CONSENT_WAIT, Toolset};

/// What `config.toml` may say. Each value is checked as it is read, so that an error names its line.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct File {
    #[serde(deserialize_with = "issuer")]
    pub(super) as_origin: Option<String>,
    #[serde(deserialize_with = "endpoint")]
    pub(super) discovery_url: Option<Endpoint>,
    #[serde(deserialize_with = "absolute_path")]
    pub(super) data_dir: Option<PathBuf>,
    #[serde(deserialize_with = "consent_wait")]
    pub(super) consent_wait: Option<u64>,
    #[serde(deserialize_with = "call_deadline")]
    pub(super) call_deadline: Option<u64>,
    pub(super) log: Option<LogFormat>,
    pub(super) toolset: Option<Toolset>,
    pub(super) read_only: bool,
    pub(super) authorization_server: AuthorizationServer,
    pub(super) disclose: Disclosures,
    pub(super) trusted_keys: PinnedKeys,
}

/// `[authorization_server]`: what ordinary servers may want otherwise than OID4AC has it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AuthorizationServer {
    setup_token: SetupTokenSetting,
    assertion_audience: AudienceSetting,
    registered_keys: KeysSetting,
    /// Scope to register where the tool names none.
    registration_scope: Option<String>,
    /// What is registered for a client id that comes through the environment; `agent_register` is told by its caller.
    #[serde(deserialize_with = "urls")]
    redirect_uris: Vec<String>,
    /// Where consent pages may be, besides the server itself.
    #[serde(deserialize_with = "origin")]
    portal_origin: Option<Origin>,
    /// Where endpoints may be, besides the server itself.
    #[serde(deserialize_with = "origins")]
    endpoint_origins: Vec<Origin>,
}

impl AuthorizationServer {
    /// The same, as the core takes it.
    pub(super) fn into_core(self) -> ServerSettings {
        ServerSettings {
            compatibility: self.compatibility(),
            registration_scope: self.registration_scope,
            redirect_uris: self.redirect_uris,
            portal_origin: self.portal_origin,
            endpoint_origins: self.endpoint_origins,
        }
    }

    fn compatibility(&self) -> Compatibility {
        let mut compatibility = Compatibility::default();
        compatibility.setup_token = match self.setup_token {
            SetupTokenSetting::SoftwareStatement => SetupTokenAs::SoftwareStatement,
            SetupTokenSetting::InitialAccessToken => SetupTokenAs::InitialAccessToken,
        };
        compatibility.assertion_audience = match self.assertion_audience {
            AudienceSetting::TokenEndpoint => AssertionAudience::TokenEndpoint,
            AudienceSetting::Issuer => AssertionAudience::Issuer,
        };
        compatibility.registered_keys = match self.registered_keys {
            KeysSetting::AssertionKey => RegisteredKeys::AssertionKey,
            KeysSetting::Both => RegisteredKeys::Both,
        };
        compatibility
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SetupTokenSetting {
    #[default]
    SoftwareStatement,
    InitialAccessToken,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AudienceSetting {
    #[default]
    TokenEndpoint,
    Issuer,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KeysSetting {
    #[default]
    AssertionKey,
    Both,
}

/// `[disclose]`: the claims of a mandate that each merchant may be shown, by the merchant's origin. None is shown otherwise.
#[derive(Clone, Debug, Default)]
pub(super) struct Disclosures(pub(super) BTreeMap<Origin, Vec<String>>);

impl<'de> Deserialize<'de> for Disclosures {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut claims_of = BTreeMap::new();
        for (merchant, claims) in BTreeMap::<String, Vec<String>>::deserialize(deserializer)? {
            let origin = Origin::of(&merchant).map_err(|why| D::Error::custom(format!("`{merchant}`: {why}")))?;
            if let Some(unknown) = claims.iter().find(|claim| !DISCLOSABLE.contains(&claim.as_str())) {
                let known = DISCLOSABLE.join("`, `");
                return Err(D::Error::custom(format!("`{unknown}` is no claim that can be disclosed: `{known}`")));
            }
            claims_of.insert(origin, claims);
        }
        Ok(Self(claims_of))
    }
}

/// `[trusted_keys]`: files with the key sets by which evidence is judged, by the origin of the party that signs with them.
#[derive(Clone, Debug, Default)]
pub(super) struct PinnedKeys(pub(super) BTreeMap<Origin, PathBuf>);

impl<'de> Deserialize<'de> for PinnedKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut file_of = BTreeMap::new();
        for (owner, path) in BTreeMap::<String, PathBuf>::deserialize(deserializer)? {
            let origin = Origin::of(&owner).map_err(|why| D::Error::custom(format!("`{owner}`: {why}")))?;
            if !path.is_absolute() {
                return Err(D::Error::custom(format!("`{owner}`: must be an absolute path")));
            }
            if file_of.insert(origin, path).is_some() {
                return Err(D::Error::custom(format!("`{owner}` is there in two spellings")));
            }
        }
        Ok(Self(file_of))
    }
}

impl File {
    /// Reads the file that was named, else the one in its usual place, where there need not be one.
    pub(super) fn read(named: Option<&Path>) -> anyhow::Result<Self> {
        let path = match named {
            Some(path) => path.to_owned(),
            None => match super::project_dirs() {
                Some(dirs) => dirs.config_dir().join(FILE_NAME),
                None => return Ok(Self::default()),
            },
        };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound && named.is_none() => return Ok(Self::default()),
            Err(error) => return Err(error).with_context(|| format!("the settings file {}", path.display())),
        };
        Self::parse(&text).map_err(|(line, what)| anyhow!("{}, line {line}: {what}", path.display()))
    }

    /// Or in which line what is wrong.
    fn parse(text: &str) -> Result<Self, (usize, String)> {
        toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let before = text.as_bytes().iter().take(start);
            let line = 1 + before.filter(|octet| **octet == b'\n').count();
            let mut keys = String::new();
            // A value is named by its key; an unknown key is in the message.
            if let Some(key) = text.lines().nth(line - 1).and_then(|line| line.split_once('=')) {
                keys = format!("{}: ", key.0.trim());
            }
            let what = match error.message().strip_prefix("unknown field ") {
                Some(rest) => format!("unknown key {rest}"),
                None => format!("{keys}{}", error.message()),
            };
            (line, what)
        })
    }
}

fn issuer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(endpoint(deserializer)?.map(|url| url.as_str().to_owned()))
}

fn endpoint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Endpoint>, D::Error> {
    Endpoint::parse(&String::deserialize(deserializer)?).map(Some).map_err(D::Error::custom)
}

fn origin<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Origin>, D::Error> {
    Origin::of(&String::deserialize(deserializer)?).map(Some).map_err(D::Error::custom)
}

fn origins<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Origin>, D::Error> {
    let list = Vec::<String>::deserialize(deserializer)?;
    list.iter().map(|url| Origin::of(url)).collect::<Result<_, _>>().map_err(D::Error::custom)
}

fn urls<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let list = Vec::<String>::deserialize(deserializer)?;
    match list.iter().find_map(|url| Endpoint::parse(url).err()) {
        Some(error) => Err(D::Error::custom(error)),
        None => Ok(list),
    }
}

/// Which folder a relative one is in would depend on where the program is started.
fn absolute_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    if path.is_absolute() { Ok(Some(path)) } else { Err(D::Error::custom("must be an absolute path")) }
}

fn consent_wait<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    match u64::deserialize(deserializer)? {
        seconds @ 0..=MAX_CONSENT_WAIT => Ok(Some(seconds)),
        _ => Err(D::Error::custom(format!("must be a number of seconds from 0 to {MAX_CONSENT_WAIT}"))),
    }
}

fn call_deadline<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let seconds = u64::deserialize(deserializer)?;
    let (least, most) = (CALL_DEADLINES.start(), CALL_DEADLINES.end());
    match CALL_DEADLINES.contains(&seconds) {
        true => Ok(Some(seconds)),
        false => Err(D::Error::custom(format!("must be a number of seconds from {least} to {most}"))),
    }
}

const FILE_NAME: &str = "config.toml";

/// What can be disclosed of a mandate.
const DISCLOSABLE: [&str; 5] =
    ["principal_email", "principal_country", "principal_phone", "consent_evidence.ip", "consent_evidence.user_agent"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_key() {
        let text = r#"
            as_origin = "https://as.example/tenant"
            discovery_url = "https://directory.example/x"
            data_dir = "/var/lib/agent"
            consent_wait = 0
            call_deadline = 45
            log = "json"
            toolset = "all"
            read_only = true

            [authorization_server]
            setup_token = "initial_access_token"
            assertion_audience = "issuer"
            registered_keys = "both"
            registration_scope = "openid"
            redirect_uris = ["http://127.0.0.1/callback"]
            portal_origin = "https://wallet.example"
            endpoint_origins = ["https://par.as.example"]

            [disclose]
            "https://Shop.example:443" = ["principal_email", "consent_evidence.ip"]

            [trusted_keys]
            "https://as.example/" = "/etc/oid4pay/as.json"
        "#;
        let file = File::parse(text).unwrap();
        assert_eq!(file.as_origin.as_deref(), Some("https://as.example/tenant"));
        assert_eq!(file.discovery_url.unwrap().as_str(), "https://directory.example/x");
        assert_eq!((file.consent_wait, file.log), (Some(0), Some(LogFormat::Json)));
        assert_eq!(file.call_deadline, Some(45));
        assert_eq!((file.toolset, file.read_only), (Some(Toolset::All), true));
        let server = file.authorization_server;
        let compatibility = server.compatibility();
        assert_eq!(compatibility.setup_token, SetupTokenAs::InitialAccessToken);
        assert_eq!(compatibility.assertion_audience, AssertionAudience::Issuer);
        assert_eq!(compatibility.registered_keys, RegisteredKeys::Both);
        assert_eq!(server.redirect_uris, ["http://127.0.0.1/callback"]);
        assert_eq!(server.portal_origin.unwrap().as_str(), "https://wallet.example");
        let shop = Origin::of("https://shop.example").unwrap();
        assert_eq!(file.disclose.0[&shop], ["principal_email", "consent_evidence.ip"]);
        let server = Origin::of("https://as.example").unwrap();
        assert_eq!(file.trusted_keys.0[&server], Path::new("/etc/oid4pay/as.json"));
    }

    #[test]
    fn the_documented_file_is_understood_and_has_every_key() {
        let documented = include_str!("../../../../docs/configuration.md");
        let text = documented.split("```toml").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        File::parse(text).unwrap();
        let table: toml::Table = toml::from_str(text).unwrap();
        let expected = |section: &str| {
            let (_, unknown) = File::parse(&format!("{section}\nno_such_key = 1")).unwrap_err();
            let names: Vec<_> = unknown.split('`').skip(3).step_by(2).map(str::to_owned).collect();
            names.into_iter().collect::<std::collections::BTreeSet<_>>()
        };
        let keys = |table: &toml::Table| table.keys().cloned().collect();
        assert_eq!(expected(""), keys(&table));
        assert_eq!(expected("[authorization_server]"), keys(table["authorization_server"].as_table().unwrap()));
    }

    #[test]
    fn an_empty_file_is_what_no_file_is() {
        let file = File::parse("").unwrap();
        assert_eq!(file.authorization_server.compatibility(), Compatibility::default());
        assert!(file.as_origin.is_none() && file.disclose.0.is_empty());
    }

    #[test]
    fn says_which_line_and_key_is_wrong() {
        let rows = [
            ("log = \"text\"\nas_orign = \"https://as.example\"", 2, "unknown key `as_orign`, expected one of "),
            ("[authorization_server]\nkeys = 1", 2, "unknown key `keys`, expected one of "),
            ("[guard]\nx = 1", 1, "unknown key `guard`, expected one of "),
            ("\nas_origin = \"http://as.example\"", 2, "as_origin: "),
            ("discovery_url = 7", 1, "discovery_url: "),
            ("data_dir = \"~/agent\"", 1, "data_dir: must be an absolute path"),
            ("consent_wait = 301", 1, "consent_wait: must be a number of seconds from 0 to 300"),
            ("consent_wait = -1", 1, "consent_wait: "),
            ("call_deadline = 0", 1, "call_deadline: must be a number of seconds from 1 to 3600"),
            ("log = \"loud\"", 1, "log: unknown variant `loud`"),
            ("[authorization_server]\nendpoint_origins = [\"ftp://a.example\"]", 2, "endpoint_origins: "),
            ("[authorization_server]\nredirect_uris = [\"http://a.example/x\"]", 2, "redirect_uris: "),
            ("log = \"text\"\nlog = \"json\"", 2, "log: duplicate key"),
            ("as_origin", 1, ""),
        ];
        for (text, line, what) in rows {
            let (at, said) = File::parse(text).unwrap_err();
            assert_eq!(at, line, "{text}: {said}");
            assert!(said.starts_with(what), "{text}: {said}");
        }
        let relative = "[trusted_keys]\n\"https://shop.example\" = \"keys.json\"";
        assert!(File::parse(relative).unwrap_err().1.contains("must be an absolute path"));
        let unknown_claim = "[disclose]\n\"https://shop.example\" = [\"principal_name\"]";
        let (_, said) = File::parse(unknown_claim).unwrap_err();
        assert!(said.contains("`principal_name` is no claim that can be disclosed"), "{said}");
    }
}
