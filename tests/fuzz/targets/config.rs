//! The configuration file: any text is a configuration or a list of faults, each of which points inside the file.

use crisp_sync::config::{Config, ConfigFaults, Palette, Place, environment::Environment};

/// What stands in the environment; no drawing may show it.
const SECRETS: [(&str, &str); 4] = [
    ("CRISP_SIGNING_SECRETS", "zq8secretzq8signing"),
    ("CRISP_TOKEN_KEY", "zq8secretzq8key"),
    ("CRISP_TOKEN_IDENTIFIER", "zq8secretzq8identifier"),
    (
        "DATABASE_URL",
        "postgres://app:zq8secretzq8db@db.example/app",
    ),
];

/// The whole input is the file.
pub(crate) fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // A file that is named is opened; what lies on this machine is not part of the input.
    if text.contains("_file") {
        return;
    }
    let full: Environment = SECRETS
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    for environment in [full, Environment::default()] {
        match Config::from_text("crisp-sync.toml", &text, &environment) {
            Ok(config) => drawn(&text, &config.drawn_warnings()),
            Err(faults) => {
                assert!(!faults.faults().is_empty(), "refused for nothing");
                drawn(&text, &faults);
            }
        }
    }
}

fn drawn(text: &str, faults: &ConfigFaults) {
    for fault in faults.faults() {
        assert!(!fault.message.is_empty());
        if let Place::Span(span) = &fault.place {
            assert!(
                text.get(span.clone()).is_some(),
                "{span:?} is no part of the file"
            );
            let (line, column) = faults.position(fault).expect("a span has a position");
            assert!(line >= 1 && column >= 1);
            assert!(line <= text.matches('\n').count() + 1);
        }
        assert!(!faults.place(fault).is_empty());
    }
    for palette in [Palette::Plain, Palette::Coloured] {
        let drawing = faults.render(palette);
        assert!(text.contains("zq8secret") || !drawing.contains("zq8secret"));
    }
}
