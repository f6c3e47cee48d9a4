//! Any bytes as the file of a certificate: what is wrong with it is said without a word of it, and
//! what is accepted stays so whatever its lines end with, with text around it, and with what stands in
//! it the other way round.
#![no_main]

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use memchr::memmem::find;
use tokenferry::config::{AppIdentity, BaseUrl, CredentialKind, CredentialSpec, Name};
use tokenferry::credential::{Credential, Egress, Platform};
use tokenferry::forward_proxy::ForwardProxy;
use tokenferry::secret::{SecretSource, pem};
use tokenferry::trust;

/// A folder of this process; `fuzz/run` sees to it that it is in memory, and is removed.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let own = format!("tokenferry-fuzz-{}", std::process::id());
    let folder = std::env::temp_dir().join(own);
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("password"), "correct horse").expect("a file");
    folder
});

static CREDENTIAL: LazyLock<Arc<Credential>> = LazyLock::new(|| {
    let kind = CredentialKind::Certificate {
        app: AppIdentity {
            authority: BaseUrl::parse("https://login.test").expect("a URL"),
            tenant_id: "tenant".to_owned(),
            client_id: "client".to_owned(),
        },
        file: FOLDER.join("app.pem").as_path().into(),
        password: Some(SecretSource::File(FOLDER.join("password").as_path().into())),
        send_chain: true,
    };
    let spec = CredentialSpec {
        name: Name::parse("app").expect("a name"),
        kind,
        continuous_access: false,
        expires: None,
        fallback: None,
    };
    let egress = Egress {
        tls: trust::load(None).expect("the system's authorities").client,
        resolve: Default::default(),
        forward_proxy: ForwardProxy::none(),
    };
    let platform = Platform::detect(|_| None);
    let mut all = Credential::all(&[spec], &egress, &platform).expect("a client");
    all.remove(0)
});

/// What is wrong with this file, with the folder left out.
fn check(text: &[u8]) -> Result<(), String> {
    std::fs::write(FOLDER.join("app.pem"), text).expect("a file");
    CREDENTIAL.check().map_err(|error| {
        let folder = FOLDER.to_str().expect("a path");
        format!("{} {error:?}", error.words()).replace(folder, "")
    })
}

/// Whether the key of a password may be derived with more rounds than there is time for here: their
/// number has three bytes and more then.
fn is_slow(text: &[u8]) -> bool {
    let contents = pem::sections(text)
        .flatten()
        .map(|section| section.decode());
    contents.flatten().any(|content| {
        let long = |number: &&[u8]| find(&content, number).is_some();
        [&[2, 3][..], &[2, 4]].iter().any(long)
    }) && find(text, b"ENCRYPTED").is_some()
}

/// The sections, the last first.
fn turned(text: &[u8]) -> String {
    let sections: Vec<_> = pem::sections(text).flatten().collect();
    let written = sections.iter().rev().map(|section| {
        use base64::Engine;
        let content = section.decode().expect("it was decoded before");
        let content = base64::prelude::BASE64_STANDARD.encode(&content);
        let label = section.label;
        format!("-----BEGIN {label}-----\n{content}\n-----END {label}-----\n")
    });
    written.collect()
}

fuzz_target!(|text: &[u8]| {
    if is_slow(text) {
        return;
    }
    match check(text) {
        Ok(()) => {
            let plain: Vec<u8> = text
                .iter()
                .map(|b| if *b == b'\r' { b'\n' } else { *b })
                .collect();
            let ends = String::from_utf8_lossy(&plain).replace('\n', "\r\n");
            assert_eq!(check(ends.as_bytes()), Ok(()));
            let around = [b"a note\n", text, b"\nanother\n"].concat();
            assert_eq!(check(&around), Ok(()));
            let keys = pem::sections(text).flatten();
            if keys
                .filter(|section| section.label.ends_with("PRIVATE KEY"))
                .count()
                == 1
            {
                assert_eq!(check(turned(text).as_bytes()), Ok(()));
            }
        }
        Err(words) => {
            assert!(words.len() < 1024, "{words}");
            assert!(!words.chars().any(char::is_control), "{words}");
            for line in text.split(|byte| matches!(byte, b'\n' | b'\r')) {
                // Shorter ones are words of any text.
                let line = String::from_utf8_lossy(line);
                let is_short = line.len() < 24 || line.contains("-----");
                assert!(is_short || !words.contains(&*line), "{words}");
            }
        }
    }
});
