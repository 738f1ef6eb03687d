//! `flow.wait_until`: asks again until the answer is the hoped-for one.
//!
//! Only steps that read may be repeated. The time is the context's clock, and each attempt gets only what is left of it.
//! What was hoped for and did not come is a finding too; the step fails only when no attempt brought anything.

use std::{fmt, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap as _};

use crate::{
    clients::{Error, Kind},
    domain::{
        evidence::Findings,
        expr::{Expr, Truth},
        suggest::closest,
    },
    steps::{self, Context, Effect, Failure, KINDS, Need, Outcome, Spec, Step, span::Span},
};

/// Repeats a read-only step until a condition over its `result` holds, or the time is up. Give this step a `timeout` that is
/// longer than `at_most`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitUntil {
    /// What must hold; `result` is the repeated step's output: `result.verdict == "ok"`.
    pub until: Expr,
    /// From the end of one attempt to the start of the next, 100ms to 5m; default 5s.
    #[serde(default)]
    pub every: Option<Span<100, 300_000>>,
    /// How long to go on, 1s to 30m; default 60s. The first attempt is always made.
    #[serde(default)]
    pub at_most: Option<Span<1_000, 1_800_000>>,
    /// The step to repeat: its kind and inputs.
    pub step: Repeated,
}

/// What came of the waiting.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Waited {
    /// True when the condition held in the end.
    pub held: bool,
    /// How often the step ran.
    pub attempts: u32,
    /// How long it took, milliseconds.
    pub waited_ms: u64,
    /// The output of the last attempt that had one.
    pub result: serde_json::Value,
    /// Why the condition did not hold in the last attempt; empty when it held.
    pub reason: String,
}

/// A step that reads, of any kind but this one.
#[derive(Clone, Debug)]
pub struct Repeated(Box<Spec>);

const EVERY: Duration = Duration::from_secs(5);
const AT_MOST: Duration = Duration::from_mins(1);

impl WaitUntil {
    /// The step it repeats.
    pub fn repeated(&self) -> &Spec {
        &self.step.0
    }
}

impl Step for WaitUntil {
    const KIND: &'static str = "flow.wait_until";
    const EFFECT: Effect = Effect::Read;
    const NEEDS: &'static [Need] = &[];
    const EXAMPLE: &'static str = r#"until: result.verdict == "ok"
every: 5s
at_most: 60s
step: { hive.metastore: { name: main } }"#;
    type Output = Waited;

    fn needs(&self) -> &'static [Need] {
        self.step.0.needs()
    }

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Waited>, Failure> {
        let every = self.every.map_or(EVERY, Span::get);
        let at_most = self.at_most.map_or(AT_MOST, Span::get);
        let start = context.clock.monotonic();
        let end = start + at_most;
        let mut attempts = 0;
        let mut last: Option<Findings> = None;
        loop {
            attempts += 1;
            let outcome = match attempt(&self.step.0, context, end).await {
                Ok(findings) => {
                    let reason = self.unmet(context, &findings);
                    last = Some(findings);
                    Ok(reason)
                }
                // It cannot apply here, or will never be allowed: no use in asking again.
                Err(Failure::Client(error)) if !error.kind.is_transient() => {
                    return Err(error.into());
                }
                Err(failure @ Failure::Skipped(_)) => return Err(failure),
                Err(failure @ Failure::Client(_)) => Err(failure),
            };
            let now = context.clock.monotonic();
            let reason = match (outcome, now + every < end) {
                (Ok(None), _) => String::new(),
                (Ok(Some(_)) | Err(_), true) => {
                    context.clock.sleep(every).await;
                    continue;
                }
                (Ok(Some(why)), false) => why,
                (Err(failure), false) if last.is_none() => return Err(failure),
                (Err(failure), false) => failure.to_string(),
            };
            return Ok(self.outcome(attempts, now.saturating_sub(start), last, reason));
        }
    }
}

/// One attempt, within what is left of the time.
async fn attempt(spec: &Spec, context: &Context<'_>, end: Duration) -> Result<Findings, Failure> {
    let left = end.saturating_sub(context.clock.monotonic());
    tokio::select! {
        biased;
        findings = spec.run(context) => findings,
        () = context.clock.sleep(left) => {
            let why = "no answer before the time to wait was up";
            Err(Error::new(Kind::Timeout, format!("repeat {}", spec.kind()), why).into())
        }
    }
}

impl WaitUntil {
    /// Why the condition does not hold; `None` when it holds.
    fn unmet(&self, context: &Context<'_>, findings: &Findings) -> Option<String> {
        let scope = context.scope.clone().with("result", findings.value.clone());
        match self.until.test(&scope) {
            Truth::Yes => None,
            Truth::No => Some(format!("`{}` does not hold", self.until.source())),
            Truth::Unknown(why) => Some(format!("`{}` is not known: {why}", self.until.source())),
        }
    }

