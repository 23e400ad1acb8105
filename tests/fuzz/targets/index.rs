//! Invariant: reading any bytes as a tree index ends in an error, or in an index that
//! - written, reads back the same;
//! - applied to a tree, gives a tree whose walk ends.

#![no_main]

use libfuzzer_sys::fuzz_target;
use xbuild_layer::{LayerIndex, Tree};

fuzz_target!(|bytes: &[u8]| {
    let Ok(index) = LayerIndex::decode(bytes) else { return };
    let mut written = Vec::new();
    index.encode(&mut written).expect("a list takes all bytes");
    assert_eq!(LayerIndex::decode(&written).expect("what is written reads back"), index);
    for at in 0..u32::try_from(index.changes().len()).expect("the input is short") {
        let _ = index.segments(at);
    }
    let once = Tree::empty().apply(0, &index);
    let twice = once.apply(1, &index);
    // The same layer once more changes no path.
    let paths = |tree: &Tree| tree.walk(b"").map(|(path, _)| path).collect::<Vec<_>>();
    assert_eq!(paths(&once), paths(&twice));
});
