//! What is in force, over and under the shipped files.

use super::*;
use crate::playbook::plan::alert_scope;

const DAY: Date = jiff::civil::date(2026, 11, 23);

fn file(name: &str, kind: Kind, text: &str) -> File {
    File { name: name.to_owned(), kind, text: text.to_owned() }
}

fn playbook(name: &str, extra: &str) -> File {
    let text = format!(
        "name: {name}\ntitle: T {name}\nowner: team:x\n{extra}\nsteps:\n  - id: a\n    incident.note: {{ text: hi }}\n"
    );
    file(&format!("{name}.yaml"), Kind::Playbook, &text)
}

fn catalog() -> Catalog {
    let files = [
        playbook("by-name", "match: [alertname=Lost]\nseverity: P1"),
        playbook(
            "by-any",
            "match: [{ any: [team=data, 'namespace=~\"spark-.*\"'] }]\nseverity: { from: labels.severity, map: { critical: P0 } }",
        ),
        playbook("by-count", "match: ['alertname=~\".+\"']\nif: alerts | length > 1"),
        playbook("by-step", "match: ['alertname=~\".+\"']\nif: alerts[9].status == \"firing\""),
    ];
    Catalog::build(&[], &files, DAY).unwrap()
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

#[test]
fn an_alert_leads_to_every_playbook_that_matches_with_its_severity() {
    let labels =
        labels(&[("alertname", "Lost"), ("namespace", "spark-prod"), ("severity", "critical")]);
    let scope = alert_scope(&labels, &BTreeMap::new(), vec![]);
    let matched: Vec<(String, Option<Severity>)> =
        catalog().matching(&labels, &scope).into_iter().map(|(p, s)| (p.name.clone(), s)).collect();
    assert_eq!(
        matched,
        [("by-any".to_owned(), Some(Severity::P0)), ("by-name".to_owned(), Some(Severity::P1))]
    );
}

#[test]
fn every_playbook_says_why_it_does_not_run() {
    let labels = labels(&[("alertname", "Found"), ("namespace", "web")]);
    let scope = alert_scope(&labels, &BTreeMap::new(), vec![]);
    let said: Vec<String> = catalog()
        .explain(&labels, &scope)
        .into_iter()
        .map(|(p, a)| format!("{}: {a:?}", p.name))
        .collect();
    insta::assert_snapshot!(said.join("\n"), @r#"
        by-any: No("team=\"data\", but team is missing; and namespace=~\"spark-.*\", but namespace is \"web\"")
        by-count: No("`alerts | length > 1` does not hold")
        by-name: No("alertname=\"Lost\", but alertname is \"Found\"")
        by-step: Unknown("`alerts[9].status == \"firing\"` is not known: `alerts.9.status` has no value here")
    "#);
}

#[test]
fn a_users_playbook_replaces_a_shipped_one_and_two_of_one_name_are_refused() {
    let below = [playbook("a", "match: [x=y]")];
    let above = [playbook("a", "match: [x=z]")];
    let catalog = Catalog::build(&below, &above, DAY).unwrap();
    assert_eq!(catalog.playbooks.len(), 1);
    assert!(matches!(&catalog.playbooks[0].matches[0], Matching::One(m) if m.exact() == Some("z")));
    let mut twice = playbook("a", "match: [x=z]");
    twice.name = "b.yaml".to_owned();
    let errors = Catalog::build(&[], &[above[0].clone(), twice], DAY).unwrap_err();
    assert_eq!(
        errors[0].to_string(),
        "b.yaml: error: the playbook `a` is also in a.yaml\n     = rename one of them"
    );
}

#[test]
fn mistakes_in_signatures_carry_their_file_and_line() {
    let bad = "signatures:\n  - id: a/b\n    title: \"{{x}}\"\n    owner: user\n    confidence: 1\n    any: [{ in: [event], line: abcd }]\n    remedy: r\n";
    let errors = Catalog::build(&[], &[file("s.yaml", Kind::Signatures, bad)], DAY).unwrap_err();
    insta::assert_snapshot!(errors[0], @r#"
        s.yaml:3:12: error: there is no `x` here
           3 |     title: "{{x}}"
             |            ^
             = there is cause, source, count
    "#);
}

/// The index is only faster: whatever the labels, it leads to what asking everybody leads to.
#[test]
fn the_index_leads_to_what_asking_everybody_leads_to() {
    use proptest::prelude::*;
    let matchers = [
        "a=x",
        "a=y",
        "a!=x",
        "b=x",
        "b!=\"\"",
        "'b=~\"x|y\"'",
        "'b=~\".*\"'",
        "{ any: [a=x, b=y] }",
        "{ any: [c=x] }",
    ];
    let value = prop_oneof![Just(None), Just(Some("")), Just(Some("x")), Just(Some("y"))];
    let alert = prop::collection::vec(value, 3);
    let chosen = prop::collection::vec(prop::sample::subsequence(matchers.to_vec(), 1..4), 1..12);
    proptest!(|(alert in alert, chosen in chosen)| {
        let files: Vec<File> = chosen
            .iter()
            .enumerate()
            .map(|(n, chosen)| playbook(&format!("p{n}"), &format!("match: [{}]", chosen.join(", "))))
            // Some contradict themselves, which is refused.
            .filter(|file| Catalog::build(&[], std::slice::from_ref(file), DAY).is_ok())
            .collect();
        let catalog = Catalog::build(&[], &files, DAY).unwrap();
        let pairs: Vec<(&str, &str)> = ["a", "b", "c"]
            .into_iter()
            .zip(&alert)
            .filter_map(|(name, value)| Some((name, (*value)?)))
            .collect();
        let (labels, scope) = (labels(&pairs), Scope::default());
        let found: Vec<String> =
            catalog.matching(&labels, &scope).into_iter().map(|(p, _)| p.name.clone()).collect();
        let all = catalog.explain(&labels, &scope).into_iter();
        let asked: Vec<String> = all
            .filter(|(_, answer)| matches!(answer, Answer::Matched { .. }))
            .map(|(p, _)| p.name.clone())
            .collect();
        prop_assert_eq!(found, asked);
    });
}
