//! The receiver of pages and cards: Standard Webhooks, so it drops what it has by its id.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use paramedic::clients::http::{HeaderMap, Request, Response};
use serde_json::Value;

/// A page that a person got.
#[derive(Clone, Debug)]
pub struct Page {
    pub at: Duration,
    pub incident: String,
    pub round: i64,
    pub person: String,
    pub title: String,
}

#[derive(Default)]
pub struct Phone {
    ids: BTreeSet<String>,
    /// Each id once, in the order they came.
    pub pages: Vec<Page>,
    /// What stands in the channel: each incident's newest card.
    pub cards: BTreeMap<String, Value>,
}

impl Phone {
    /// Takes a message; a page that it did not have yet is returned.
    pub fn receive(&mut self, request: &Request, now: Duration) -> (Response, Option<Page>) {
        let answer = Response { status: 204, headers: HeaderMap::new(), body: vec![], cut: false };
        let id = request.headers.iter().find(|(name, _)| name.as_str() == "webhook-id");
        let id = id.map_or("", |(_, value)| value.to_str().unwrap());
        let body: Value = serde_json::from_slice(request.body.as_deref().unwrap()).unwrap();
        if !self.ids.insert(id.to_owned()) {
            return (answer, None);
        }
        let data = &body["data"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if body["type"] == "incident.card" {
            let shown = self.cards.entry(text(&data["incident"])).or_default();
            // A receiver shows the highest revision, whatever comes last.
            if data["card"]["revision"].as_i64() > shown["revision"].as_i64() {
                *shown = data["card"].clone();
            }
        }
        if body["type"] != "incident.page" {
            return (answer, None);
        }
        let page = Page {
            at: now,
            incident: text(&data["incident"]),
            round: data["card"]["round"].as_i64().unwrap_or_default(),
            person: text(&data["person"]),
            title: text(&data["card"]["title"]),
        };
        self.pages.push(page.clone());
        (answer, Some(page))
    }
}
