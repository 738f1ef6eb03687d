//! What a secret looks like. Each rule keeps its first and last group and masks what is between.

use std::{borrow::Cow, sync::OnceLock};

use regex::{Captures, Regex};

use super::MASK;

/// Texts one of which stands in every line a rule could change; compared without case.
pub(super) const TRIGGERS: &[&str] = &[
    "://",
    "passw",
    "pwd",
    "passphrase",
    "secret",
    "token",
    "key",
    "auth",
    "bearer",
    "basic ",
    "credential",
    "akia",
    "asia",
    "xox",
    "xapp-",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "eyj",
    "cookie",
    "signature",
    "aiza",
    "syt_",
    "jdbc:",
    "sk-",
    "sig=",
];

/// The last part of a secret's name.
const WORDS: &str = r"passw(?:or)?d|passwd|pwd|passphrase|secret|secret[._-]?key|secret[._-]?access[._-]?key|access[._-]?key(?:[._-]?id)?|access[._-]?token|api[._-]?key|apikey|auth[._-]?token|private[._-]?key|signing[._-]?(?:key|secret)|encryption[._-]?key|account[._-]key(?:\.[a-z0-9.-]+)?|sas[._-]token|session[._-]?token|client[._-]?secret|credentials?";

/// Whole names, and `token` only as a part of one: `Unexpected token: FROM` is no secret.
const NAMES: &str = r"authorization|proxy-authorization|cookie|set-cookie|x-api-key|x-auth-token|[\w.-]*[\w][._-]token|token";

/// How often a line is looked at, at most.
const PASSES: usize = 8;

#[derive(Debug)]
pub(super) struct Rules {
    list: Vec<Regex>,
    name: Regex,
}

impl Rules {
    #[allow(clippy::expect_used, reason = "constant patterns, compiled by every test")]
    pub(super) fn get() -> &'static Self {
        static RULES: OnceLock<Rules> = OnceLock::new();
        RULES.get_or_init(|| Self {
            list: patterns()
                .iter()
                .map(|pattern| Regex::new(pattern).expect("a constant pattern"))
                .collect(),
            name: Regex::new(&format!("(?i)^(?:[\\w.-]*(?:{WORDS})|{NAMES})$"))
                .expect("a constant pattern"),
        })
    }

    pub(super) fn is_name(&self, name: &str) -> bool {
        name.len() <= 300 && self.name.is_match(name)
    }

    /// The line without its secrets. What is masked may uncover what another rule looks for, so all are asked until nothing changes.
    pub(super) fn apply<'t>(&self, line: &'t str) -> Cow<'t, str> {
        let mut text = self.each_once(line);
        if text == line {
            return Cow::Borrowed(line);
        }
        for _ in 0..PASSES {
            let next = self.each_once(&text);
            if next == text {
                return text;
            }
            text = Cow::Owned(next.into_owned());
        }
        // Nobody writes such a line but to set a trap.
        Cow::Borrowed(MASK)
    }

    fn each_once<'t>(&self, line: &'t str) -> Cow<'t, str> {
        self.list.iter().fold(Cow::Borrowed(line), |text, rule| {
            match rule.replace_all(&text, mask) {
                Cow::Borrowed(_) => text,
                Cow::Owned(changed) => Cow::Owned(changed),
            }
        })
    }
}

fn mask(groups: &Captures<'_>) -> String {
    let group = |name| groups.name(name).map_or("", |found| found.as_str());
    // A setting that is empty, off or masked already (Spark writes `*********(redacted)`) says more as it is.
    let value = group("value");
    if matches!(value, "null" | "None" | "true" | "false") || value.starts_with("***") {
        return groups[0].to_owned();
    }
    format!("{}{MASK}{}", group("before"), group("after"))
}

fn patterns() -> Vec<String> {
    vec![
        // scheme://user:password@host
        r#"(?P<before>\b[a-zA-Z][a-zA-Z0-9+.-]*://[^\s/:@"'<>]*:)(?P<value>[^\s/@"'<>]+)(?P<after>@)"#.to_owned(),
        // jdbc:oracle:thin:user/password@host
        r"(?P<before>jdbc:oracle:[a-z]+:[^/\s]+/)(?P<value>[^@\s]+)(?P<after>@)".to_owned(),
        // ?X-Amz-Signature=…&token=…
        r#"(?i)(?P<before>[?&](?:x-amz-(?:signature|security-token|credential)|sig|signature|token|access_token|id_token|refresh_token|api_?key|apikey|key|secret|password|auth)=)(?P<value>[^&\s"'<>#]+)"#.to_owned(),
        // Authorization: Bearer …, also in JSON
        r#"(?i)(?P<before>\b(?:proxy-)?authorization\\?["']?\s*[:=]\s*\\?["']?(?:(?:bearer|basic|digest|token|negotiate|aws4-hmac-sha256)\s+)?)(?P<value>[^"'\r\n]+)"#.to_owned(),
        r"(?i)(?P<before>\bbearer\s+)(?P<value>[a-z0-9._~+/=-]{12,})".to_owned(),
        r#"(?i)(?P<before>\b(?:set-)?cookie\s*:\s*)(?P<value>[^\r\n"']+)"#.to_owned(),
        // name = "value", 'value' or value
        format!(r#"(?i)(?P<before>[\w.-]*(?:{WORDS})\\?["']?\s*[=:]\s*\\?["'])(?P<value>[^"'\\]+)"#),
        format!(r#"(?i)(?P<before>[\w.-]*(?:{WORDS})["']?(?:\s*=\s*|:\s+))(?P<value>[^\s,;&"'(){{}}\[\]\\]+)"#),
        // token=…, "token":"…", access_token: …; never `token: x`
        r#"(?i)(?P<before>\b[\w.-]*token\\?["']\s*:\s*\\?["'])(?P<value>[^"'\\]+)"#.to_owned(),
        r#"(?i)(?P<before>\b[\w.-]*token=["']?)(?P<value>[^\s,;&"'(){}\[\]\\]{6,})"#.to_owned(),
        r#"(?i)(?P<before>\b(?:x-api-key|x-auth-token|x-amz-security-token)\s*:\s*)(?P<value>[^\s"',;]+)"#.to_owned(),
        // --password value
        r#"(?i)(?P<before>--?(?:password|passwd|token|secret|api-key|secret-key|access-key)[ =]["']?)(?P<value>[^\s"'-][^\s"']*)"#.to_owned(),
        // Tokens known by their shape.
        r"(?P<before>)(?P<value>\b(?:AKIA|ASIA|AIDA|AROA)[A-Z0-9]{16})(?P<after>\b)".to_owned(),
        r"(?P<before>)(?P<value>\b(?:xox[abeoprs]|xapp)-[A-Za-z0-9-]{10,})".to_owned(),
        r"(?P<before>)(?P<value>\b(?:gh[opsur]_[A-Za-z0-9]{30,}|github_pat_\w{22,}|glpat-[\w-]{20,}|AIza[\w-]{35}|syt_\w{10,}|sk-[A-Za-z0-9_-]{24,}))".to_owned(),
        r"(?P<before>)(?P<value>\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*)".to_owned(),
        r"(?P<before>https://hooks\.slack\.com/(?:services|workflows|triggers)/)(?P<value>[\w/-]+)".to_owned(),
    ]
}
