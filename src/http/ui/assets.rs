//! What is built into the binary: templates, one stylesheet, one icon.

use std::{borrow::Cow, sync::LazyLock};

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::Response,
};
use rust_embed::Embed;
use sha2::{Digest as _, Sha256};

use crate::http::{problem::Problem, routes::At};

#[derive(Embed)]
#[folder = "src/http/ui/files/"]
struct Files;

/// Templates by name.
pub fn templates() -> impl Iterator<Item = (String, String)> {
    Files::iter().filter_map(|file| {
        let name = file.strip_suffix(".hbs")?.to_owned();
        let source = String::from_utf8(Files::get(&file)?.data.into_owned()).ok()?;
        Some((name, source))
    })
}

/// The stylesheet's address, new with each version of it, so that it may be kept for long.
pub fn style_address() -> &'static str {
    static ADDRESS: LazyLock<String> = LazyLock::new(|| {
        let style = Files::get("style.css").map(|file| file.data).unwrap_or_default();
        let digest: [u8; 32] = Sha256::digest(&style).into();
        let version =
            digest[..4].iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        format!("/assets/style.css?v={version}")
    });
    &ADDRESS
}

/// `/assets/{name}`.
pub async fn show(At(name): At<String>) -> Result<Response, Problem> {
    let kind = match name.as_str() {
        "style.css" => "text/css; charset=utf-8",
        "icon.svg" => "image/svg+xml",
        _ => return Err(Problem::not_found("there is no such file")),
    };
    let data: Cow<'static, [u8]> = Files::get(&name).map(|file| file.data).unwrap_or_default();
    let mut response = Response::new(Body::from(data.into_owned()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=86400"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `--name: #rrggbb` of one `:root` block.
    fn colours(block: &str) -> std::collections::BTreeMap<String, [u8; 3]> {
        let pair = |text: &str| {
            let (name, value) = text.trim().strip_prefix("--")?.split_once(": #")?;
            let number = u32::from_str_radix(value, 16).ok()?;
            let [_, rgb @ ..] = number.to_be_bytes();
            Some((name.to_owned(), rgb))
        };
        block.split([';', '{', '\n']).filter_map(pair).collect()
    }

    /// As WCAG 2 defines it.
    fn contrast(a: [u8; 3], b: [u8; 3]) -> f64 {
        let channel = |byte: u8| {
            let share = f64::from(byte) / 255.0;
            if share <= 0.04045 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
        };
        let light =
            |[r, g, b]: [u8; 3]| 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
        let (a, b) = (light(a) + 0.05, light(b) + 0.05);
        a.max(b) / a.min(b)
    }

    #[test]
    fn text_is_readable_in_both_schemes() {
        let style = String::from_utf8(Files::get("style.css").unwrap().data.into_owned()).unwrap();
        let mut blocks = style.split(":root {").skip(1);
        for scheme in ["light", "dark"] {
            let block = blocks.next().unwrap().split('}').next().unwrap();
            let colours = colours(block);
            let backgrounds = [
                "paper",
                "raised",
                "sunken",
                "p0-wash",
                "p1-wash",
                "p2-wash",
                "good-wash",
                "bad-wash",
            ];
            let plain =
                backgrounds.iter().flat_map(|ground| [("ink", *ground), ("quiet", *ground)]);
            let badges = ["p0", "p1", "p2", "p3"].map(|severity| ("on-sev", severity));
            let others = [
                ("link", "paper"),
                ("link", "raised"),
                ("link", "good-wash"),
                ("good", "paper"),
                ("good", "good-wash"),
                ("good", "raised"),
                ("bad", "paper"),
                ("bad", "raised"),
                ("bad", "bad-wash"),
                ("bad", "p1-wash"),
                ("bad", "p0-wash"),
                ("p2", "p2-wash"),
                ("mark-ink", "mark"),
                ("paper", "ink"),
            ];
            for (text, ground) in plain.chain(badges).chain(others) {
                let ratio = contrast(colours[text], colours[ground]);
                assert!(ratio >= 4.5, "{scheme}: {text} on {ground} is {ratio:.2}");
            }
        }
    }
}
