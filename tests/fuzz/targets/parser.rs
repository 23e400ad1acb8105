//! Invariant: parsing any bytes ends in at least one error, each on lines that the file has, or in
//! a tree such that
//! - spans are in order and within the file;
//! - printed, it reads back and prints the same;
//! - linting ends, and each warning is on lines of the file.
//!
//! Corpus: `cargo run --example seeds -- corpus`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use xbuild_dockerfile::{Checks, Span, lint, parse, parse_onbuild, print};

fuzz_target!(|bytes: &[u8]| {
    let lines = bytes.iter().filter(|&&byte| byte == b'\n').count() as u32 + 1;
    let check = |span: &Span| assert!(*span.lines.end() <= lines && !span.lines.is_empty());
    let tree = match parse("Dockerfile", bytes) {
        Ok(tree) => tree,
        Err(errors) => {
            assert!(errors.iter().count() > 0 && !errors.to_string().is_empty());
            errors.iter().for_each(|error| check(&error.span));
            return;
        }
    };
    let mut last = 0;
    for stage in &tree.stages {
        let spans = stage.instructions.iter().map(|instruction| &instruction.span);
        for span in std::iter::once(&stage.from.span).chain(spans) {
            check(span);
            assert!(*span.lines.start() > last);
            last = *span.lines.end();
        }
    }
    lint(&tree, &Checks::of(&tree)).iter().for_each(|warning| check(&warning.span));
    let printed = print(&tree);
    let again = parse("Dockerfile", printed.as_bytes()).expect("what is printed reads back");
    assert_eq!(print(&again), printed);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = parse_onbuild(text, &tree.stages[0].from.span);
    }
});
