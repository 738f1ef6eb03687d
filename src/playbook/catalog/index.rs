//! Which playbooks an alert may lead to at all, without asking each of them.
//!
//! A playbook that demands a value of a label exactly is found by that value; one that demands several, by the one that
//! fewest others demand. The rest is always asked.

use std::{collections::BTreeMap, sync::Arc};

use crate::playbook::model::{Matching, Playbook};

/// Places in the catalog's list, by what they demand.
#[derive(Debug)]
pub struct Index {
    /// By label name and value.
    by_label: BTreeMap<String, BTreeMap<String, Vec<usize>>>,
    /// Those that demand no value exactly.
    others: Vec<usize>,
}

impl Index {
    /// Of all playbooks, in their order.
    pub fn new(playbooks: &[Arc<Playbook>]) -> Self {
        let mut demands: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for demand in playbooks.iter().flat_map(|playbook| demanded(playbook)) {
            *demands.entry(demand).or_default() += 1;
        }
        let mut index = Self { by_label: BTreeMap::new(), others: vec![] };
        for (place, playbook) in playbooks.iter().enumerate() {
            let Some((name, value)) = demanded(playbook).min_by_key(|demand| demands[demand])
            else {
                index.others.push(place);
                continue;
            };
            let by_value = index.by_label.entry(name.to_owned()).or_default();
            by_value.entry(value.to_owned()).or_default().push(place);
        }
        index
    }

    /// Places of playbooks that these labels may lead to, in order; no other can match.
    pub fn candidates(&self, labels: &BTreeMap<String, String>) -> Vec<usize> {
        let mut found = self.others.clone();
        for (name, by_value) in &self.by_label {
            let here = labels.get(name).and_then(|value| by_value.get(value));
            found.extend(here.into_iter().flatten());
        }
        found.sort_unstable();
        found
    }
}

/// Labels and the values that they must have. One that may be missing demands nothing.
fn demanded(playbook: &Playbook) -> impl Iterator<Item = (&str, &str)> {
    playbook.matches.iter().filter_map(|entry| match entry {
        Matching::One(matcher) => {
            let value = matcher.exact().filter(|value| !value.is_empty())?;
            Some((matcher.name(), value))
        }
        Matching::Any(_) => None,
    })
}
