//! What names a patient leaves through a door, and a door takes only what was released.
//!
//! The compiler holds the doors to it (`access::Released`, and its own tests that do not compile). These words would go
//! round them, so each stands only where it is known.

use super::files::sources;

/// A word, and the files of the gateway where it may stand.
const DOORS: [(&str, &[&str]); 6] = [
    // Only who writes the audit says that a decision stands there.
    (".recorded()", &["audit.rs", "operator.rs"]),
    // Content leaves its seal at a door.
    (".send(|", &["api.rs", "fhir/mod.rs", "page/mod.rs", "sse/stream.rs"]),
    ("Html(", &["page/mod.rs"]),
    ("Json(", &["api.rs"]),
    ("Body::from", &["input.rs", "sse/stream.rs"]),
    (".body(", &[]),
];

#[test]
fn answers_leave_through_their_doors() {
    let folder = "services/gateway/src/";
    let files = sources(&["rs"]);
    let gateway: Vec<_> = files.iter().filter_map(|file| Some((file.path.split_once(folder)?.1, file))).collect();
    assert!(gateway.iter().any(|(path, _)| *path == "page/mod.rs"), "the gateway is somewhere else");
    let mut offences = Vec::new();
    for (word, known) in DOORS {
        for (path, file) in &gateway {
            let lines = file.text.lines().enumerate().filter(|(_, line)| line.contains(word));
            if !known.contains(path) {
                offences.extend(lines.map(|(number, _)| format!("{path}:{}: `{word}` is no door", number + 1)));
            }
        }
        for path in known {
            let stands = gateway.iter().any(|(of, file)| of == path && file.text.contains(word));
            if !stands {
                offences.push(format!("{path}: `{word}` does not stand there any more"));
            }
        }
    }
    super::assert_none(offences);
}
