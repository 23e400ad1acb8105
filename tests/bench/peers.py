"""The builders to compare: xbuild, and those of buildah, docker buildx and kaniko that this machine has.

Each is given the same Job and answers with a command line. What a peer cannot do on this machine is a note in the
report, no failure.
"""
import os, pathlib, shlex, shutil, subprocess
from dataclasses import dataclass

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
QUIET = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


@dataclass(frozen=True)
class Job:
    """One build of the context folder `context` with its `Dockerfile`, pushed to `image`, or written to an OCI tar.
    `cache` is a repository that keeps steps for machines that have none."""
    context: pathlib.Path
    image: str | None = None
    no_cache: bool = False
    cache: str | None = None


class Xbuild:
    """The binary $XBUILD, or target/release/xbuild."""
    name = "xbuild"

    def __init__(self, work):
        self.binary = pathlib.Path(os.environ.get("XBUILD", TOP / "target/release/xbuild")).resolve()
        self.work = work / "xbuild"
        self.store = self.work / "store"
        self.work.mkdir()
        if not self.binary.exists():
            raise SystemExit(f"bench: no {self.binary}; `make release` makes it, $XBUILD may name another")

    @staticmethod
    def missing():
        return None

    def command(self, job):
        output = ["--tag", job.image, "--push"] if job.image else ["--output", f"type=oci,dest={self.work}/image.tar"]
        fresh = ["--no-cache"] if job.no_cache else []
        cache = ["--cache-from", f"{job.cache}/xbuild",
                 "--cache-to", f"type=registry,ref={job.cache}/xbuild,mode=max"] if job.cache else []
        return [self.binary, "build", "--root", self.store, "--progress", "none", *output, *fresh, *cache, job.context]

    def forget(self):
        """Empties the store, so that the next build is cold."""
        if self.store.exists():
            subprocess.run([self.binary, "prune", "--all", "--force", "--root", self.store], check=True, **QUIET)

    def close(self):
        self.forget()


class Buildah:
    """buildah with chroot isolation, its only one in most containers, and a storage of its own."""
    name = "buildah"

    def __init__(self, work):
        self.work = work / "buildah"
        self.work.mkdir()
        self.start = ["buildah", "--root", str(self.work / "root"), "--runroot", str(self.work / "run")]

    @staticmethod
    def missing():
        return None if shutil.which("buildah") else "buildah: not in PATH"

    def command(self, job):
        fresh = ["--no-cache"] if job.no_cache else []
        cache = [f"--cache-{way}={job.cache}/buildah" for way in ("from", "to")] if job.cache else []
        archive = self.work / "image.tar"
        target = f"docker://{job.image}" if job.image else f"oci-archive:{archive}"
        build = [*self.start, "build", "--isolation", "chroot", "--layers", "--tls-verify=false", *fresh,
                 *cache, "--tag", "bench", job.context]
        push = [*self.start, "push", "--tls-verify=false", "bench", target]
        return f"rm -f {archive}; {shell(build)} && {shell(push)}"

    def forget(self):
        for what in (["rm", "--all"], ["rmi", "--all", "--force"]):
            subprocess.run([*self.start, *what], **QUIET)

    def close(self):
        self.forget()
        remove = ["rm", "-rf", self.work]
        subprocess.run(remove if os.geteuid() == 0 else ["buildah", "unshare", *remove], **QUIET)


class Buildx:
    """docker buildx with a BuildKit container of its own on the host's network."""
    name = "BuildKit"
    builder = "xbuild-bench"

    def __init__(self, work):
        self.work = work / "buildx"
        self.work.mkdir()
        subprocess.run(["docker", "buildx", "create", "--name", self.builder, "--driver", "docker-container",
                        "--driver-opt", "network=host", "--bootstrap"], check=True, **QUIET)

    @staticmethod
    def missing():
        if not shutil.which("docker"):
            return "docker buildx: not in PATH"
        if subprocess.run(["docker", "info"], **QUIET).returncode:
            return "docker buildx: the docker daemon does not answer"
        if subprocess.run(["docker", "buildx", "version"], **QUIET).returncode:
            return "docker buildx: docker has no buildx plugin"
        return None

    def command(self, job):
        output = f"type=image,name={job.image},push=true" if job.image else f"type=oci,dest={self.work}/image.tar"
        fresh = ["--no-cache"] if job.no_cache else []
        cache = ["--cache-from", f"type=registry,ref={job.cache}/buildkit",
                 "--cache-to", f"type=registry,ref={job.cache}/buildkit,mode=max"] if job.cache else []
        return ["docker", "buildx", "build", "--builder", self.builder, "--provenance=false", "--progress", "quiet",
                "--output", output, *fresh, *cache, job.context]

    def forget(self):
        subprocess.run(["docker", "buildx", "prune", "--builder", self.builder, "--all", "--force"], check=True, **QUIET)

    def close(self):
        subprocess.run(["docker", "buildx", "rm", self.builder], **QUIET)


class Kaniko:
    """The kaniko executor that $KANIKO names. It builds on `/`, so it gets a root folder and a mount namespace of its own."""
    name = "kaniko"

    def __init__(self, work):
        self.root = work / "kaniko"
        self.forget()

    @staticmethod
    def missing():
        if not os.environ.get("KANIKO"):
            return "kaniko: no executor named in $KANIKO"
        if os.geteuid() != 0:
            return "kaniko: it needs root"
        return None

    def command(self, job):
        output = f"--destination={job.image}" if job.image else "--no-push --tar-path=/kaniko/image.tar --destination=bench"
        cache = "false" if job.no_cache else "true"
        layers = f"{job.cache}/kaniko" if job.cache else "oci:/kaniko/layers"
        line = (f"/kaniko/executor --force --insecure --insecure-pull --context=dir:///workspace {output} "
                f"--cache={cache} --cache-repo={layers} --cache-copy-layers --cleanup")
        root = shell([self.root])
        return ("exec unshare --mount --pid --fork sh -euc " + shell([
            f"mount --bind {shell([job.context])} {root}/workspace; mount -t proc proc {root}/proc; "
            f"mount --rbind /dev {root}/dev; exec chroot {root} {line}"]))

    def forget(self):
        shutil.rmtree(self.root, ignore_errors=True)
        for folder in ("kaniko", "workspace", "proc", "dev", "etc", "tmp"):
            (self.root / folder).mkdir(parents=True)
        shutil.copy(os.environ["KANIKO"], self.root / "kaniko/executor")

    def close(self):
        shutil.rmtree(self.root, ignore_errors=True)


def shell(argv):
    """Returns a command as text for sh."""
    return shlex.join(str(part) for part in argv)


def available(work):
    """Returns the builders of this machine, xbuild first, and a note for each that is missing."""
    found, notes = [], []
    for kind in (Xbuild, Buildah, Buildx, Kaniko):
        note = kind.missing()
        if note:
            notes.append(note)
            continue
        try:
            found.append(kind(work))
        except subprocess.CalledProcessError as error:
            notes.append(f"{kind.name}: `{shell(error.cmd)}` ended with {error.returncode}")
    return found, notes
