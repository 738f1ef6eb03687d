//! `sql.query`: one query to a configured database.
//!
//! The query is the playbook's and never a template: values come in only as bind parameters, so that no label can become
//! SQL. It runs inside a read-only transaction with a timeout, as a sub-select, so that it can be nothing but a query.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    clients::{one_line, postgres::Rows},
    domain::{
        evidence::{Origin, Passage},
        template::Input,
    },
    steps::{Context, Effect, Failure, Need, Outcome, Step, span::Span},
};

/// Reads rows of a database under the cluster's `databases:` (PostgreSQL). Nothing can be changed: the transaction is read
/// only, and the server stops the query after `timeout`. Give the configured user no rights but to read: a function it may
/// call still runs.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "Unchecked")]
pub struct Query {
    /// A name under the cluster's `databases:`.
    pub database: Input<String>,
    /// One query, at most 8 KiB, without templates; `$1`, `$2`, … stand for `binds`. They are texts: write `$1::bigint` where
    /// the column is none. Name every column: a row becomes an object.
    pub query: String,
    /// The values of `$1`, `$2`, …, templates; at most 20.
    pub binds: Vec<Input<String>>,
    /// Most rows, 1 to 500; default 50.
    pub rows: Limit,
    /// How long the query may take, 100ms to 12s; default 5s.
    pub timeout: Option<Span<100, 12_000>>,
}

/// [`Query`] before its query and its binds are held against each other.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
struct Unchecked {
    /// A name under the cluster's `databases:`.
    database: Input<String>,
    /// One query, at most 8 KiB, without templates; `$1`, `$2`, … stand for `binds`. They are texts: write `$1::bigint` where
    /// the column is none. Name every column: a row becomes an object.
    query: String,
    /// The values of `$1`, `$2`, …, templates; at most 20.
    #[serde(default)]
    binds: Vec<Input<String>>,
    /// Most rows, 1 to 500; default 50.
    #[serde(default)]
    rows: Limit,
    /// How long the query may take, 100ms to 12s; default 5s.
    #[serde(default)]
    timeout: Option<Span<100, 12_000>>,
}

/// Number of rows.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "usize")]
#[schemars(inline)]
pub struct Limit(#[schemars(range(min = 1, max = 500))] usize);

impl Default for Limit {
    fn default() -> Self {
        Self(50)
    }
}

impl TryFrom<usize> for Limit {
    type Error = String;

    fn try_from(rows: usize) -> Result<Self, String> {
        if (1..=500).contains(&rows) {
            Ok(Self(rows))
        } else {
            Err("`rows` is 1 to 500".to_owned())
        }
    }
}

/// What the database answered.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Answered {
    /// The database's configured name.
    pub database: String,
    /// The rows, each an object of its columns.
    pub rows: Vec<Value>,
    /// How many rows are here.
    pub count: usize,
    /// True when there were more, or a row was too long.
    pub cut: bool,
    /// The value, when there is exactly one row with one column that is a number.
    pub number: Option<f64>,
}

const MAX_QUERY: usize = 8 * 1024;
const MAX_BINDS: usize = 20;
/// Longest value, bytes.
const MAX_BIND: usize = 4 * 1024;
/// Most rows that become passages; the value has them all.
const MAX_PASSAGES: usize = 50;
/// Longest passage, characters.
const MAX_LINE: usize = 1_000;
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

impl TryFrom<Unchecked> for Query {
    type Error = String;

    fn try_from(unchecked: Unchecked) -> Result<Self, String> {
        let Unchecked { database, query, binds, rows, timeout } = unchecked;
        let text = query.trim().trim_end_matches(';').trim_end();
        if text.is_empty() {
            return Err("the query is empty".to_owned());
        }
        if query.len() > MAX_QUERY {
            return Err(format!("this query is {} bytes long; at most {MAX_QUERY}", query.len()));
        }
        if query.contains("{{") {
            return Err(
                "a query takes no templates; put the value under `binds:` and write $1".to_owned()
            );
        }
        if query.contains('\0') {
            return Err("the query holds a NUL character".to_owned());
        }
        if binds.len() > MAX_BINDS {
            return Err(format!("there are {} binds; at most {MAX_BINDS}", binds.len()));
        }
        for number in 1..=binds.len() {
            if !uses(text, number) {
                return Err(format!("the query has no ${number}, but `binds:` has a value for it"));
            }
        }
        let next = binds.len() + 1;
        if uses(text, next) {
            return Err(format!("the query uses ${next}, but `binds:` has no value for it"));
        }
        Ok(Self { database, query: text.to_owned(), binds, rows, timeout })
    }
}

/// True when `$number` stands in the text, not as the beginning of a longer number.
fn uses(text: &str, number: usize) -> bool {
    let hole = format!("${number}");
    text.match_indices(&hole)
        .any(|(at, _)| !text[at + hole.len()..].starts_with(|c: char| c.is_ascii_digit()))
}

