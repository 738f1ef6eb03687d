//! The disk is full: nothing is taken that could be lost, people hear of it without the store, and it goes on by itself.

use std::{fs::File, io::Write as _, path::PathBuf};

use super::{EACH_BY_ITSELF, PATIENCE, all_are_paged, labels};
use crate::bed::{Bed, daemon::Daemon, until};

/// Takes all the room there is left on the daemon's disk, which only its own processes see.
fn fill(daemon: &Daemon) -> PathBuf {
    let path = PathBuf::from(format!("/proc/{}/root", daemon.process.id()));
    let path = path.join(daemon.disk().strip_prefix("/").unwrap()).join("filler");
    let mut file = File::create(&path).unwrap();
    for size in [1 << 16, 1 << 12, 1] {
        while file.write(&vec![0; size]).is_ok_and(|written| written == size) {}
    }
    path
}

#[tokio::test]
async fn on_a_full_disk_nothing_is_promised_people_are_told_and_it_goes_on_when_there_is_room() {
    let bed = Bed::new();
    let daemon = Daemon::start_on_small_disk(&bed, "8m", EACH_BY_ITSELF).await;
    let mut names = vec!["Before".to_owned()];
    assert_eq!(daemon.try_alert(&labels("Before")).await, Some(200));
    all_are_paged(&daemon, &names).await;

    let filler = fill(&daemon);
    // The last free pages of its own files may still take one.
    let mut number = 0;
    let refused = async || {
        let name = format!("Full{number}");
        match daemon.try_alert(&labels(&name)).await {
            Some(200) => {
                names.push(name);
                number += 1;
                None
            }
            other => (other == Some(503)).then_some(()),
        }
    };
    until("a webhook is refused", PATIENCE, refused).await;
    let ready = format!("{}/readyz", daemon.url);
    let red = async || bed.get(&ready).await.filter(|answer| answer.status == 503);
    until("it is not ready", PATIENCE, red).await;
    let told = async || {
        daemon.process.output().contains("Paramedic: its store cannot be reached").then_some(())
    };
    until("people are told", PATIENCE, told).await;

    std::fs::remove_file(filler).unwrap();
    names.push("After".to_owned());
    let taken = async || daemon.try_alert(&labels("After")).await.filter(|status| *status == 200);
    until("webhooks are taken again", PATIENCE, taken).await;
    let green = async || bed.get(&ready).await.filter(|answer| answer.status == 200);
    until("it is ready again", PATIENCE, green).await;
    all_are_paged(&daemon, &names).await;
    let back = async || daemon.process.output().contains("its store is back after").then_some(());
    until("people hear that it is back", PATIENCE, back).await;
}
