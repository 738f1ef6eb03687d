//! Who calls, and what they may do.
//!
//! People and programs send a token as `Authorization: Bearer`, or a browser sends it as the password of HTTP basic
//! authentication (any user name): that works without JavaScript and without sessions. Without configured tokens the
//! daemon answers this machine only, and everybody there is a responder.

pub mod browser;
mod secret;
pub mod source;

use std::collections::BTreeMap;

use axum::{
    extract::{Request, State as Shared},
    http::{HeaderMap, Method, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use base64::Engine as _;

use self::secret::Digest;
pub use self::source::Sender;
use super::{State, problem::Problem};
use crate::{
    config::{Role, Token},
    domain::{incident::Who, schedule::PersonId},
};

/// Longest name somebody may give themselves, characters.
const MAX_NAME: usize = 80;

/// A configured token.
pub struct Known {
    name: String,
    role: Role,
    digest: Digest,
}

/// Who made a request that was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The token's name; `None`: somebody on this machine.
    pub token: Option<String>,
    /// What they may do.
    pub role: Role,
}

impl Known {
    /// All tokens; one without a secret lets nobody in.
    pub fn all(tokens: &BTreeMap<String, Token>) -> Vec<Self> {
        let read = tokens.iter().filter(|(_, token)| !token.secret.expose().is_empty());
        let known = read.map(|(name, token)| {
            let digest = Digest::of(token.secret.expose().as_bytes());
            Self { name: name.clone(), role: token.role, digest }
        });
        known.collect()
    }
}

impl Caller {
    /// The person, as the timeline names them. Without a token they say themselves who they are; a name or id of the
    /// on-call files means that person.
    pub fn who(&self, state: &State, claimed: Option<&str>, via: &str) -> Who {
        let name = self.token.as_deref().or(claimed).unwrap_or("operator");
        let name: String = name.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect();
        let name = if name.trim().is_empty() { "operator".to_owned() } else { name };
        let oncall = state.engine.oncall.get();
        match oncall.person(&PersonId::from(name.as_str())) {
            Some(person) => Who { id: name, name: person.name.clone(), via: via.to_owned() },
            None => Who { id: String::new(), name, via: via.to_owned() },
        }
    }
}

/// Lets in who may use the UI and the API: viewers look, responders act.
pub async fn people(Shared(state): Shared<State>, mut request: Request, next: Next) -> Response {
    let page = !request.uri().path().starts_with("/api/");
    match caller(&state, request.headers(), page) {
        Ok(caller) if may(caller.role, request.method()) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Ok(caller) => {
            let name = caller.token.unwrap_or_default();
            Problem::forbidden(format!(
                "the token `{name}` may only look; this needs the role responder"
            ))
            .into_response()
        }
        Err(problem) => problem.into_response(),
    }
}

fn may(role: Role, method: &Method) -> bool {
    method.is_safe() || role >= Role::Responder
}

/// Who calls; `page` decides which credential a refusal asks for.
pub fn caller(state: &State, headers: &HeaderMap, page: bool) -> Result<Caller, Problem> {
    if state.is_open() {
        browser::check_open(headers, "server.tokens")?;
        return Ok(Caller { token: None, role: Role::Responder });
    }
    if state.tokens.is_empty() {
        return Err(Problem::forbidden(
            "nobody may use this: add `server.tokens` to the configuration, or listen on 127.0.0.1",
        ));
    }
    let scheme = if page { "Basic" } else { "Bearer" };
    let given = match credential(headers) {
        Some(Credential::Bearer(token)) => token,
        Some(Credential::Basic { password, .. }) => password,
        None => {
            return Err(Problem::unauthorised(
                scheme,
                "send a token of `server.tokens`: as a bearer token, or as the password of HTTP basic authentication",
            ));
        }
    };
    let given = Digest::of(given.as_bytes());
    // All are compared, whether or not one fits.
    let fits = state.tokens.iter().fold(None, |found, known| {
        let fits = known.digest.is(&given);
        if fits { Some(known) } else { found }
    });
    let Some(known) = fits else {
        return Err(Problem::unauthorised(scheme, "this is not one of `server.tokens`"));
    };
    Ok(Caller { token: Some(known.name.clone()), role: known.role })
}

/// What `Authorization` holds.
pub enum Credential {
    /// A bearer token.
    Bearer(String),
    /// A user and a password.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
}

/// Reads `Authorization`; `None` when it is absent, given twice, or of another kind.
pub fn credential(headers: &HeaderMap) -> Option<Credential> {
    let value = one(headers, &header::AUTHORIZATION)?;
    let (scheme, rest) = value.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Credential::Bearer(rest.to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = base64::engine::general_purpose::STANDARD.decode(rest).ok()?;
    let pair = String::from_utf8(pair).ok()?;
    let (user, password) = pair.split_once(':')?;
    Some(Credential::Basic { user: user.to_owned(), password: password.to_owned() })
}

/// A header that must be there at most once.
pub fn one<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}
