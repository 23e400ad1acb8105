"""The rows and columns of the matrix, and what must happen in each cell."""
from dataclasses import dataclass

COLUMNS = {
    "no-run": "no RUN",
    "run": "RUN",
    "owners": "chown, USER",
    "apt": "apt-get install",
    "arm64": "arm64 RUN",
    "cache": "cache mount",
    "secret": "secret",
    "push": "push",
}
# The states of a cell. `PASSES`: the image is that of the first row. `REFUSED`: exit status 5 before the first step, with a
# hint.
PASSES, REFUSED = "✓", "refused"

ALL = dict.fromkeys(COLUMNS, PASSES)
NO_STEPS = dict.fromkeys(COLUMNS, REFUSED) | {"no-run": PASSES, "push": PASSES}


@dataclass(frozen=True)
class Machine:
    """A shell of a machine that is no container."""
    uid: int = 2001
    gid: int = 2001
    subuid: bool = True
    has_name: bool = True
    no_new_privs: bool = False
    inner: tuple = ()             # a command in front of all
    home: str | None = "own"      # own, unset, unreadable or unwritable
    store: str | None = None      # None: in the home folder; disk or overlay


@dataclass(frozen=True)
class Container:
    """A container, with Docker's capabilities if it runs as root."""
    uid: int = 0
    gid: int = 0
    filter: bool = False          # Docker's default system call filter
    refuses_mounts: bool = False  # as AppArmor's docker-default
    no_new_privs: bool = False
    bounding: bool = True         # whether programs with rights of their own get any
    userns: bool = False          # hostUsers: false
    privileged: bool = False
    max_userns: int | None = None
    overlay: bool = False         # the root is an overlay mount, as with Docker; else a folder on a disk
    readonly: bool = False
    volume: tuple | None = None   # mount options of an emptyDir, which has the store; None: the store is in the home folder


@dataclass(frozen=True)
class Row:
    name: str                     # as a repository of a registry
    label: str
    place: Machine | Container
    isolation: str                # the rung and root that the build names; `none` if RUN is refused
    cells: dict


DOCKER = Container(overlay=True, filter=True)
DOCKER_USER = Container(overlay=True, filter=True, uid=1000, gid=1000)
EMPTY_DIR = ("rw",)
POD = Container(volume=EMPTY_DIR)


def with_(place, **fields):
    return type(place)(**{**place.__dict__, **fields})


# The first row is the one that all others are compared with.
ROWS = [
    Row("user", "user with subordinate ids", Machine(), "userns-range/overlay", ALL),
    Row("root", "root", Machine(uid=0, gid=0, subuid=False), "userns-range/overlay", ALL),
    Row("user-single", "user without subordinate ids", Machine(subuid=False), "userns-single/overlay", ALL),
    Row("user-nnp", "user with `no_new_privs`", Machine(no_new_privs=True), "userns-single/overlay", ALL),
    Row("user-nameless", "arbitrary uid without a passwd entry",
        Machine(uid=1000660000, gid=0, subuid=False, has_name=False, home=None, store="disk"), "userns-single/overlay", ALL),
    Row("docker-root", "Docker's default container, root", DOCKER, "chroot/folder", ALL),
    Row("docker-user", "Docker's default container, user", DOCKER_USER, "none", NO_STEPS),
    Row("docker-unconfined-root", "Docker without seccomp, root", with_(DOCKER, filter=False), "userns-range/folder", ALL),
    Row("docker-unconfined-user", "Docker without seccomp, user", with_(DOCKER_USER, filter=False), "userns-single/folder", ALL),
    Row("no-mounts-root", "Docker without seccomp, mounts refused, root",
        with_(DOCKER, filter=False, refuses_mounts=True), "userns-chroot/folder", ALL),
    Row("no-mounts-user", "Docker without seccomp, mounts refused, user",
        with_(DOCKER_USER, filter=False, refuses_mounts=True), "userns-chroot/folder", ALL),
    Row("pod", "pod without securityContext", POD, "userns-range/overlay", ALL),
    Row("pod-filtered", "pod with the runtime's default profile", with_(POD, filter=True), "chroot/folder", ALL),
    Row("userns-pod", "pod with `hostUsers: false`", with_(POD, userns=True), "userns-range/overlay", ALL),
    Row("userns-pod-filtered", "pod with `hostUsers: false` and the runtime's default profile",
        with_(POD, userns=True, filter=True), "chroot/folder", ALL),
    Row("userns-pod-privileged", "privileged pod with `hostUsers: false`",
        with_(POD, userns=True, privileged=True), "userns-range/overlay", ALL),
    Row("restricted", "pod of the level `restricted`",
        with_(POD, uid=1000660000, filter=True, no_new_privs=True, bounding=False), "none", NO_STEPS),
    Row("readonly", "pod with a read-only root and one emptyDir", with_(POD, readonly=True), "userns-range/overlay", ALL),
    Row("noexec", "pod, store on a `noexec` volume", with_(POD, volume=("rw", "noexec")), "userns-range/overlay", ALL),
    Row("overlay-store", "user, store on overlayfs", Machine(store="overlay"), "userns-range/folder", ALL),
    Row("unshare", "inside `unshare -Ur`", Machine(subuid=False, inner=("unshare", "-Ur")), "userns-single/overlay", ALL),
    Row("home-unset", "user, HOME unset", Machine(home="unset", store="disk"), "userns-range/overlay", ALL),
    Row("home-unreadable", "user, HOME unreadable", Machine(home="unreadable", store="disk"), "userns-range/overlay", ALL),
    Row("home-unwritable", "user, HOME unwritable", Machine(home="unwritable", store="disk"), "userns-range/overlay", ALL),
    Row("no-userns-user", "pod, `max_user_namespaces` 0, user",
        with_(POD, userns=True, max_userns=0, uid=1000, gid=1000), "none", NO_STEPS),
    Row("no-userns-root", "pod, `max_user_namespaces` 0, root",
        with_(POD, userns=True, max_userns=0), "chroot/folder", ALL),
]
