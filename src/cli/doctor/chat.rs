//! Slack and Matrix: would they take a card and a page?

use super::{Doctor, Finding, Seen, State, bounded};
use crate::{
    cli::wire,
    config::Channel,
    notify::{Outcome, matrix::check::Obstacle},
};

/// Scopes, each with what is lost without it; the first cannot be done without.
const SCOPES: [(&str, &str); 4] = [
    ("chat:write", "nothing can be posted"),
    ("im:write", "people cannot be paged by direct message"),
    ("channels:history", "a message whose answer was lost may be sent twice"),
    ("im:history", "a page whose answer was lost may be sent twice"),
];

/// The Slack app.
pub(super) async fn slack(doctor: &Doctor<'_>) -> Seen {
    let Some(settings) = &doctor.config.slack else { return Seen::default() };
    let what = "Slack";
    bounded(what, async {
        let mut seen = Seen::default();
        let slack = match wire::slack(settings, &doctor.http) {
            Ok(slack) => slack,
            Err(error) => {
                return Finding::new(
                    State::Fail,
                    what,
                    format!("{error:#}"),
                    "correct `slack.api_url`",
                )
                .into();
            }
        };
        let checked = match slack.check().await {
            Ok(checked) => checked,
            Err(failure) => {
                return Finding::new(
                    State::Fail,
                    what,
                    failure.reason,
                    unreachable(failure.outcome),
                )
                .into();
            }
        };
        seen.clock(what, checked.date, doctor.clock.now());
        seen.add(Finding::ok(what, format!("{} in workspace {}", checked.user, checked.team)));
        if settings.signing_secret.is_none() {
            let says = "no signing secret: buttons do not work";
            seen.add(Finding::new(State::Warn, what, says, "set `slack.signing_secret`"));
        }
        let Some(scopes) = checked.scopes else {
            let says = "it does not say which scopes the token has";
            seen.add(Finding::new(
                State::Warn,
                "Slack scopes",
                says,
                "compare them with the guide",
            ));
            return seen;
        };
        let named = doctor
            .config
            .channels
            .values()
            .any(|c| matches!(c, Channel::Slack(a) if a.starts_with('#')));
        let by_name =
            ("channels:read", "channels configured by name are not found; their ids need no scope");
        let wanted = SCOPES.into_iter().chain(named.then_some(by_name));
        let missing: Vec<_> = wanted.filter(|(scope, _)| !scopes.contains(*scope)).collect();
        for (scope, lost) in &missing {
            let state =
                if matches!(*scope, "chat:write" | "im:write") { State::Fail } else { State::Warn };
            let remedy = "add it to the app and install the app again";
            seen.add(Finding::new(
                state,
                "Slack scopes",
                format!("{scope} is missing: {lost}"),
                remedy,
            ));
        }
        if missing.is_empty() {
            seen.add(Finding::ok("Slack scopes", "all that are needed"));
        }
        seen
    })
    .await
}

/// The Matrix account and its rooms.
pub(super) async fn matrix(doctor: &Doctor<'_>) -> Seen {
    let Some(settings) = &doctor.config.matrix else { return Seen::default() };
    let what = "Matrix";
    let matrix = wire::matrix(settings, &doctor.http, &doctor.clock);
    let who = bounded(what, async {
        match matrix.check().await {
            Ok(me) => Finding::ok(
                what,
                format!("{me} at {}", settings.homeserver.get().host_str().unwrap_or("?")),
            )
            .into(),
            Err(failure) => {
                let remedy = unreachable(failure.outcome);
                Finding::new(State::Fail, what, failure.reason, remedy).into()
            }
        }
    });
    let mut seen = who.await;
    if seen.findings.iter().any(|finding| finding.state == State::Fail) {
        return seen;
    }
    let rooms = doctor.config.channels.iter().filter_map(|(name, channel)| match channel {
        Channel::Matrix(address) => Some((name, address)),
        Channel::Console | Channel::Slack(_) | Channel::Webhook(_) => None,
    });
    let looks = rooms.map(async |(name, address)| {
        let what = format!("Matrix room {address} (channel {name})");
        bounded(&what, async { room(&what, matrix.look(address).await).into() }).await
    });
    for part in futures::future::join_all(looks).await {
        seen.merge(part);
    }
    seen
}

fn room(what: &str, looked: Result<Obstacle, crate::notify::Failure>) -> Finding {
    match looked {
        Ok(Obstacle::None) => Finding::ok(what, "takes cards"),
        Ok(Obstacle::Outside) => Finding::new(
            State::Fail,
            what,
            "the bot is not in it",
            "invite the bot; it follows the invitation with its first card",
        ),
        Ok(Obstacle::Encrypted) => Finding::new(
            State::Fail,
            what,
            "it is encrypted, and a card in clear text would leak",
            "use another room, or set `matrix.clear_text_in_encrypted_rooms`",
        ),
        Ok(Obstacle::Power(ours, needed)) => Finding::new(
            State::Fail,
            what,
            format!("messages need power level {needed}, and the bot has {ours}"),
            "raise the bot's power level in the room's settings",
        ),
        Err(failure) => {
            Finding::new(State::Fail, what, failure.reason, "is the room's id or alias right?")
        }
    }
}

/// A refusal says itself what to do.
fn unreachable(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Permanent | Outcome::CardGone => "",
        Outcome::Retry { .. } | Outcome::Unclear => "can this machine reach it?",
    }
}
