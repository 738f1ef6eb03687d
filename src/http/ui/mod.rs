//! The UI: pages rendered here, complete without JavaScript.
//!
//! One registry escapes everything; a template that asks for unescaped output is refused at start. What goes into a page
//! passes [`harmless`] first: control characters and marks that reverse the direction of text come from labels and logs,
//! and are shown as `�`. Pages that change by themselves reload; pages in which somebody reads or types do not.

pub mod assets;
mod evidence;
pub mod forms;
pub mod incident;
pub mod list;
pub mod oncall;
pub mod problem;
mod said;
mod time;
mod view;

use anyhow::{Context as _, bail};
use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use handlebars::Handlebars;
use serde_json::{Value, json};

use self::said::Saids;
use super::{State, auth::Caller, problem::Problem};
use crate::{config::Role, domain::redact::redact, engine::files::WrongFiles, notify::wording};

/// Longest text in a page, characters; the API has all of it.
const MAX_TEXT: usize = 2_000;

/// The templates, and what people are told after a form.
pub struct Pages {
    registry: Handlebars<'static>,
    /// Answers to forms, shown on the page that follows.
    pub said: Saids,
}

/// One page to render.
pub struct Page<'a> {
    /// Template name, without its extension.
    pub template: &'static str,
    /// For the window.
    pub title: String,
    /// Seconds and address of the next reload, if it reloads.
    pub reload: Option<String>,
    /// Who looks; `None` on error pages.
    pub caller: Option<&'a Caller>,
    /// What the template shows.
    pub content: Value,
}

impl Pages {
    /// Reads the built-in templates.
    pub fn new() -> anyhow::Result<Self> {
        let mut registry = Handlebars::new();
        for (name, source) in assets::templates() {
            if source.contains("{{{") || source.contains("{{&") {
                bail!("the template {name} has unescaped output");
            }
            registry.register_template_string(&name, source).with_context(|| name.clone())?;
        }
        Ok(Self { registry, said: Saids::default() })
    }

    fn render(
        &self,
        page: Page<'_>,
        wrong_files: &WrongFiles,
    ) -> Result<String, handlebars::RenderError> {
        let Page { template, title, reload, caller, content } = page;
        let who = caller.map(|caller| caller.token.as_deref().unwrap_or("this machine"));
        let mut context = json!({
            "title": title,
            "reload": reload,
            "who": who,
            "acts": caller.is_some_and(|caller| caller.role >= Role::Responder),
            "wrong_files": wrong(wrong_files, caller),
            "style": assets::style_address(),
            "at": { "incidents": matches!(template, "list" | "incident"), "oncall": template == "oncall" },
        });
        if let (Value::Object(all), Value::Object(content)) = (&mut context, content) {
            all.extend(content);
        }
        harmless(&mut context);
        self.registry.render(template, &context)
    }
}

/// A page as an answer.
pub fn respond(state: &State, page: Page<'_>) -> Result<Response, Problem> {
    let html =
        state.pages.render(page, &state.engine.wrong_files.get()).map_err(Problem::internal)?;
    let mut response = Response::new(Body::from(html));
    *response.status_mut() = StatusCode::OK;
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

/// What an edit left wrong, for those who may look.
fn wrong(files: &WrongFiles, caller: Option<&Caller>) -> Vec<Value> {
    let wrong = files.iter().filter(|(_, errors)| caller.is_some() && !errors.is_empty());
    let shown = |errors: &str| redact(errors).into_owned();
    wrong.map(|(what, errors)| json!({ "what": what, "errors": shown(errors) })).collect()
}

/// Takes out of every text what could disguise it, and bounds it.
fn harmless(value: &mut Value) {
    match value {
        Value::String(text) => {
            let cut = wording::cut(text, MAX_TEXT).into_owned();
            *text = wording::clean(&cut);
        }
        Value::Array(items) => items.iter_mut().for_each(harmless),
        Value::Object(members) => members.values_mut().for_each(harmless),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_read_and_none_writes_unescaped() {
        let pages = Pages::new().unwrap();
        for name in ["list", "incident", "oncall", "problem", "head", "foot"] {
            assert!(pages.registry.has_template(name), "{name}");
        }
    }

    #[test]
    fn text_from_outside_can_neither_leave_its_element_nor_disguise_itself() {
        let pages = Pages::new().unwrap();
        let detail =
            format!("<script>alert(1)</script>\"'\u{202e}gnp.exe\u{0}{}", "x".repeat(65_536));
        let content = json!({ "status": 404, "name": "Not Found", "detail": detail });
        let page = Page {
            template: "problem",
            title: detail.clone(),
            reload: None,
            caller: None,
            content,
        };
        let html = pages.render(page, &WrongFiles::new()).unwrap();
        assert!(!html.contains("<script"), "{html}");
        assert!(
            html.contains(
                "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#x27;\u{fffd}gnp.exe\u{fffd}"
            ),
            "{html}"
        );
        assert!(html.len() < 16_000, "{}", html.len());
    }
}
