//! Which verdict is read first: a cause before the symptoms it explains, then the surest, then the best documented.

use std::collections::BTreeMap;

use crate::domain::verdict::Verdict;

/// Orders verdicts (each with its number of matching lines) and keeps in `explains` only what is among them.
pub(super) fn rank(mut matched: Vec<(Verdict, usize)>) -> Vec<Verdict> {
    let present: Vec<String> = matched.iter().map(|(verdict, _)| verdict.id.clone()).collect();
    for (verdict, _) in &mut matched {
        verdict.explains.retain(|id| present.contains(id));
    }
    let depths = depths(&matched);
    matched.sort_by(|(a, a_count), (b, b_count)| {
        depths[&a.id]
            .cmp(&depths[&b.id])
            .then(b.confidence.total_cmp(&a.confidence))
            .then(b_count.cmp(a_count))
            .then(a.id.cmp(&b.id))
    });
    matched.into_iter().map(|(verdict, _)| verdict).collect()
}

/// Length of the longest chain of causes above each. Circles were refused when the book was built.
fn depths(matched: &[(Verdict, usize)]) -> BTreeMap<String, usize> {
    let mut depths: BTreeMap<String, usize> =
        matched.iter().map(|(verdict, _)| (verdict.id.clone(), 0)).collect();
    for _ in 0..matched.len() {
        for (verdict, _) in matched {
            let below = depths[&verdict.id] + 1;
            for symptom in &verdict.explains {
                if let Some(depth) = depths.get_mut(symptom) {
                    *depth = below.max(*depth);
                }
            }
        }
    }
    depths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::verdict::Owner;

    fn verdict(id: &str, confidence: f64, explains: &[&str], count: usize) -> (Verdict, usize) {
        let verdict = Verdict {
            id: id.to_owned(),
            title: String::new(),
            confidence,
            owner: Owner::Platform,
            evidence: vec![],
            remedy: String::new(),
            explains: explains.iter().map(|s| (*s).to_owned()).collect(),
            docs: None,
        };
        (verdict, count)
    }

    #[test]
    fn causes_come_first_then_confidence_then_evidence() {
        let ranked = rank(vec![
            verdict("symptom", 1.0, &[], 9),
            verdict("cause", 0.5, &["middle", "absent"], 1),
            verdict("middle", 0.9, &["symptom"], 1),
            verdict("b", 0.7, &[], 2),
            verdict("a", 0.7, &[], 2),
            verdict("c", 0.7, &[], 3),
        ]);
        let ids: Vec<&str> = ranked.iter().map(|v| v.id.as_str()).collect();
        assert_eq!(ids, ["c", "a", "b", "cause", "middle", "symptom"]);
        assert_eq!(ranked[3].explains, ["middle"]);
    }
}
