//! `paramedic incident`: what the web page can do, from a terminal. A client of the API: it needs a running daemon and
//! nothing else.

use std::{fmt::Write as _, io::Write, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, bail};
use clap::Subcommand;
use secrecy::SecretString;
use serde_json::{Map, Value, json};

use super::{Output, oncall::table};
use crate::{
    clients::{
        Kind,
        http::{Client, Guard, HeaderName, HeaderValue, Method, Request, Response, Url},
    },
    config,
    notify::{Message, console, wording},
};

/// Where a daemon of this machine listens.
const HERE: &str = "http://127.0.0.1:9095";
/// The API remembers by this that a person used the command line.
const AGENT: &str = concat!("paramedic-cli/", env!("CARGO_PKG_VERSION"));

/// Looks at incidents of a running daemon, and acts on them
#[derive(Debug, clap::Args)]
pub struct Incident {
    #[command(subcommand)]
    command: Command,
    /// Address of the daemon; without it, `$PARAMEDIC_URL`, else `http://127.0.0.1:9095`
    #[arg(long, value_name = "URL", global = true)]
    url: Option<String>,
    /// File with a token of `server.tokens`; without it, `$PARAMEDIC_TOKEN`
    #[arg(long, value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,
    /// Who acts, where the daemon asks for no token; without it, `$USER`
    #[arg(long, value_name = "NAME", global = true)]
    by: Option<String>,
    /// How to answer
    #[arg(long, value_enum, default_value_t = Output::Text, global = true)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists incidents, newest first
    List {
        /// open, closed or all
        #[arg(long, default_value = "open")]
        status: String,
        /// At most this many
        #[arg(long, default_value_t = 50)]
        limit: u16,
    },
    /// Shows one incident: its card
    Show {
        /// INC-12 or 12
        id: String,
    },
    /// "I have it": escalation stops
    Ack {
        /// INC-12 or 12
        id: String,
    },
    /// Silences its alerts in Alertmanager
    Silence {
        /// INC-12 or 12
        id: String,
        /// For how long: 1h, 90m
        #[arg(
            long,
            value_name = "DURATION",
            required_unless_present = "until",
            conflicts_with = "until"
        )]
        r#for: Option<String>,
        /// Until when: 2026-11-23T09:00:00Z, or morning
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
    },
    /// Pages nobody for a while
    Snooze {
        /// INC-12 or 12
        id: String,
        /// For how long: 1h, 90m
        #[arg(long, value_name = "DURATION")]
        r#for: String,
    },
    /// Says that it is over
    Resolve {
        /// INC-12 or 12
        id: String,
        /// Although alerts still fire
        #[arg(long)]
        anyway: bool,
    },
    /// Takes the next step of its escalation now
    Escalate {
        /// INC-12 or 12
        id: String,
    },
    /// Declares an incident that no alert told of
    Declare {
        /// What is wrong, in one line
        title: String,
        /// P0, P1, P2 or P3
        #[arg(long)]
        severity: String,
        /// Decides who owns it: namespace=spark-prod
        #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
        labels: Vec<(String, String)>,
    },
    /// Writes on its timeline
    Note {
        /// INC-12 or 12
        id: String,
        /// What to write
        text: String,
    },
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("write name=value".to_owned()),
    }
}

