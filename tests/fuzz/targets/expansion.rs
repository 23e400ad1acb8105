//! Invariant: expanding any text with any values ends in an error, or in a text within the limit.
//! Only unset variables are reported as unset. The same input gives the same text.
//!
//! The first line of the input is the value of all variables whose names have an even length; the
//! rest is the text.
//!
//! Corpus: `cargo run --example seeds -- corpus`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use xbuild_dockerfile::expand::{
    MAX_GROWTH, expand_for_display, expand_heredoc, expand_word, expand_words,
};
use xbuild_dockerfile::parse_ports;

fuzz_target!(|input: &str| {
    let (value, text) = input.split_once('\n').unwrap_or(("value", input));
    let is_set = |name: &str| name.len().is_multiple_of(2);
    let variables = |name: &str| is_set(name).then(|| value.to_owned());
    for escape in ['\\', '`'] {
        let word = expand_word(text, escape, &variables);
        if let Ok(word) = &word {
            assert!(word.text.len() <= text.len() + MAX_GROWTH);
            assert!(word.unset.iter().all(|name| !is_set(name)));
        }
        assert_eq!(word, expand_word(text, escape, &variables));
        if let Ok(words) = expand_words(text, escape, &variables) {
            assert!(words.words.iter().all(|word| !word.is_empty()));
            words.words.iter().for_each(|word| drop(parse_ports(word)));
        }
        let _ = expand_for_display(text, escape, &variables);
    }
    if let Ok(body) = expand_heredoc(text, &variables) {
        assert!(body.text.len() <= text.len() + MAX_GROWTH);
        assert!(text.contains(['$', '\\']) || body.text == text);
    }
});
