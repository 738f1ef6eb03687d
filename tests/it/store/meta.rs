//! Every verb of the store is called by a story that runs on every backend.

use std::{fs, path::Path};

use regex::Regex;

#[test]
fn every_verb_of_the_store_is_in_a_story_for_every_backend() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let verb = Regex::new(r"(?m)^    pub async fn (\w+)").unwrap();
    let own = Regex::new(r"(?ms)^impl Store \{$.*?^\}$").unwrap();
    let mut verbs = vec![];
    for text in texts(&root.join("src/store")) {
        for block in own.find_iter(&text) {
            verbs.extend(verb.captures_iter(block.as_str()).map(|found| found[1].to_owned()));
        }
    }
    assert!(verbs.len() > 30, "{verbs:?}");
    let stories: Vec<String> = texts(&root.join("tests/it/store"))
        .into_iter()
        .filter(|text| text.contains("on_every_backend!("))
        .collect();
    let stories = stories.concat();
    verbs.retain(|verb| {
        !stories.contains(&format!(".{verb}(")) && !stories.contains(&format!("Store::{verb}("))
    });
    assert!(verbs.is_empty(), "no story calls {verbs:?}");
}

fn texts(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.extension().is_some_and(|e| e == "rs"));
    files.map(|path| fs::read_to_string(path).unwrap()).collect()
}