/// Asks the daemon. Exit code 0 when it did what was asked for; every refusal is an error that says what to do.
pub async fn run(args: &Incident, out: &mut dyn Write, color: bool) -> anyhow::Result<ExitCode> {
    let daemon = Daemon::new(args)?;
    let answer = match &args.command {
        Command::List { status, limit } => {
            let query = [("status", status.clone()), ("limit", limit.to_string())];
            daemon.get(&["incidents"], &query).await?
        }
        Command::Show { id } => daemon.get(&["incidents", id], &[]).await?,
        other => daemon.act(other).await?,
    };
    let text = match (args.output, &args.command) {
        (Output::Json, _) => serde_json::to_string_pretty(&answer)?,
        (Output::Text, Command::List { .. }) => list(&answer),
        (Output::Text, Command::Show { .. }) => show(&answer, color)?,
        (Output::Text, _) => wording::clean(answer["message"].as_str().unwrap_or("done")),
    };
    writeln!(out, "{}", text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

fn list(answer: &Value) -> String {
    let items = answer["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    if items.is_empty() {
        return "No incidents.".to_owned();
    }
    let cell = |item: &Value, name: &str| wording::line(item[name].as_str().unwrap_or_default());
    let row = |item: &Value| {
        let title = wording::cut(&cell(item, "title"), 60).into_owned();
        let opened = cell(item, "opened_at");
        let opened = opened.split('.').next().unwrap_or_default().trim_end_matches('Z').to_owned();
        vec![
            cell(item, "id"),
            cell(item, "severity"),
            cell(item, "status"),
            title,
            cell(item, "team"),
            format!("{opened}Z"),
        ]
    };
    let mut text = table(&items.iter().map(row).collect::<Vec<_>>());
    if let Some(next) = answer["next"].as_i64() {
        let _infallible = write!(text, "\n… more below INC-{next}; raise --limit");
    }
    text
}

fn show(answer: &Value, color: bool) -> anyhow::Result<String> {
    let card = serde_json::from_value(answer["card"].clone())
        .context("the daemon's answer cannot be read; is it of another version?")?;
    Ok(console::render(&Message::Card(card), color))
}

/// The daemon's API.
struct Daemon {
    http: Client,
    url: Url,
    token: Option<SecretString>,
    by: Option<String>,
}

impl Daemon {
    fn new(args: &Incident) -> anyhow::Result<Self> {
        let text = args.url.clone().or_else(|| config::variable("PARAMEDIC_URL"));
        let text = text.unwrap_or_else(|| HERE.to_owned());
        let url: config::Url =
            text.parse().map_err(anyhow::Error::msg).context("the daemon's address")?;
        let token = match &args.token_file {
            Some(path) => {
                let token = std::fs::read_to_string(path);
                Some(token.with_context(|| format!("read the token file {}", path.display()))?)
            }
            None => config::variable("PARAMEDIC_TOKEN"),
        };
        let by = args.by.clone().or_else(|| config::variable("USER"));
        let token = token.map(SecretString::from);
        Ok(Self { http: Client::new(Guard::default())?, url: url.get().clone(), token, by })
    }

    async fn get(&self, path: &[&str], query: &[(&str, String)]) -> anyhow::Result<Value> {
        let mut url = self.address(path)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.send(Request::get(url, "ask the daemon")).await
    }

    /// Everything that changes something.
    async fn act(&self, command: &Command) -> anyhow::Result<Value> {
        let (path, body) = match command {
            Command::List { .. } | Command::Show { .. } => bail!("this changes nothing"),
            Command::Ack { id } => (vec![id, "ack"], json!({})),
            Command::Silence { id, r#for, until } => {
                (vec![id, "silence"], json!({ "for": r#for, "until": until }))
            }
            Command::Snooze { id, r#for } => (vec![id, "snooze"], json!({ "for": r#for })),
            Command::Resolve { id, anyway } => (vec![id, "resolve"], json!({ "anyway": anyway })),
            Command::Escalate { id } => (vec![id.as_str(), "escalate"], json!({})),
            Command::Note { id, text } => (vec![id, "note"], json!({ "text": text })),
            Command::Declare { title, severity, labels } => {
                let labels: Map<String, Value> =
                    labels.iter().map(|(n, v)| (n.clone(), json!(v))).collect();
                (vec![], json!({ "title": title, "severity": severity, "labels": labels }))
            }
        };
        let mut body = body;
        body["by"] = json!(self.by);
        let path: Vec<&str> = ["incidents"].into_iter().chain(path).collect();
        let url = self.address(&path)?;
        self.send(Request::post(url, "ask the daemon", body.to_string(), "application/json")).await
    }

    fn address(&self, path: &[&str]) -> anyhow::Result<Url> {
        let mut url = self.url.clone();
        // Each part is encoded: an id cannot lead to another address.
        match url.path_segments_mut() {
            Ok(mut segments) => drop(segments.pop_if_empty().extend(["api", "v1"]).extend(path)),
            Err(()) => bail!("{} is not an address of a daemon", self.url),
        }
        Ok(url)
    }

    async fn send(&self, request: Request) -> anyhow::Result<Value> {
        let changes = request.method != Method::GET;
        let mut request =
            request.header(HeaderName::from_static("user-agent"), HeaderValue::from_static(AGENT));
        if let Some(token) = &self.token {
            request = request.bearer(token);
        }
        let response = self.http.send(request).await.map_err(|error| match error.kind {
            Kind::Unreachable => anyhow::anyhow!(
                "no daemon answers at {}: {}. Start one with `paramedic serve`, or name another with --url or $PARAMEDIC_URL",
                self.url,
                error.reason
            ),
            Kind::Timeout if changes => anyhow::anyhow!("{error}: it may have been done all the same; look with `paramedic incident show`"),
            _ => error.into(),
        })?;
        self.read(&response)
    }

    fn read(&self, response: &Response) -> anyhow::Result<Value> {
        let document: Option<Value> = serde_json::from_slice(&response.body).ok();
        if let (200..300, Some(document)) = (response.status, &document) {
            return Ok(document.clone());
        }
        let detail = document.as_ref().and_then(|document| document["detail"].as_str());
        let Some(detail) = detail.map(wording::line) else {
            let (url, status) = (&self.url, response.status);
            bail!("{url} answered HTTP {status}, but not as Paramedic does; is the address right?");
        };
        let hint = match (response.status, &self.token) {
            (401, None) => "; name its file with --token-file, or set $PARAMEDIC_TOKEN",
            (409, _) if document.is_some_and(|document| document["anyway"] == true) => {
                " (--anyway)"
            }
            _ => "",
        };
        bail!("{detail}{hint}")
    }
}
