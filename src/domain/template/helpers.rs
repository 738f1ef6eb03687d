//! The helpers, and rendering with a bound on the output.
//!
//! `{{default x "none"}}`, `{{truncate x 80}}`, `{{duration seconds}}`, `{{bytes n}}`, `{{time t}}`, `{{code x}}`. Each
//! accepts null and shows it as nothing; in strict templates a missing value is an error everywhere but in `default`.

use std::{io, sync::OnceLock};

use handlebars::{
    Context, Handlebars, Helper, HelperResult, Output, RenderContext, RenderError,
    RenderErrorReason, no_escape,
};
use serde_json::{Map, Value};

/// Largest filled template, bytes.
pub const MAX_OUTPUT: usize = 64 * 1024;

/// Our own helpers; the walk knows these and the safe built-in ones.
pub(super) const HELPERS: &[&str] = &["bytes", "code", "default", "duration", "time", "truncate"];

pub(super) fn render_strict(source: &str, names: &Map<String, Value>) -> Result<String, String> {
    static REGISTRY: OnceLock<Handlebars<'static>> = OnceLock::new();
    render(REGISTRY.get_or_init(|| registry(true)), source, names)
}

pub(super) fn render_lax(source: &str, names: &Map<String, Value>) -> Result<String, String> {
    static REGISTRY: OnceLock<Handlebars<'static>> = OnceLock::new();
    render(REGISTRY.get_or_init(|| registry(false)), source, names)
}

fn registry(strict: bool) -> Handlebars<'static> {
    let mut registry = Handlebars::new();
    registry.set_strict_mode(strict);
    registry.register_escape_fn(no_escape);
    registry.register_helper("default", Box::new(default));
    registry.register_helper("truncate", Box::new(truncate));
    registry.register_helper("duration", Box::new(duration));
    registry.register_helper("bytes", Box::new(bytes));
    registry.register_helper("time", Box::new(time));
    registry.register_helper("code", Box::new(code));
    registry
}

fn render(
    registry: &Handlebars<'_>,
    source: &str,
    names: &Map<String, Value>,
) -> Result<String, String> {
    let mut capped = Capped(Vec::new());
    registry.render_template_to_write(source, names, &mut capped).map_err(|e| reason(&e))?;
    String::from_utf8(capped.0).map_err(|error| error.to_string())
}

struct Capped(Vec<u8>);

impl io::Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_OUTPUT {
            return Err(io::Error::other(format!("it fills to more than {MAX_OUTPUT} bytes")));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn reason(error: &RenderError) -> String {
    match error.reason() {
        RenderErrorReason::MissingVariable(Some(path)) => format!("`{path}` has no value here"),
        RenderErrorReason::IOError(error) => error.to_string(),
        other => other.to_string(),
    }
}

/// The first argument; `None` for null, and for a missing value in lax templates.
fn value<'a>(
    helper: &'a Helper<'_>,
    registry: &Handlebars<'_>,
) -> Result<Option<&'a Value>, RenderError> {
    let Some(param) = helper.param(0) else {
        return Err(RenderErrorReason::Other(format!("`{}` needs a value", helper.name())).into());
    };
    if param.is_value_missing() && registry.strict_mode() {
        return Err(RenderError::strict_error(param.relative_path()));
    }
    Ok(Some(param.value()).filter(|value| !value.is_null()))
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

fn number(helper: &Helper<'_>, value: &Value) -> Result<f64, RenderError> {
    let number = match value {
        Value::String(text) => text.trim().parse().ok(),
        other => other.as_f64(),
    };
    number.filter(|n| n.is_finite()).ok_or_else(|| {
        let what =
            format!("`{}` needs a number, not `{}`", helper.name(), text(value).escape_debug());
        RenderErrorReason::Other(what).into()
    })
}

