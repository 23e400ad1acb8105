"""The rows of the table: a build, a raw pipeline that handles the same bytes, and the target for xbuild."""
import json, os, pathlib, shutil
from dataclasses import dataclass, field

import inputs, measure
from peers import Job, TOP, shell

BARE = "unshare --user --map-root-user --mount --pid --fork sh -c true"


@dataclass
class Bench:
    """The inputs of a run: folders of contexts and bases, and the references of the bases in the registry."""
    work: pathlib.Path
    registry: object
    scale: float
    cache: pathlib.Path
    refs: dict = field(default_factory=dict)
    pushes: int = 0

    def image(self):
        """Returns a new name in the registry, under which there are no blobs yet."""
        self.pushes += 1
        return f"{self.registry.host}/bench/run{self.pushes}:latest"

    def context(self):
        return inputs.once(self.cache / f"context-{self.scale:g}", inputs.context, self.scale)

    def layout(self, name):
        """Returns the OCI layout `base` or `busybox`."""
        measure.run([TOP / "fixtures/base-images", "busybox"])
        busybox = TOP / "fixtures/.cache/busybox"
        if name == "busybox":
            return inputs.once(self.cache / "busybox", inputs.single, busybox)
        return inputs.once(self.cache / f"base-{self.scale:g}", inputs.base, self.scale, busybox)

    def ref(self, name):
        """Returns the reference of a base in the registry."""
        if name not in self.refs:
            self.refs[name] = self.registry.push(self.layout(name), name)
        return self.refs[name]

    def folder(self, name, lines):
        """Returns a context folder with a Dockerfile and a small file."""
        folder = self.work / "contexts" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "Dockerfile").write_text("\n".join(lines) + "\n")
        (folder / "file").write_text("a file\n")
        return folder


@dataclass(frozen=True)
class Row:
    """One line of the table. `target` is the seconds that xbuild must reach where a raw pipeline of `raw` takes the
    seconds beside it; their ratio is what can be compared on other machines."""
    name: str
    title: str
    prepare: object
    target: float
    raw: tuple
    is_cold: bool = False
    is_repeated: bool = False
    is_pushed: bool = True
    no_cache: bool = False
    shows_size: bool = False
    has_cache: bool = False

    def job(self, folder, image):
        """Returns the build; with a shared cache, in the registry that it pushes to."""
        cache = f"{image.split('/')[0]}/bench/cache" if self.has_cache else None
        return Job(folder, image, self.no_cache, cache)


def tiny(bench):
    """Ten tiny steps."""
    return bench.folder("tiny", [f"FROM {bench.ref('busybox')}", *(f"RUN echo {n} > /file{n}" for n in range(10))])


def twelve(bench):
    """Twelve steps of three kinds."""
    steps = [[f"COPY file /copy{n}/", f"WORKDIR /work{n}", f"RUN echo {n} > /file{n}"] for n in range(4)]
    return bench.folder("twelve", [f"FROM {bench.ref('busybox')}", *sum(steps, [])])


def base_run(bench):
    """A base that has to be unpacked."""
    return bench.folder("base-run", [f"FROM {bench.ref('base')}", *(f"RUN echo {n} > /file{n}" for n in range(3))])


def base_copy(bench):
    """A build that needs only the names of the base's files."""
    return bench.folder("base-copy", [f"FROM {bench.ref('base')}", "COPY file /file"])


def base_link(bench):
    """A build that needs nothing of the base."""
    return bench.folder("base-link", [f"FROM {bench.ref('base')}", "COPY --link file /file"])


def whole_context(bench):
    """Returns a folder with the context and a Dockerfile; the files are linked if that is possible."""
    folder = bench.work / "contexts/context"
    if not folder.exists():
        shutil.copytree(bench.context(), folder, copy_function=link_or_copy)
        (folder / "Dockerfile").write_text("FROM scratch\nCOPY data /data\n")
    return folder


def link_or_copy(source, target):
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def bare(_bench):
    """Ten namespaces with a process in each: the kernel's part of ten steps."""
    return f"for n in 0 1 2 3 4 5 6 7 8 9; do {BARE}; done"


def unpack(bench):
    """The base's layers, decompressed and unpacked, each in turn."""
    layout = bench.layout("base")
    manifest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    layers = json.loads(inputs.blob_of(layout, manifest).read_text())["layers"]
    blobs = [shell([inputs.blob_of(layout, layer["digest"])]) for layer in layers]
    out = shell([bench.work / "unpacked"])
    shutil.rmtree(bench.work / "unpacked", ignore_errors=True)
    return "; ".join([f"mkdir {out}", *(f"pigz -d -c {blob} | tar -x -C {out}" for blob in blobs)])


def pack(bench):
    """The context as a compressed tar archive and its digest."""
    return f"tar -c -C {shell([bench.context()])} . | pigz -6 -p 2 | sha256sum"


def crane(bench):
    """One more layer on the base, in the registry."""
    if not shutil.which("crane"):
        return None
    folder = bench.work / "crane"
    if not folder.exists():
        folder.mkdir()
        (folder / "file").write_text("a file\n")
        measure.run(["tar", "-c", "-f", folder / "layer.tar", "-C", folder, "file"])
    return shell(["crane", "append", "--insecure", "-b", bench.ref("base"), "-f", folder / "layer.tar", "-t", bench.image()])


# Raw pipelines: a name, the command, and its seconds on the machine of the targets. A row is compared with the first of
# its own that this machine has.
BARE_CALLS = ("10 bare unshare", bare, 0.03)
UNPACK = ("pigz -d, tar -x", unpack, 5.7)
PACK = ("tar, pigz -6 -p 2, sha256sum", pack, 13.8)
APPEND = ("crane append", crane, 0.07)

ROWS = [
    Row("run", "10 tiny RUN steps, no cache, OCI out", tiny, 0.07, (BARE_CALLS,), no_cache=True, is_pushed=False,
        is_repeated=True),
    Row("run-cached", "the same, all cached", tiny, 0.02, (BARE_CALLS,), is_pushed=False, is_repeated=True),
    Row("shared-cache", "12 steps from a cache in the registry, empty machine, push", twelve, 0.1, (BARE_CALLS,),
        is_cold=True, is_repeated=True, has_cache=True),
    Row("base-run", "1.27 GB base, 3 RUN steps, cold, push", base_run, 5, (UNPACK,), is_cold=True),
    Row("base-copy", "the same base, COPY one file, cold, push beside it", base_copy, 3, (UNPACK,), is_cold=True),
    Row("base-link", "the same with COPY --link", base_link, 0.08, (APPEND, BARE_CALLS), is_cold=True),
    Row("context", "692 MB context, 24,000 files, one COPY, cold, push", whole_context, 4, (PACK,), is_cold=True,
        shows_size=True),
    Row("context-same", "the same, nothing changed", whole_context, 0.15, (PACK,), is_repeated=True),
]
