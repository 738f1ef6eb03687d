//! `kube.access`: whether an account may do something.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::which::Which;
use crate::{
    clients::{
        Kind,
        kube::{Asked, one_line},
    },
    domain::{
        evidence::{Origin, Passage},
        template::{Filled, Input, Name},
    },
    steps::{Context, Effect, Failure, Need, Outcome, Step},
};

/// Most questions of one step.
const MAX_QUESTIONS: usize = 20;

/// Asks the API server whether an account may do something: Paramedic itself, or a service account.
///
/// About itself everybody may ask. About a service account only with `create` on `localsubjectaccessreviews`; without it
/// the step is skipped and says what to grant.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// The service account, in the namespace; default: Paramedic's own account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<Input<Name>>,
    /// Namespace; default: the target's, else the alert's label `namespace`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Input<Name>>,
    /// The questions: 1 to 20.
    #[schemars(length(min = 1, max = 20))]
    pub may: Questions,
}

/// The questions of one step.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "Vec<Question>", into = "Vec<Question>")]
#[schemars(inline)]
pub struct Questions(Vec<Question>);

impl TryFrom<Vec<Question>> for Questions {
    type Error = String;

    fn try_from(questions: Vec<Question>) -> Result<Self, String> {
        if (1..=MAX_QUESTIONS).contains(&questions.len()) {
            Ok(Self(questions))
        } else {
            Err(format!("`may` has 1 to {MAX_QUESTIONS} questions"))
        }
    }
}

impl From<Questions> for Vec<Question> {
    fn from(questions: Questions) -> Self {
        questions.0
    }
}

/// One question.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: Input<Word>,
    /// `pods`, `pods/log`, `configmaps`.
    pub resource: Input<Word>,
    /// API group; default the core group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Input<Name>>,
}

/// A verb or a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word(pub String);

impl Filled for Word {
    const WHAT: &'static str = "a verb or a resource";

    fn parse(text: &str) -> Result<Self, String> {
        let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-./*".contains(&b);
        if !text.is_empty() && text.len() <= 100 && text.bytes().all(fine) {
            return Ok(Self(text.to_owned()));
        }
        let shown: String = text.chars().take(60).collect();
        Err(format!("`{}` is not a verb or a resource such as pods/log", shown.escape_debug()))
    }
}

/// The answers.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Output {
    /// Who was asked about: `service account spark-prod/spark`, or `Paramedic`.
    pub account: String,
    /// In the order of the questions.
    pub answers: Vec<Answer>,
    /// What is not allowed.
    pub denied: Vec<Answer>,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Answer {
    /// The verb.
    pub verb: String,
    /// The resource.
    pub resource: String,
    /// API group.
    pub group: String,
    /// The namespace.
    pub namespace: String,
    /// It may.
    pub allowed: bool,
    /// Why, in the server's words; often empty.
    pub reason: String,
}

impl Step for Access {
    const KIND: &'static str = "kube.access";
    const EFFECT: Effect = Effect::Read;
    const NEEDS: &'static [Need] = &[Need {
        group: "authorization.k8s.io",
        resource: "selfsubjectaccessreviews",
        verb: "create",
    }];
    const EXAMPLE: &'static str = "service_account: spark\nmay:\n  - { verb: create, resource: pods }\n  - { verb: list, resource: configmaps }";
    type Output = Output;

    fn needs(&self) -> &'static [Need] {
        const OTHERS: &[Need] = &[Need {
            group: "authorization.k8s.io",
            resource: "localsubjectaccessreviews",
            verb: "create",
        }];
        if self.service_account.is_some() { OTHERS } else { Self::NEEDS }
    }

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Output>, Failure> {
        let kube = context.kube()?;
        let namespace = Which::of_namespace(self.namespace.as_ref()).namespace(context)?;
        let account = match &self.service_account {
            Some(input) => Some(input.fill(context.scope)?.0),
            None => None,
        };
        let label = account.as_ref().map_or_else(
            || "Paramedic".to_owned(),
            |name| format!("service account {namespace}/{name}"),
        );
        let mut answers = vec![];
        for Question { verb, resource, group } in &self.may.0 {
            let group = match group {
                Some(group) => group.fill(context.scope)?.0,
                None => String::new(),
            };
            let asked = Asked {
                verb: verb.fill(context.scope)?.0,
                resource: resource.fill(context.scope)?.0,
                group,
                namespace: namespace.clone(),
                name: String::new(),
            };
            let answered = match &account {
                None => kube.may_we(&asked).await,
                Some(name) => kube.may_account((&namespace, name), &asked).await,
            };
            let answered = match answered {
                Ok(answered) => answered,
                Err(error) if error.kind == Kind::Denied => {
                    return Err(Failure::Skipped(one_line(&error.to_string(), 500)));
                }
                Err(error) => return Err(error.into()),
            };
            let Asked { verb, group, resource, .. } = asked;
            let (allowed, reason, namespace) =
                (answered.allowed, answered.reason, namespace.clone());
            answers.push(Answer { verb, resource, group, namespace, allowed, reason });
        }
        let denied: Vec<Answer> = answers.iter().filter(|a| !a.allowed).cloned().collect();
        let passages = answers.iter().map(|answer| answer.passage(&label)).collect();
        let summary = match denied.as_slice() {
            [] => format!("{label} may do all {} that was asked", answers.len()),
            some => {
                let all: Vec<_> = some.iter().map(Answer::label).collect();
                one_line(&format!("{label} may not {}", all.join(", ")), 300)
            }
        };
        Ok(Outcome { value: Output { account: label, answers, denied }, passages, summary })
    }
}

impl Answer {
    fn label(&self) -> String {
        let dot = if self.group.is_empty() { String::new() } else { format!(".{}", self.group) };
        format!("{} {}{dot}", self.verb, self.resource)
    }

    fn passage(&self, account: &str) -> Passage {
        let not = if self.allowed { "may" } else { "may not" };
        let text = format!("{account} {not} {} in namespace {}", self.label(), self.namespace);
        Passage::new(Origin::Object, account, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_one_to_twenty_and_words_of_the_api() {
        let read = |yaml: &str| serde_saphyr::from_str::<Access>(yaml).is_ok();
        assert!(read("may: [ { verb: get, resource: pods/log } ]"));
        let many = format!("may: [ {} ]", "{ verb: get, resource: pods },".repeat(21));
        for bad in
            ["may: []", "may: [ { verb: GET, resource: pods } ]", "may: [ { verb: get } ]", &many]
        {
            assert!(!read(bad), "{bad:.40}");
        }
    }
}
