"""Debian's docker-registry on a free port of the loopback interface, and a small client for it."""
import http.client, json, shutil, socket, subprocess, time

from inputs import OCI, blob_of


class Registry:
    """A registry process with its own folder; `stop` ends it."""

    def __init__(self, folder):
        if not shutil.which("docker-registry"):
            raise SystemExit("bench: no docker-registry in PATH; `sudo make install-tools` gets it")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"
        folder.mkdir(parents=True)
        config = folder / "config.yml"
        config.write_text(json.dumps({"version": 0.1, "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
                                      "http": {"addr": self.host}, "log": {"level": "error"}}))
        self.process = subprocess.Popen(["docker-registry", "serve", config], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        self.wait()

    def wait(self):
        for _ in range(200):
            try:
                return self.ask("GET", "/v2/")
            except OSError:
                time.sleep(0.05)
        raise SystemExit("bench: docker-registry does not answer")

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def ask(self, method, path, body=None, **headers):
        """Sends a request and returns the answer and its body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        if answer.status >= 400:
            raise SystemExit(f"bench: {method} {path}: {answer.status} {data.decode(errors='replace')[:300]}")
        return answer, data

    def upload(self, name, path, digest):
        answer, _ = self.ask("POST", f"/v2/{name}/blobs/uploads/")
        place = answer.headers["Location"].split(self.host, 1)[-1]
        with open(path, "rb") as file:
            self.ask("PUT", f"{place}&digest={digest}", file, Content_Length=str(path.stat().st_size),
                     Content_Type="application/octet-stream")

    def push(self, layout, name):
        """Uploads the image of an OCI layout as NAME:latest and returns its reference."""
        manifest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
        document = blob_of(layout, manifest).read_bytes()
        parts = json.loads(document)
        for part in [parts["config"], *parts["layers"]]:
            self.upload(name, blob_of(layout, part["digest"]), part["digest"])
        self.ask("PUT", f"/v2/{name}/manifests/latest", document, Content_Type=OCI + "manifest.v1+json")
        return f"{self.host}/{name}:latest"

    def layer_bytes(self, reference):
        """Returns the size of all layers of an image, compressed."""
        name, tag = reference.split("/", 1)[1].split(":", 1)
        docker = "application/vnd.docker.distribution.manifest."
        accept = ", ".join([OCI + "manifest.v1+json", OCI + "index.v1+json", docker + "v2+json", docker + "list.v2+json"])
        _, data = self.ask("GET", f"/v2/{name}/manifests/{tag}", Accept=accept)
        document = json.loads(data)
        if "manifests" in document:
            return self.layer_bytes(f"{self.host}/{name}:{document['manifests'][0]['digest']}")
        return sum(layer["size"] for layer in document["layers"])