fn default(
    helper: &Helper<'_>,
    _: &Handlebars<'_>,
    _: &Context,
    _: &mut RenderContext<'_, '_>,
    out: &mut dyn Output,
) -> HelperResult {
    let empty = |value: &Value| value.is_null() || value.as_str() == Some("");
    let chosen = helper.params().iter().map(handlebars::PathAndJson::value).find(|v| !empty(v));
    out.write(&chosen.map(text).unwrap_or_default())?;
    Ok(())
}

fn truncate(
    helper: &Helper<'_>,
    registry: &Handlebars<'_>,
    _: &Context,
    _: &mut RenderContext<'_, '_>,
    out: &mut dyn Output,
) -> HelperResult {
    let Some(value) = value(helper, registry)? else { return Ok(()) };
    let limit = helper.param(1).and_then(|param| param.value().as_u64()).ok_or_else(|| {
        RenderErrorReason::Other("`truncate` needs a length: {{truncate x 80}}".to_owned())
    })?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let text = text(value);
    if text.chars().count() <= limit {
        out.write(&text)?;
    } else {
        let kept: String = text.chars().take(limit.saturating_sub(1)).collect();
        out.write(&kept)?;
        out.write("…")?;
    }
    Ok(())
}

/// Seconds as `1h 3m 20s`; fractions only below one second.
fn duration(
    helper: &Helper<'_>,
    registry: &Handlebars<'_>,
    _: &Context,
    _: &mut RenderContext<'_, '_>,
    out: &mut dyn Output,
) -> HelperResult {
    let Some(value) = value(helper, registry)? else { return Ok(()) };
    let seconds = number(helper, value)?;
    let span = jiff::SignedDuration::try_from_secs_f64(seconds)
        .map_err(|error| RenderErrorReason::Other(error.to_string()))?;
    let span = if span.as_secs() == 0 {
        jiff::SignedDuration::from_millis(i64::try_from(span.as_millis()).unwrap_or(i64::MAX))
    } else {
        jiff::SignedDuration::from_secs(span.as_secs())
    };
    out.write(&format!("{span:#}"))?;
    Ok(())
}

/// Bytes as `1.5 GiB`.
fn bytes(
    helper: &Helper<'_>,
    registry: &Handlebars<'_>,
    _: &Context,
    _: &mut RenderContext<'_, '_>,
    out: &mut dyn Output,
) -> HelperResult {
    let Some(value) = value(helper, registry)? else { return Ok(()) };
    let mut amount = number(helper, value)?;
    let mut unit = 0;
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    while amount.abs() >= 1024.0 && unit + 1 < units.len() {
        amount /= 1024.0;
        unit += 1;
    }
    let shown = format!("{amount:.1}");
    out.write(&format!("{} {}", shown.trim_end_matches(".0"), units[unit]))?;
    Ok(())
}

/// An instant (RFC 3339, or seconds since 1970) as `2026-01-31 12:00:00 UTC`.
fn time(
    helper: &Helper<'_>,
    registry: &Handlebars<'_>,
    _: &Context,
    _: &mut RenderContext<'_, '_>,
    out: &mut dyn Output,
) -> HelperResult {
    let Some(value) = value(helper, registry)? else { return Ok(()) };
    let instant = match value {
        Value::String(text) => text.parse::<jiff::Timestamp>(),
        other => jiff::SignedDuration::try_from_secs_f64(number(helper, other)?)
            .and_then(jiff::Timestamp::from_duration),
    };
    let instant = instant.map_err(|_| {
        RenderErrorReason::Other(format!("`{}` is not a time", text(value).escape_debug()))
    })?;
    out.write(&instant.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())?;
    Ok(())
}

/// In backticks, longer ones when the value holds some.
fn code(
    helper: &Helper<'_>,
    registry: &Handlebars<'_>,
    _: &Context,
    _: &mut RenderContext<'_, '_>,
    out: &mut dyn Output,
) -> HelperResult {
    let Some(value) = value(helper, registry)? else { return Ok(()) };
    let text = text(value);
    if text.is_empty() {
        return Ok(());
    }
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    out.write(&format!("{fence}{pad}{text}{pad}{fence}"))?;
    Ok(())
}
