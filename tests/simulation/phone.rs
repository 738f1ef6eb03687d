//! The receiver of pages and cards: Standard Webhooks, so it drops what it has by its id.

use std::collections::BTreeSet;

use paramedic::clients::http::{HeaderMap, Request, Response};
use serde_json::Value;

/// A page that a person got.
#[derive(Clone, Debug)]
pub struct Page {
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
}

impl Phone {
    /// Takes a message; a page that it did not have yet is returned.
    pub fn receive(&mut self, request: &Request) -> (Response, Option<Page>) {
        let answer = Response { status: 204, headers: HeaderMap::new(), body: vec![], cut: false };
        let id = request.headers.iter().find(|(name, _)| name.as_str() == "webhook-id");
        let id = id.map_or("", |(_, value)| value.to_str().unwrap());
        let body: Value = serde_json::from_slice(request.body.as_deref().unwrap()).unwrap();
        if body["type"] != "incident.page" || !self.ids.insert(id.to_owned()) {
            return (answer, None);
        }
        let data = &body["data"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let page = Page {
            incident: text(&data["incident"]),
            round: data["card"]["round"].as_i64().unwrap_or_default(),
            person: text(&data["person"]),
            title: text(&data["card"]["title"]),
        };
        self.pages.push(page.clone());
        (answer, Some(page))
    }
}
