"""Makes the inputs of builds: a context of many files and a big base image, the same bytes for the same scale.

The bytes are words of a skewed distribution and some that no compressor shortens, mixed so that `pigz -6` leaves
two fifths of them, as of a folder of programs, libraries and sources. Sizes are log-normal: many small files, a few
large ones.
"""
import gzip, hashlib, io, json, multiprocessing, pathlib, random, shutil, subprocess, tarfile

EPOCH = 1577836800  # 2020-01-01, the time of every file made here
OCI = "application/vnd.oci.image."
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Bytes:
    """An endless, repeatable supply of file contents."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
        words = ["".join(self.random.choices(letters, k=self.random.randint(2, 10))) for _ in range(5000)]
        weights = [1 / (rank + 1) for rank in range(len(words))]
        self.pages = [self.page(words, weights) for _ in range(3000)]

    def page(self, words, weights):
        return " ".join(self.random.choices(words, weights, k=700)).encode()[:3000] + self.random.randbytes(100)

    def take(self, size):
        """Returns `size` bytes: pages in random order, too far apart for deflate to see one twice."""
        data = bytearray()
        while len(data) < size:
            data += self.random.choice(self.pages)
        return bytes(data[:size])

    def sizes(self, files, total):
        """Returns the sizes of `files` files of about `total` bytes together."""
        raw = [self.random.lognormvariate(8.6, 1.7) for _ in range(files)]
        return [max(1, int(size * total / sum(raw))) for size in raw]


def once(folder, make, *arguments):
    """Returns the folder that `make(folder, *arguments)` fills, made in a process of its own unless it is there."""
    if not folder.exists():
        part = folder.with_name(folder.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        process = multiprocessing.Process(target=make, args=(part, *arguments))
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(f"bench: cannot make {folder}")
        part.rename(folder)
    return folder


def context(folder, scale):
    """Fills a build context: `data` with 692 MB in 24,000 files at scale 1."""
    supply = Bytes(1)
    for number, size in enumerate(supply.sizes(max(1, int(24_000 * scale)), 692_000_000 * scale)):
        place = folder / f"data/d{number % 61}/e{number // 61 % 40}"
        place.mkdir(parents=True, exist_ok=True)
        file = place / f"f{number}"
        file.write_bytes(supply.take(size))
        file.chmod(0o755 if number % 9 == 0 else 0o644)


def base(folder, scale, busybox):
    """Fills an OCI layout: 1.27 GB in 32,000 files and two layers at scale 1, on the files of busybox."""
    (folder / "blobs/sha256").mkdir(parents=True)
    supply = Bytes(7)
    config, first = busybox_image(busybox)
    parts = [("one", 12_000, 500_000_000, first), ("two", 20_000, 770_000_000, b"")]
    layers, diffs = [], []
    for name, files, total, start in parts:
        tar, blob = folder / f"{name}.tar", folder / f"{name}.gz"
        write_layer(tar, name, supply, (max(1, int(files * scale)), total * scale), start)
        with open(blob, "wb") as output:
            subprocess.run(["pigz", "-6", "-n", "-c", tar], check=True, stdout=output)
        diffs.append("sha256:" + digest_of(tar))
        layers.append(keep(folder, blob, "layer.v1.tar+gzip"))
        tar.unlink()
    settings = {"architecture": config["architecture"], "os": "linux", "config": {"Env": [PATH], "Cmd": ["sh"]},
                "rootfs": {"type": "layers", "diff_ids": diffs}, "history": [{"created_by": n} for n, *_ in parts]}
    manifest = {"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json", "layers": layers,
                "config": keep_json(folder, settings, "config.v1+json")}
    finish(folder, keep_json(folder, manifest, "manifest.v1+json"))


def single(folder, busybox):
    """Fills an OCI layout with this machine's image of the busybox layout."""
    (folder / "blobs/sha256").mkdir(parents=True)
    _, manifest = busybox_manifest(busybox)
    for part in [manifest["config"], *manifest["layers"]]:
        shutil.copy(blob_of(busybox, part["digest"]), folder / "blobs/sha256")
    finish(folder, keep_json(folder, manifest, "manifest.v1+json"))


def busybox_manifest(layout):
    """Returns this machine's configuration and manifest of the busybox layout."""
    load = lambda digest: json.loads(blob_of(layout, digest).read_bytes())
    machine = subprocess.run(["dpkg", "--print-architecture"], stdout=subprocess.PIPE, text=True, check=True)
    wanted = {"armhf": "arm", "i386": "386", "ppc64el": "ppc64le"}.get(machine.stdout.strip(), machine.stdout.strip())
    index = load(json.loads((layout / "index.json").read_text())["manifests"][0]["digest"])
    found = next(m for m in index["manifests"] if m["platform"]["architecture"] == wanted)
    manifest = load(found["digest"])
    return load(manifest["config"]["digest"]), manifest


def busybox_image(layout):
    """Returns the configuration and the uncompressed layer of this machine's busybox."""
    config, manifest = busybox_manifest(layout)
    return config, gzip.decompress(blob_of(layout, manifest["layers"][0]["digest"]).read_bytes())


def write_layer(path, name, supply, amount, start):
    """Writes a tar file: the entries of the tar archive `start`, then files below the folder `name`."""
    with open(path, "wb") as raw:
        raw.write(without_end(start))
        with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
            def add(path, kind, mode, data=b""):
                info = tarfile.TarInfo(path)
                info.type, info.mode, info.mtime, info.size = kind, mode, EPOCH, len(data)
                tar.addfile(info, io.BytesIO(data))
            folders = [f"{name}/d{a}/e{b}" for a in range(47) for b in range(9)]
            for folder in [name, *(f"{name}/d{a}" for a in range(47)), *folders]:
                add(folder, tarfile.DIRTYPE, 0o755)
            for number, size in enumerate(supply.sizes(*amount)):
                add(f"{folders[number % len(folders)]}/f{number}", tarfile.REGTYPE, 0o644, supply.take(size))


def without_end(tar):
    """Returns a tar archive without the zero blocks at its end, so that more can follow."""
    end = len(tar)
    while end >= 512 and not any(tar[end - 512:end]):
        end -= 512
    return tar[:end]


def blob_of(layout, digest):
    return layout / "blobs/sha256" / digest.removeprefix("sha256:")


def digest_of(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def keep(folder, path, kind):
    """Moves a file to its place in the layout and returns its descriptor."""
    descriptor = {"mediaType": OCI + kind, "digest": "sha256:" + digest_of(path), "size": path.stat().st_size}
    path.rename(blob_of(folder, descriptor["digest"]))
    return descriptor


def keep_json(folder, value, kind):
    path = folder / "document"
    path.write_text(json.dumps(value, sort_keys=True))
    return keep(folder, path, kind)


def finish(folder, manifest):
    """Writes the files that make a folder a layout with one image, `latest`."""
    tagged = {**manifest, "annotations": {"org.opencontainers.image.ref.name": "latest"}}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [tagged]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
