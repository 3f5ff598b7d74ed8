//! What the tests find stands in `docs/MODEL.md`, between two marks.

use std::fs;
use std::path::Path;

/// The part of the document with this name is `text`. `MODEL_BLESS=1` writes it.
pub(crate) fn documented(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/MODEL.md");
    let document = fs::read_to_string(&path).unwrap();
    let (begin, end) = (
        format!("<!-- {name} -->\n"),
        format!("<!-- end of {name} -->"),
    );
    let (before, rest) = document.split_once(&begin).expect("the mark");
    let (held, after) = rest.split_once(&end).expect("the mark behind it");
    if std::env::var_os("MODEL_BLESS").is_some() {
        fs::write(&path, [before, &begin, text, &end, after].concat()).unwrap();
    } else {
        assert!(
            held == text,
            "docs/MODEL.md is not what the model says; \
             MODEL_BLESS=1 cargo test -p smtp-checkpoint-model\n{text}"
        );
    }
}
