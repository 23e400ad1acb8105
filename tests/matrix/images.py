"""The contents of images, for comparison: what must be the same wherever an image is built."""
import gzip, hashlib, io, json, tarfile, urllib.request

ACCEPT = ", ".join(f"application/vnd.oci.image.{kind}.v1+json" for kind in ("index", "manifest"))
# The parts of a configuration that say nothing of the time of a build.
SETTINGS = ("architecture", "variant", "os", "config")


def layout(folder):
    """Returns the digest of the image in an OCI layout, and a function that reads blobs."""
    def blob(digest):
        return (folder / "blobs" / digest.replace(":", "/")).read_bytes()
    return json.loads((folder / "index.json").read_text())["manifests"][0]["digest"], blob


def of_layout(folder):
    """Returns the contents of the image in an OCI layout."""
    return contents(*layout(folder))


def file_of_layout(folder, architecture, path):
    """Returns a file of the first layer of an image for several platforms in an OCI layout."""
    digest, blob = layout(folder)
    manifests = json.loads(blob(digest))["manifests"]
    manifest = next(m["digest"] for m in manifests if m["platform"]["architecture"] == architecture)
    layer = blob(json.loads(blob(manifest))["layers"][0]["digest"])
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(layer))) as tar:
        member = next(member for member in tar if member.name.removeprefix("./") == path)
        return tar.extractfile(member).read()


def of_registry(host, repository):
    """Returns the contents of the image `repository:latest`."""
    def fetch(kind, name):
        request = urllib.request.Request(f"http://{host}/v2/{repository}/{kind}/{name}", headers={"Accept": ACCEPT})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read()
    def blob(digest):
        document = digest in documents
        data = fetch("manifests" if document else "blobs", digest)
        documents.update(m["digest"] for m in json.loads(data).get("manifests", [])) if document else None
        return data
    documents = {"latest"}
    return contents("latest", blob)


def contents(digest, blob):
    """Returns the images of an index or manifest, each as its settings and a list of files by path for each layer."""
    document = json.loads(blob(digest))
    if "manifests" in document:
        return [image for entry in document["manifests"] for image in contents(entry["digest"], blob)]
    config = json.loads(blob(document["config"]["digest"]))
    settings = {name: config[name] for name in SETTINGS if name in config}
    return [(settings, [files(blob(layer["digest"])) for layer in document["layers"]])]


def files(layer):
    """Returns what a layer says of each path, but for times."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(layer))) as tar:
        for member in tar:
            data = hashlib.sha256(tar.extractfile(member).read()).hexdigest() if member.isreg() else ""
            attributes = {k: v for k, v in member.pax_headers.items() if k.startswith("SCHILY.xattr.")}
            found[member.name] = (member.type, oct(member.mode), member.uid, member.gid, member.linkname,
                                  member.devmajor, member.devminor, data, attributes)
    return found


def differences(built, expected):
    """Returns a line for each difference between two contents."""
    if [settings for settings, _ in built] != [settings for settings, _ in expected]:
        return [f"settings: {[s for s, _ in built]}, expected {[s for s, _ in expected]}"]
    lines = []
    for (settings, layers), (_, expected_layers) in zip(built, expected):
        where = settings["architecture"]
        if len(layers) != len(expected_layers):
            lines.append(f"{where}: {len(layers)} layers, expected {len(expected_layers)}")
        for number, (layer, other) in enumerate(zip(layers, expected_layers), 1):
            lines += [f"{where}, layer {number}, {path}: {layer.get(path)}, expected {other.get(path)}"
                      for path in sorted({*layer, *other}) if layer.get(path) != other.get(path)]
    return lines
