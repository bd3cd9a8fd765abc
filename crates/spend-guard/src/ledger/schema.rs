//! The schema: the scripts that make it, and whether a file has exactly that one. A planted trigger or view could make
//! writes do nothing and reads tell anything, without a single row being wrong.

use std::path::Path;
use std::sync::OnceLock;

use rusqlite::Connection;

use super::transaction::Failed;
use crate::error::LedgerError;
use crate::hash::hash;

/// One row of `sqlite_schema`: type, name, table, and the statement that made it.
type Object = (String, String, String, Option<String>);

/// Refuses a schema that is not exactly the one the scripts make.
pub(super) fn check(sql: &Connection, path: &Path) -> Result<(), Failed> {
    let found = objects(sql)?;
    if fingerprint(&found) == FINGERPRINT {
        return Ok(());
    }
    let expected = match EXPECTED.get() {
        Some(expected) => expected,
        None => {
            let computed = objects(&in_memory()?)?;
            EXPECTED.get_or_init(|| computed)
        }
    };
    if found == *expected {
        return Ok(());
    }
    let named = |one: &Object| (one.0.clone(), one.1.clone());
    let differing = found.iter().find(|object| !expected.contains(object));
    let what = match differing {
        Some(object) if expected.iter().any(|one| named(one) == named(object)) => {
            format!("{} {} was changed", object.0, shown(&object.1))
        }
        Some(object) => format!("{} {} was added", object.0, shown(&object.1)),
        None => match expected.iter().find(|object| !found.contains(object)) {
            Some(object) => format!("{} {} was removed", object.0, object.1),
            None => "an entry of its schema is there twice".to_owned(),
        },
    };
    Err(LedgerError::Altered { path: path.to_owned(), what }.into())
}

/// An empty ledger in memory.
pub(super) fn in_memory() -> Result<Connection, Failed> {
    let connection = Connection::open_in_memory()?;
    for step in SCHEMA {
        connection.execute_batch(step)?;
    }
    Ok(connection)
}

fn objects(sql: &Connection) -> Result<Vec<Object>, Failed> {
    let mut statement = sql.prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    let mut objects = rows.collect::<Result<Vec<Object>, _>>()?;
    objects.sort_unstable();
    Ok(objects)
}

fn fingerprint(objects: &[Object]) -> String {
    let mut octets = Vec::new();
    for (kind, name, table, sql) in objects {
        for text in [kind.as_str(), name, table, sql.as_deref().unwrap_or_default()] {
            octets.extend_from_slice(&(text.len() as u64).to_be_bytes());
            octets.extend_from_slice(text.as_bytes());
        }
    }
    hash(&octets)
}

/// A name that another program chose, fit to be shown.
fn shown(name: &str) -> String {
    let plain = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
    name.chars().map(|c| if plain(&c) { c } else { '?' }).take(64).collect()
}

/// One script per version. A script that was released never changes; what is new goes into a new one.
pub(super) const SCHEMA: [&str; 2] = [include_str!("schema-1.sql"), include_str!("schema-2.sql")];

static EXPECTED: OnceLock<Vec<Object>> = OnceLock::new();

/// That of the schema which the scripts make. It saves running them in memory, a quarter of a millisecond, at every start; one
/// that is not theirs costs only that, and a test says what it should be.
const FINGERPRINT: &str = "0SHzyxjizTrazhtEYZDpm1vLBe6CG91Qz1zMD_4dsto";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_is_that_of_the_scripts() {
        let Ok(memory) = in_memory() else { panic!("the scripts do not run") };
        let Ok(objects) = objects(&memory) else { panic!("the schema cannot be read") };
        assert_eq!(fingerprint(&objects), FINGERPRINT);
    }
}
