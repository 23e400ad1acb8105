"""What each rung costs beside `userns-range`, and what emulation costs beside QEMU alone. Needs a quiet machine."""
import os, re, subprocess

import document, images, supplies
from rows import ROWS

ROUNDS = 3
WORKS = {"install": "package install", "chown": "10,000 files made and chowned", "compile": "40 files compiled by gcc",
         "filters": "400 files through a shell's filters", "find": "`find` over 100,000 files", "tar": "`tar` of 30,000 files"}
# Each way with the row whose place it is measured in. `chroot` is root's.
BASELINE = "userns-range/overlay"
RUNGS = [(BASELINE, "user"), ("userns-range/folder", "user"), ("userns-single/overlay", "user"),
         ("userns-single/folder", "user"), ("userns-chroot/folder", "user"), ("chroot/folder", "root")]
EMULATIONS = {"binfmt": "private binfmt_misc", "intercept": "interception of `execve`"}
LOOP = "n=0; while [ $n -lt 1500000 ]; do n=$((n+1)); done; times"


def run(bench, name, option, rounds, ways):
    """Returns the output of the script `timed` in the place of a row."""
    place = bench.place(next(row for row in ROWS if row.name == name))
    try:
        command = place.command("timed", [option, str(rounds), *ways], {})
        return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
    finally:
        place.end()


def best(text, pattern):
    """Returns the least number that a pattern finds."""
    found = [float(number) for number in re.findall(pattern, text, re.M)]
    if not found:
        raise OSError(f"nothing was measured ({pattern}):\n{text}")
    return min(found)


def rungs(bench):
    """Returns the table of rungs: the time of a build of one RUN, the base unpacked, against the baseline's."""
    texts = {}
    for place in dict.fromkeys(place for _, place in RUNGS):
        # One call for all ways, the baseline too, so that each round meets the same neighbours.
        here = dict.fromkeys([BASELINE, *(rung for rung, other in RUNGS if other == place)])
        ways = [f"{rung}={','.join(WORKS)}" for rung in here]
        texts[place] = run(bench, place, "--isolation", ROUNDS, ways)
    def seconds(rung, place, work):
        return best(texts[place], rf"^TIME {work} {rung} (\S+)$")
    lines = []
    for rung, place in RUNGS:
        ratios = [f"{seconds(rung, place, work) / seconds(BASELINE, place, work):.2f}" for work in WORKS]
        lines.append([f"`{rung}`", *ratios])
    absolute = [f"{seconds(BASELINE, 'user', work):.1f} s" for work in WORKS]
    return document.markdown(["rung", *WORKS.values()], [[f"`{BASELINE}`, seconds", *absolute], *lines])


def bare(bench):
    """Returns the processor time of the loop of works/emulated in QEMU without xbuild, in seconds."""
    busybox = bench.work / "busybox-arm64"
    if not busybox.exists():
        busybox.write_bytes(images.file_of_layout(bench.supplies / "busybox", "arm64", "bin/busybox"))
        busybox.chmod(0o755)
    emulator = bench.supplies / "bin/qemu-aarch64-static"
    text = subprocess.run([emulator, "-0", "sh", busybox, "-c", LOOP], check=True, stdout=subprocess.PIPE, text=True).stdout
    return used(text, "")


def used(text, prefix):
    """Returns the least processor time in outputs of `times`, in seconds."""
    found = re.findall(rf"^{prefix}(\d+)m([\d.]+)s (\d+)m([\d.]+)s$", text, re.M)
    # The second line of each output is that of the children.
    times = [60 * int(m) + float(s) + 60 * int(n) + float(t) for m, s, n, t in found]
    if not any(times):
        raise OSError(f"nothing was measured:\n{text}")
    return min(time for time in times if time > 0.5)


def emulation(bench):
    """Returns the table of ways to emulate."""
    alone, text = [], ""
    for _ in range(ROUNDS):
        alone.append(bare(bench))
        text += run(bench, "user", "--emulation", 1, [f"{way}=emulated" for way in EMULATIONS])
    lines = []
    spawned = {way: best(text, rf"^SAID {way} processes (\S+)$") for way in EMULATIONS}
    for way, name in EMULATIONS.items():
        lines.append([name, f"{used(text, f'SAID {way} ') / min(alone):.3f}", f"{spawned[way] / spawned['binfmt']:.2f}"])
    return document.markdown(["emulation", "a loop in the shell, against QEMU alone", "400 processes, against binfmt_misc"], lines)


def measure(bench):
    """Measures everything and writes the tables."""
    load = os.getloadavg()[0]
    supplies.compiler(bench.supplies)
    for measured in (rungs, emulation):
        table = measured(bench)
        document.keep(measured.__name__, table, record=True)
        print(table, flush=True)
    print(f"load of the machine: {load:.1f} before, {os.getloadavg()[0]:.1f} after, on {os.cpu_count()} processors")
