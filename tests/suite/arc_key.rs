//! The key that the agent of Azure Arc shows. Part of the binary `installed`: it is read from the
//! agent's own folder alone, where only root may write.

use std::path::{Path, PathBuf};

use tokenferry::simulator::{IDENTITY_CANARY, Simulator};

use crate::cli::desk;
use crate::identity::{ARC_KEYS, arc, calls, managed, refused_unread, token};

/// A key file of one test, gone afterwards.
struct ArcKey(PathBuf);

impl ArcKey {
    fn place(simulator: &Simulator, name: &str) -> Self {
        let path = Path::new(ARC_KEYS).join(format!("tokenferry-{}-{name}", std::process::id()));
        let key = simulator.arc_key(&path.display().to_string());
        std::fs::create_dir_all(ARC_KEYS)
            .and_then(|()| std::fs::write(&path, key.expose()))
            .expect("this user may write where the agent keeps its keys");
        Self(path)
    }
}

impl Drop for ArcKey {
    fn drop(&mut self) {
        // The folder of a real agent stays; one that was made for this goes when it is empty.
        let _ = std::fs::remove_file(&self.0);
        for folder in [ARC_KEYS, "/var/opt/azcmagent"] {
            let _ = std::fs::remove_dir(folder);
        }
    }
}

#[tokio::test]
async fn the_challenge_of_azure_arc_is_met_with_the_key_it_names() {
    let (simulator, folder) = desk(&managed("system")).await;
    let key = ArcKey::place(&simulator, "good.key");
    let (code, said) = token(folder.path(), &arc(&simulator)).await;
    assert_eq!(code, 0, "{said}");
    let calls = calls(&simulator);
    assert_eq!(calls.len(), 2);
    assert!(calls[0].target().contains("api-version=2020-06-01"));
    assert_eq!(calls[0].header("authorization"), None);
    let shown = calls[1].header("authorization").expect("the key is shown");
    assert!(
        shown.starts_with(&format!("Basic {IDENTITY_CANARY}")),
        "{shown}"
    );
    drop(key);
    // Another name, the same key: not a .key file, so it is not read.
    let _key = ArcKey::place(&simulator, "good.txt");
    refused_unread(&simulator, folder.path()).await;
}