impl Step for Query {
    const KIND: &'static str = "sql.query";
    const EFFECT: Effect = Effect::Read;
    const NEEDS: &'static [Need] = &[];
    const EXAMPLE: &'static str = r#"database: hms
query: SELECT "TBL_NAME" AS name FROM "TBLS" WHERE "OWNER" = $1 ORDER BY 1
binds: ["{{labels.owner}}"]
rows: 20
timeout: 5s"#;
    type Output = Answered;

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Answered>, Failure> {
        let cluster = context.cluster()?;
        let name = self.database.fill(context.scope)?;
        let Some(client) = cluster.databases.get(&name) else {
            let known: Vec<&str> = cluster.databases.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(Failure::Skipped(format!(
                "cluster {} has no database named `{}` (configured: {known})",
                cluster.name,
                one_line(&name, 80),
            )));
        };
        let mut binds = vec![];
        for bind in &self.binds {
            let value = bind.fill(context.scope)?;
            if value.len() > MAX_BIND || value.contains('\0') {
                let why =
                    format!("a bind is longer than {MAX_BIND} bytes or holds a NUL character");
                return Err(Failure::Skipped(why));
            }
            binds.push(value);
        }
        let timeout = self.timeout.map_or(TIMEOUT, Span::get);
        let rows = client.query(&self.query, &binds, self.rows.0, timeout).await?;
        Ok(outcome(name, rows))
    }
}

fn outcome(database: String, found: Rows) -> Outcome<Answered> {
    let Rows { rows, cut } = found;
    let number = match rows.as_slice() {
        [Value::Object(row)] if row.len() == 1 => row.values().next().and_then(Value::as_f64),
        _ => None,
    };
    let mut lines: Vec<String> = rows
        .iter()
        .map(|row| format!("sql {database}: {}", one_line(&row.to_string(), MAX_LINE)))
        .collect();
    let summary = match lines.as_slice() {
        [] => format!("sql {database}: no rows"),
        [only] => only.clone(),
        [first, ..] => {
            let more = if cut { "more than " } else { "" };
            format!("{more}{} rows; first: {first}", lines.len())
        }
    };
    if lines.is_empty() {
        lines.push(summary.clone());
    }
    let cut_here = cut || lines.len() > MAX_PASSAGES;
    let source = format!("database {database}");
    let passages = lines
        .into_iter()
        .take(MAX_PASSAGES)
        .map(|line| Passage { cut: cut_here, ..Passage::new(Origin::Database, &source, line) });
    let passages = passages.collect();
    let value = Answered { database, count: rows.len(), rows, cut, number };
    Outcome { value, passages, summary }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(yaml: &str) -> Result<Query, String> {
        serde_saphyr::from_str(yaml).map_err(|error| error.to_string())
    }

    #[test]
    fn a_query_is_held_against_its_binds_when_it_is_loaded() {
        assert!(read(Query::EXAMPLE).is_ok());
        let said = |yaml: &str| read(yaml).unwrap_err();
        assert!(said("database: a\nquery: SELECT $1").contains("`binds:` has no value for it"));
        assert!(said("database: a\nquery: SELECT 1\nbinds: [x]").contains("the query has no $1"));
        assert!(said("database: a\nquery: SELECT $12\nbinds: [x]").contains("the query has no $1"));
        assert!(said("database: a\nquery: \"SELECT '{{labels.x}}'\"").contains("no templates"));
        assert!(said("database: a\nquery: ' ; '").contains("empty"));
        assert!(said("database: a\nquery: \"SELECT '\\0'\"").contains("NUL"));
        assert!(said("database: a\nquery: SELECT 1\nrows: 501").contains("1 to 500"));
        assert!(said("database: a\nquery: SELECT 1\nlimit: 1").contains("limit"));
        assert_eq!(read("database: a\nquery: 'SELECT 1 ; '").unwrap().query, "SELECT 1");
    }

    #[test]
    fn each_row_is_one_passage_and_a_single_number_is_easy_to_use() {
        let rows = |rows: Vec<Value>, cut| outcome("hms".to_owned(), Rows { rows, cut });
        let one = rows(vec![json!({ "n": 7 })], false);
        assert_eq!(one.value.number, Some(7.0));
        insta::assert_snapshot!(one.summary, @r#"sql hms: {"n":7}"#);
        let many = rows(vec![json!({ "a": "x\ny" }), json!({ "a": null })], true);
        insta::assert_snapshot!(many.summary, @r#"more than 2 rows; first: sql hms: {"a":"x\ny"}"#);
        assert!(many.passages.iter().all(|passage| passage.cut));
        let secret = rows(vec![json!({ "user": "x", "password": "hunter2" })], false);
        let kept = crate::domain::redact::redact(&secret.passages[0].text).into_owned();
        assert!(!kept.contains("hunter2"), "{kept}");
        let none = rows(vec![], false);
        assert_eq!((none.passages[0].text.as_str(), none.value.number), ("sql hms: no rows", None));
    }
}
