//! Invariant: planning any file that parses, for two platforms, ends in errors on lines of the
//! file, in needs, or in a graph whose inputs come before their users. Linting ends, too. The same
//! file gives the same results.
//!
//! Corpus: that of the parser of `dockerfile`, `cargo run --example seeds -- corpus` there.

#![no_main]

use libfuzzer_sys::fuzz_target;
use xbuild_dockerfile::{Checks, parse};
use xbuild_plan::{Images, PlanOptions, Planned, check, lint, plan};

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = parse("Dockerfile", bytes) else { return };
    let amd64 = || "linux/amd64".parse().expect("is a platform");
    let mut options = PlanOptions::new(amd64());
    options.platforms = vec![amd64(), "linux/arm/v7".parse().expect("is a platform")];
    options.build_args = vec![("A".to_owned(), "a b".to_owned())];
    let images = Images::default();
    for every_stage in [false, true] {
        options.every_stage = every_stage;
        let planned = plan(&file, &options, &images);
        assert_eq!(planned, plan(&file, &options, &images));
        match planned {
            Ok(Planned::Needs(needs)) => {
                assert!(!needs.is_empty());
                let _ = check(&file, &options, &images);
            }
            Ok(Planned::Ready(graph)) => {
                assert_eq!(graph.outputs.len(), 2);
                assert!(!graph.dump().is_empty());
            }
            Err(errors) => {
                assert!(errors.iter().count() > 0);
                assert!(check(&file, &options, &images).is_err());
            }
        }
        lint(&file, &options, &images, &Checks::of(&file), &|path| path.len() > 3);
    }
});
