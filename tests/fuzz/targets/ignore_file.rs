//! Invariant: reading any ignore file ends in an error, or in rules that
//! - judge a path the same way in all spellings: `a`, `/a`, `./a`, `a/`;
//! - exclude files below an excluded path;
//! - do not exclude more if a comment or a blank line is added at the end.
//!
//! The first line of the input is the path, the rest the ignore file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use xbuild_files::IgnoreRules;

fuzz_target!(|input: &[u8]| {
    let end = input.iter().position(|&byte| byte == b'\n').unwrap_or(input.len());
    let (path, text) = input.split_at(end);
    let Ok(rules) = IgnoreRules::parse(text) else { return };
    let more = IgnoreRules::parse(&[text, b"\n# comment\n\n"].concat()).expect("is read as before");
    let excluded = rules.excludes(path);
    assert_eq!(more.excludes(path), excluded);
    // A path that climbs out of the context is not part of it.
    let plain = |part: &[u8]| !part.is_empty() && part != b"." && part != b"..";
    if path.split(|&byte| byte == b'/').all(plain) {
        for spelling in [&[b"/", path][..], &[b"./", path], &[path, b"/"]] {
            assert_eq!(rules.excludes(&spelling.concat()), excluded, "{spelling:?}");
        }
        if excluded {
            assert!(rules.excludes(&[path, b"/below"].concat()));
        }
    }
});