    fn outcome(
        &self,
        attempts: u32,
        waited: Duration,
        last: Option<Findings>,
        reason: String,
    ) -> Outcome<Waited> {
        let Findings { value, passages, summary } = last.unwrap_or_default();
        let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
        let tries = if attempts == 1 { "1 try".to_owned() } else { format!("{attempts} tries") };
        let told = format!("after {} s and {tries}", waited.as_secs());
        let summary = if reason.is_empty() {
            format!("`{}` holds {told}: {summary}", self.until.source())
        } else {
            format!("{reason} {told}: {summary}")
        };
        let held = reason.is_empty();
        Outcome {
            value: Waited { held, attempts, waited_ms, result: value, reason },
            passages,
            summary,
        }
    }
}

impl Repeated {
    fn new(spec: Spec) -> Result<Self, String> {
        let kind = spec.kind();
        match spec.effect() {
            _ if kind == WaitUntil::KIND => Err("a wait cannot repeat another wait".to_owned()),
            Effect::Read => Ok(Self(Box::new(spec))),
            Effect::Idempotent | Effect::Once => {
                Err(format!("{kind} writes; only steps that read can be repeated"))
            }
        }
    }
}

impl Serialize for Repeated {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let inputs = self.0.inputs().map_err(serde::ser::Error::custom)?;
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.0.kind(), &inputs)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Repeated {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OneKind)
    }
}

struct OneKind;

impl<'de> de::Visitor<'de> for OneKind {
    type Value = Repeated;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one step kind with its inputs, such as `hive.metastore: {}`")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Repeated, A::Error> {
        let Some(kind) = map.next_key::<String>()? else {
            return Err(de::Error::custom("`step` names no kind; write `hive.metastore: {}`"));
        };
        let Some(spec) = Spec::next_value(&kind, &mut map)? else {
            let shown: String = kind.chars().take(80).collect();
            let hint = closest(&kind, KINDS)
                .map_or(String::new(), |near| format!("; did you mean {near}?"));
            let why = format!("there is no step kind `{}`{hint}", shown.escape_debug());
            return Err(de::Error::custom(why));
        };
        if let Some(second) = map.next_key::<String>()? {
            let shown: String = second.chars().take(80).collect();
            let why =
                format!("`step` repeats one step; `{}` is a second one", shown.escape_debug());
            return Err(de::Error::custom(why));
        }
        Repeated::new(spec).map_err(de::Error::custom)
    }
}

impl JsonSchema for Repeated {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RepeatedStep".into()
    }

    /// A reference to itself ends here: while `WaitUntil` is being described, its own entry is only a `$ref`.
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let entries = steps::catalogue(generator).into_iter();
        let readers =
            entries.filter(|entry| entry.effect == Effect::Read && entry.kind != WaitUntil::KIND);
        let properties: serde_json::Map<String, serde_json::Value> =
            readers.map(|entry| (entry.kind.to_owned(), entry.inputs.to_value())).collect();
        schemars::json_schema!({
            "type": "object",
            "description": "One step kind that reads, with its inputs.",
            "properties": properties,
            "additionalProperties": false,
            "minProperties": 1,
            "maxProperties": 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Result<WaitUntil, String> {
        serde_saphyr::from_str(yaml).map_err(|error| error.to_string())
    }

    #[test]
    fn the_example_is_read_and_written_with_its_nested_step() {
        let step = read(WaitUntil::EXAMPLE).unwrap();
        let value = serde_json::to_value(&step).unwrap();
        assert_eq!(value["every"], "5s");
        assert!(value["step"]["hive.metastore"].is_object(), "{value}");
    }

    #[test]
    fn what_cannot_be_repeated_is_refused_when_the_playbook_is_loaded() {
        for (step, why) in [
            ("{ incident.note: { text: hi } }", "incident.note writes"),
            (
                "{ flow.wait_until: { until: 'true', step: { net.tcp: { address: 'h:1' } } } }",
                "another wait",
            ),
            ("{ hive.metastor: {} }", "did you mean hive.metastore?"),
            ("{ net.tcp: { address: 'h:1' }, hive.metastore: {} }", "a second one"),
            ("{}", "names no kind"),
            ("{ net.tcp: { adress: 'h:1' } }", "adress"),
        ] {
            let error = read(&format!("until: result.held\nstep: {step}")).unwrap_err();
            assert!(error.contains(why), "{step}: {error}");
        }
        let every = read("until: result.held\nevery: 1ms\nstep: { hive.metastore: {} }");
        assert!(every.unwrap_err().contains("out of range"));
    }

    #[test]
    fn its_schema_ends_and_names_only_kinds_that_read() {
        let schema = schemars::schema_for!(WaitUntil).to_value();
        let repeated = &schema["$defs"]["RepeatedStep"]["properties"];
        assert!(repeated["hive.metastore"].is_object(), "{schema}");
        assert!(repeated["incident.note"].is_null() && repeated["flow.wait_until"].is_null());
    }
}
