"""Everything that the builds of the matrix read, in one folder that every user can read."""
import hashlib, importlib.machinery, importlib.util, pathlib, secrets, shutil, subprocess

import images

HERE = pathlib.Path(__file__).resolve().parent
FIXTURES = HERE.parent.parent / "fixtures"
PACKAGE = "openssh-client"
COMPILER = ("gcc", "libc6-dev")


def base_images():
    """Returns fixtures/base-images as a module."""
    loader = importlib.machinery.SourceFileLoader("base_images", str(FIXTURES / "base-images"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("base_images", loader))
    loader.exec_module(module)
    return module


def program(name, *others):
    """Returns the path of a program."""
    found = next(filter(None, map(shutil.which, (name, *others))), None)
    if not found:
        raise OSError(f"{name} is missing: sudo make install-tools")
    return pathlib.Path(found)


def packages(*names):
    """Returns a folder that is a repository of Debian with all that packages need on the base image; made once."""
    out = FIXTURES / ".cache/packages" / names[0]
    if not (out / "Packages").exists():
        shutil.rmtree(out, ignore_errors=True)
        status = images.file_of_layout(FIXTURES / ".cache/debian", "amd64", "var/lib/dpkg/status")
        debian = base_images().Packages("amd64", out)
        debian.cache.mkdir(parents=True)
        (debian.cache / "status").write_bytes(status)
        debian.apt("apt-get", "update")
        debian.apt("apt-get", "install", "--yes", "--download-only", "--no-install-recommends", *names)
        entries = []
        for deb in sorted((debian.cache / "archives").glob("*.deb")):
            fields = subprocess.run(["dpkg-deb", "--field", deb], check=True, stdout=subprocess.PIPE, text=True).stdout
            digest = hashlib.sha256(deb.read_bytes()).hexdigest()
            deb.rename(out / deb.name)
            entries.append(f"{fields.rstrip()}\nFilename: ./{deb.name}\nSize: {(out / deb.name).stat().st_size}\nSHA256: {digest}\n")
        shutil.rmtree(out / "debs")
        (out / "Packages").write_text("\n".join(entries))
    return out


def gather(xbuild, folder):
    """Fills the folder. `folder/bin` is meant for PATH, `folder/token` is a secret, 33 bytes long."""
    (folder / "bin").mkdir(parents=True)
    (folder / "context").mkdir()
    shutil.copy(xbuild, folder / "bin/xbuild")
    emulator = program("qemu-aarch64-static", str(FIXTURES / ".cache/emulators/qemu-aarch64-static"))
    shutil.copy(emulator, folder / "bin/qemu-aarch64-static")
    for name in ("cells", "works"):
        shutil.copytree(HERE / name, folder / name)
    for name in ("inside", "timed"):
        shutil.copy(HERE / name, folder / name)
    for name in ("busybox", "debian"):
        shutil.copytree(FIXTURES / ".cache" / name, folder / name)
    shutil.copytree(packages(PACKAGE), folder / "context/packages",
                    ignore=lambda _, names: {n for n in names if not n.endswith((".deb", "Packages"))})
    (folder / "context/file").write_text("text\n")
    (folder / "token").write_text(f"{secrets.token_hex(16)}\n")
    open_up(folder)


def compiler(folder):
    """Adds the base image `folder/compiler`, an OCI layout: Debian with gcc."""
    command = [folder / "bin/xbuild", "build", "--quiet", "--root", folder / "store", "--platform", "linux/amd64",
               "--build-context", f"debian=oci-layout://{folder / 'debian'}", "--build-context", f"packages={packages(*COMPILER)}",
               "--output", f"type=oci,tar=false,dest={folder / 'compiler'}", "--file", "-", folder / "context"]
    install = (folder / "works/install").read_text().replace("COPY packages", "COPY --from=packages .").replace(PACKAGE, " ".join(COMPILER))
    subprocess.run(command, check=True, input=install, stdout=subprocess.DEVNULL, text=True)
    open_up(folder / "compiler")


def open_up(folder):
    """Lets everybody read a folder."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
