"""Starts a command as a user of this machine, with users and subordinate ids of its own. Needs root."""
import os, pathlib, subprocess

FILES = ("passwd", "group", "subuid", "subgid")
# Ids that no machine gives to its users' namespaces.
FIRST_SUBUID = 1_200_000_000


class Machine:
    """A user's shell, in a mount namespace of its own; the folder `work` is removed by the caller."""

    def __init__(self, name, place, work, supplies, out):
        self.place, self.work, self.supplies, self.images = place, work, supplies, out
        self.write_users()
        home = work / "home"
        home.mkdir()
        os.chown(home, place.uid, place.gid)
        if place.home == "unreadable":
            home.chmod(0)
        if place.home == "unwritable":
            os.chown(home, 0, 0)
        self.store = work / "volume"
        for folder in (self.store, work / "lower", work / "upper", work / "workdir"):
            folder.mkdir()
            os.chown(folder, place.uid, place.gid)

    def write_users(self):
        place, etc = self.place, self.work / "etc"
        etc.mkdir()
        line = f"someone:x:{place.uid}:{place.gid}::{self.work}/home:/bin/sh\n"
        has_line = place.has_name and place.uid != 0
        ids = f"someone:{FIRST_SUBUID}:65536\n" if place.subuid else ""
        for name, own in zip(FILES, (line, f"someone:x:{place.gid}:\n", ids, ids)):
            given = pathlib.Path("/etc", name).read_text() if name in ("passwd", "group") else ""
            (etc / name).write_text(given + (own if has_line else ""))

    def script(self):
        """Returns the commands, run by root, that make the machine what the row wants."""
        lines = [f"mount --bind {self.work}/etc/{name} /etc/{name}" for name in FILES]
        if self.place.store == "overlay":
            options = ",".join(f"{key}dir={self.work}/{name}" for key, name in
                               (("lower", "lower"), ("upper", "upper"), ("work", "workdir")))
            lines.append(f"mount -t overlay -o {options} overlay {self.store}")
        return " && ".join([*lines, 'exec "$@"'])

    def command(self, script, arguments, environment):
        """Returns the command line that runs a script of the supplies."""
        place = self.place
        environment = environment | {"PATH": f"{self.supplies}/bin:/usr/sbin:/usr/bin:/sbin:/bin", "IN": str(self.supplies),
                                     "OUT": str(self.images), "LC_ALL": "C"}
        if place.home not in (None, "unset"):
            environment["HOME"] = f"{self.work}/home"
        if place.store:
            environment["XBUILD_ROOT"] = f"{self.store}/store"
        line = ["unshare", "--mount", "--propagation", "private", "sh", "-euc", self.script(), "sh"]
        if place.uid:
            line += ["setpriv", "--reuid", str(place.uid), "--regid", str(place.gid), "--clear-groups"]
            line += ["--no-new-privs"] if place.no_new_privs else []
        variables = [f"{name}={value}" for name, value in environment.items()]
        return [*line, "env", "--ignore-environment", *variables, *place.inner, self.supplies / script, *arguments]

    def end(self):
        """The mounts end with the command."""
