"""Starts a command in a container of a row, with runc alone. Needs root."""
import json, os, pathlib, shutil, subprocess

from supplies import FIXTURES, program

DOCKER = FIXTURES / "docker"
USERNS_BASE, USERNS_SIZE = 500000, 65536
# Source: the OCI specification that Docker 28 makes for a container without options.
MASKED = ["/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
          "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap"]
READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
# The calls that a rule `deny mount` of AppArmor stops.
MOUNT_CALLS = ["mount", "move_mount", "pivot_root"]
EACCES = 13
CAPABILITIES = """CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE
SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM
BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE""".split()


def docker_capabilities():
    return json.loads((DOCKER / "capabilities.json").read_text())


def own_capabilities():
    """Returns the names of the capabilities that this process may pass on."""
    status = pathlib.Path("/proc/self/status").read_text()
    have = int(next(line for line in status.splitlines() if line.startswith("CapBnd")).split()[1], 16)
    return [f"CAP_{name}" for bit, name in enumerate(CAPABILITIES) if have >> bit & 1]


def applies(rule, capabilities):
    """Says whether a rule of Docker's profile is for containers with these capabilities on this machine (amd64)."""
    include, exclude = rule.get("includes", {}), rule.get("excludes", {})
    return (("amd64" in include.get("arches", ["amd64"])) and "amd64" not in exclude.get("arches", [])
            and set(include.get("caps", [])) <= set(capabilities) and not set(exclude.get("caps", [])) & set(capabilities))


def docker_filter(capabilities):
    """Returns Docker's default profile as a filter of the OCI runtime specification."""
    profile = json.loads((DOCKER / "seccomp.json").read_text())
    machine = next(entry for entry in profile["archMap"] if entry["architecture"] == "SCMP_ARCH_X86_64")
    keys = ("names", "action", "errnoRet", "args")
    rules = [{key: rule[key] for key in keys if rule.get(key) is not None}
             for rule in profile["syscalls"] if applies(rule, capabilities)]
    return {"defaultAction": profile["defaultAction"], "defaultErrnoRet": profile["defaultErrnoRet"],
            "architectures": [machine["architecture"], *machine["subArchitectures"]], "syscalls": rules}


def mounts(place, folders):
    """Returns the mounts of a container. `folders` has what is bound from the machine, by its place in the container."""
    found = [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
         "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
         "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
        {"destination": "/sys", "type": "bind", "source": "/sys", "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]},
    ]
    for target, (source, options) in folders.items():
        found.append({"destination": target, "type": "bind", "source": str(source), "options": ["rbind", *options]})
    return found


def security(place):
    """Returns (capabilities, Linux part) of a container's configuration."""
    capabilities = own_capabilities() if place.privileged else docker_capabilities()
    linux = {"namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")]}
    if not place.privileged:
        linux |= {"maskedPaths": MASKED, "readonlyPaths": READ_ONLY}
    if place.userns:
        linux["namespaces"].append({"type": "user"})
        linux["uidMappings"] = linux["gidMappings"] = [{"containerID": 0, "hostID": USERNS_BASE, "size": USERNS_SIZE}]
    if place.filter:
        linux["seccomp"] = docker_filter(capabilities)
    if place.refuses_mounts:
        rule = {"names": MOUNT_CALLS, "action": "SCMP_ACT_ERRNO", "errnoRet": EACCES}
        linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    effective = capabilities if place.uid == 0 else []
    return {"bounding": capabilities if place.bounding else [], "effective": effective, "permitted": effective}, linux


def limit_hook(limit):
    """Returns a hook that sets user.max_user_namespaces of the container's user namespace, and of no other."""
    script = f"""pid=$(sed 's/.*"pid": *\\([0-9]*\\).*/\\1/') && exec nsenter --target "$pid" --user sh -c 'echo {limit} > /proc/sys/user/max_user_namespaces'"""
    return {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}


def configuration(place, root, folders, command, environment):
    capabilities, linux = security(place)
    process = {"terminal": False, "user": {"uid": place.uid, "gid": place.gid}, "args": command, "cwd": "/",
               "noNewPrivileges": place.no_new_privs, "capabilities": capabilities,
               "env": [f"{name}={value}" for name, value in environment.items()]}
    hooks = {} if place.max_userns is None else limit_hook(place.max_userns)
    return {"ociVersion": "1.0.2", "hostname": "container", "root": {"path": str(root), "readonly": place.readonly},
            "mounts": mounts(place, folders), "linux": linux, "process": process, "hooks": hooks}


def fill_root(root, place):
    """Fills a root file system with a static busybox and two users."""
    for name in ("bin", "etc", "proc", "sys", "dev", "in", "out", "root", "home/user", "tmp", "var/tmp", "volume"):
        (root / name).mkdir(parents=True)
    shutil.copy(program("busybox"), root / "bin/busybox")
    applets = subprocess.run([root / "bin/busybox", "--list"], check=True, stdout=subprocess.PIPE, text=True).stdout
    for applet in set(applets.split()) - {"busybox"}:
        (root / "bin" / applet).symlink_to("busybox")
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nuser:x:1000:\n")
    for name in ("tmp", "var/tmp"):
        (root / name).chmod(0o1777)
    os.chown(root / "home/user", 1000, 1000)
    if place.userns:
        for path in [root, *root.rglob("*")]:
            info = path.lstat()
            os.lchown(path, USERNS_BASE + info.st_uid, USERNS_BASE + info.st_gid)


class Container:
    """A container in the folder `work`, which is removed by the caller."""

    def __init__(self, name, place, work, supplies, out):
        self.name, self.place, self.work = f"matrix-{os.getpid()}-{name}", place, work
        root = work / "rootfs"
        root.mkdir()
        fill_root(root, place)
        self.mounted = place.overlay
        if place.overlay:
            root = work / "merged"
            for folder in (root, work / "upper", work / "workdir"):
                folder.mkdir()
            options = f"lowerdir={work}/rootfs,upperdir={work}/upper,workdir={work}/workdir"
            subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", root], check=True)
        self.root, self.folders = root, {"/in": (supplies, ["ro"]), "/out": (out, ["rw"])}
        if place.volume:
            volume = work / "volume"
            volume.mkdir()
            volume.chmod(0o777)
            if place.userns:
                os.chown(volume, USERNS_BASE, USERNS_BASE)
            self.folders["/volume"] = (volume, place.volume)
        # Nothing but the volume can be written where the root is read-only.
        self.images = out
        if place.readonly:
            del self.folders["/out"]
            self.images = work / "volume/out"

    def command(self, script, arguments, environment):
        """Returns the command line that runs a script of the supplies in the container."""
        place = self.place
        environment = environment | {"PATH": "/in/bin:/bin", "IN": "/in", "OUT": "/out",
                                     "HOME": "/root" if place.uid == 0 else "/home/user"}
        if place.volume:
            environment["XBUILD_ROOT"] = "/volume/store"
        if place.readonly:
            environment["OUT"] = "/volume/out"
        configured = configuration(place, self.root, self.folders, [f"/in/{script}", *arguments], environment)
        (self.work / "config.json").write_text(json.dumps(configured))
        return ["runc", "--root", self.work / "run", "run", "--bundle", self.work, self.name]

    def end(self):
        subprocess.run(["runc", "--root", self.work / "run", "delete", "--force", self.name],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if self.mounted:
            subprocess.run(["umount", self.root], check=True)
