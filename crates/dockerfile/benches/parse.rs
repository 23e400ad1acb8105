//! The speed of parsing: a Dockerfile of a usual length, and one that a program has written.

#![allow(clippy::unwrap_used, reason = "what is unexpected ends the measurement")]

use std::fmt::Write as _;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use xbuild_dockerfile::{parse, print};

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .without_plots()
        .configure_from_args();
    for (name, stages) in [("2-stages", 2), ("500-stages", 500)] {
        let text = dockerfile(stages);
        let file = parse("Dockerfile", text.as_bytes()).unwrap();
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function("parse", |bencher| {
            bencher.iter(|| parse("Dockerfile", text.as_bytes()).unwrap());
        });
        group.bench_function("print", |bencher| bencher.iter(|| print(&file)));
    }
    criterion.final_summary();
}

/// Returns a Dockerfile with the usual instructions in each stage.
fn dockerfile(stages: usize) -> String {
    let mut text = "# syntax=docker/dockerfile:1\nARG VERSION=1.0\n\n".to_owned();
    for stage in 0..stages {
        write!(
            text,
            r#"# What stage {stage} is for.
FROM --platform=$BUILDPLATFORM debian:${{VERSION}} AS stage-{stage}
ARG TARGETARCH
ENV LANG=C.UTF-8 PATH="/opt/stage-{stage}/bin:$PATH"
WORKDIR /src/{stage}
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    apt-get update && apt-get install -y --no-install-recommends \
        # The compilers.
        gcc-$TARGETARCH \
        make \
    && rm -rf /var/lib/apt/lists/*
COPY --chown=1000:1000 --exclude=*.md src/ include/ "with space" ./
RUN <<END
set -e
./configure --prefix=/opt/stage-{stage}
make -j"$(nproc)" install
END
LABEL org.opencontainers.image.title="stage {stage}" org.opencontainers.image.version=$VERSION
HEALTHCHECK --interval=30s --timeout=3s CMD ["curl", "-f", "http://localhost/"]
USER 1000
ENTRYPOINT ["/opt/stage-{stage}/bin/program", "--flag"]

"#
        )
        .unwrap();
    }
    text
}
