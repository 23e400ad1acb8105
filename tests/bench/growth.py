"""Grows one dimension of a build at a time: time should grow as the work does, memory should not."""
import shutil

import measure, report
from peers import Job, Xbuild

PLATFORMS = """linux/amd64 linux/arm64 linux/arm/v7 linux/386 linux/arm/v6 linux/arm/v5 linux/ppc64le linux/s390x
linux/riscv64 linux/mips64le linux/loong64 linux/amd64/v2 linux/amd64/v3 linux/amd64/v4 linux/mips64 linux/mipsle""".split()


def stages(folder, count, _base):
    """Stages that each copy from the one before."""
    lines = ["FROM scratch AS s0", "COPY file /f0"]
    for number in range(1, count):
        lines += [f"FROM scratch AS s{number}", f"COPY --from=s{number - 1} /f{number - 1} /f{number}"]
    return lines


def copies(folder, count, _base):
    """Layers by COPY, each of one small file."""
    for number in range(count):
        (folder / f"file{number}").write_text(f"{number}\n")
    return ["FROM scratch", *(f"COPY file{number} /data/" for number in range(count))]


def runs(_folder, count, base):
    """Layers by RUN, each of one small file."""
    return [f"FROM {base}", *(f"RUN echo {number} > /file{number}" for number in range(count))]


def context_files(folder, count, _base):
    """Files in a context, a thousand in a folder."""
    for number in range(count):
        place = folder / f"data/d{number // 1000}"
        if number % 1000 == 0:
            place.mkdir(parents=True, exist_ok=True)
        file = place / f"f{number}"
        if not file.exists():
            file.write_text(f"{number}\n")
    return ["FROM scratch", "COPY data /data"]


def run_files(_folder, count, base):
    """Files that a RUN makes, a thousand in a folder."""
    each = "mkdir /data/d$d; cd /data/d$d; seq 1 1000 | xargs touch; d=$((d+1))"
    return [f"FROM {base}", f"RUN mkdir /data; d=0; while [ $d -lt {max(1, count // 1000)} ]; do {each}; done"]


def context_hole(folder, size, _base):
    """A file of a context that is one hole."""
    with open(folder / "hole", "wb") as file:
        file.truncate(size * 10**9)
    return ["FROM scratch", "COPY hole /hole"]


def run_hole(_folder, size, base):
    """A file of one hole that a RUN makes."""
    return [f"FROM {base}", f"RUN dd if=/dev/null of=/hole bs=1 count=0 seek={size * 10**9}"]


def platforms(_folder, _count, _base):
    """A layer for each platform."""
    return ["FROM scratch", "ARG TARGETPLATFORM", "COPY file /$TARGETPLATFORM/file"]


# The dimensions: name, title, unit, sizes, the function that makes the context.
SERIES = [
    ("stages", "stages that copy from one another", "stages", (250, 500, 1000), stages),
    ("copy-layers", "layers by COPY", "layers", (125, 250, 500), copies),
    ("run-layers", "layers by RUN", "layers", (125, 250, 500), runs),
    ("copy-files", "files of a context, one COPY", "files", (250_000, 500_000, 1_000_000), context_files),
    ("run-files", "files by one RUN", "files", (250_000, 500_000, 1_000_000), run_files),
    ("copy-hole", "one sparse file, COPY", "GB", (5, 10, 20), context_hole),
    ("run-hole", "one sparse file, RUN", "GB", (5, 10, 20), run_hole),
    ("platforms", "platforms, one COPY", "platforms", (4, 8, 16), platforms),
]


def one(bench, builder, lines_of, size, name):
    """Returns the Sample of one cold build with an OCI tar as its result. The context grows from size to size."""
    folder = bench.work / f"growing-{name}"
    folder.mkdir(exist_ok=True)
    (folder / "file").write_text("a file\n")
    (folder / "Dockerfile").write_text("\n".join(lines_of(folder, size, bench.ref("busybox"))) + "\n")
    command = builder.command(Job(folder))
    if name == "platforms":
        command[2:2] = ["--platform", ",".join(PLATFORMS[:size])]
    builder.forget()
    return measure.run(command)


def scaled(name, sizes, scale):
    """Returns the sizes at a scale, each once. Numbers of platforms are not scaled."""
    return sizes if name == "platforms" else list(dict.fromkeys(max(1, int(size * scale)) for size in sizes))


def run(bench, names, out):
    """Runs the series and writes growth.md to the folder `out`. A size that fails ends its series with a note."""
    builder = Xbuild(bench.work)
    series = []
    try:
        for name, title, unit, sizes, lines_of in SERIES:
            if names and name not in names:
                continue
            points, note = [], None
            for size in scaled(name, sizes, bench.scale):
                report.say(f"{name}: {size:,} {unit}")
                try:
                    points.append((size, one(bench, builder, lines_of, size, name)))
                except measure.Failed as error:
                    note = f"{size:,} {unit}: {str(error).splitlines()[-1]}"
                    break
            shutil.rmtree(bench.work / f"growing-{name}")
            series.append((title, unit, points, note))
    finally:
        builder.close()
    text = report.growth(series, bench.scale)
    (out / "growth.md").write_text(text)
    print(text)
