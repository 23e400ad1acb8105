//! Invariant: planning a RUN with any options of `--mount` ends in an error, or in a RUN whose
//! mounts have absolute targets other than the root.

#![no_main]

use libfuzzer_sys::fuzz_target;
use xbuild_dockerfile::parse;
use xbuild_plan::{Images, Op, PlanOptions, Planned, plan};

fuzz_target!(|options: &str| {
    let text = format!(
        "FROM scratch AS a\nARG A=/x B=1\nWORKDIR /w\nFROM a\nRUN --mount={options} [\"x\"]\n"
    );
    let Ok(file) = parse("Dockerfile", text.as_bytes()) else { return };
    let platform = "linux/amd64".parse().expect("is a platform");
    let Ok(planned) = plan(&file, &PlanOptions::new(platform), &Images::default()) else { return };
    let Planned::Ready(graph) = planned else { return };
    for vertex in &graph.vertices {
        let Op::Run { request, .. } = &vertex.op else { continue };
        for mount in &request.mounts {
            // A secret may be only a variable.
            let no_file = mount.target.is_empty();
            assert!(no_file || mount.target.starts_with("/") && mount.target != "/", "{mount:?}");
        }
    }
});
